"""`edgeattn check`: whether a model runs on a device, and which of its nodes run on a DLA."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.check import CheckOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag, flag
from edgeattn.options.photos import PHOTO_NAMES
from edgeattn.options.precision import named
from edgeattn.report.grid import columns, table

from .groups import Asked, grouped
from .options import Modelling, Writing, command_line, export_options, request_of
from .screen import Screen
from .tables import print_notes, size

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.check import Checked, DLAReport, Finding, Verdict
    from edgeattn.workflows.check import Aim

_FILE: Final = ".onnx"
_STYLES: Final[dict[Verdict, str]] = {"no": "red", "unknown": "yellow", "yes": "green"}
#: So many modules are named with a finding, and shown of a DLA, unless all are asked.
_MOST_PLACES, _MOST_ROWS = 4, 24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckFiles:
    """The files that are written."""

    output: Path | None = flag("--output -o FILE.json", "What --json prints.")
    report: Path | None = flag("--report FILE.html", "A page, whole in one file.")

    def check(self, read: Iterable[Path]) -> None:
        """Refuse files that cannot be written, before any work is done.

        Args:
            read: What is read, and may not be written over.

        Raises:
            InputError: A file cannot be written.
        """
        paths = [*filter(None, [self.output, self.report])]
        for path in paths:
            files.check_target(path)
        files.check_apart(paths, read)

    def write(self, found: Checked) -> None:
        """Write the files, both of them whole or none."""
        texts = {}
        if self.output is not None:
            texts[files.absolute(self.output)] = found.model_dump_json(indent=2) + "\n"
        if self.report is not None:
            from edgeattn.report.check import render

            texts[files.absolute(self.report)] = render(found)
        with files.staged_in(path.parent for path in texts) as stagings:
            for path, text in texts.items():
                (stagings[path.parent] / path.name).write_text(text, encoding="utf-8")


@grouped
def check(
    *,
    model: Annotated[str, Flag("MODEL", "An ONNX file, or a model as `edgeattn export` takes.")],
    asked: Asked[CheckOptions],
    cast: Annotated[
        Asked[CastOptions], ("precision", "calibration", *PHOTO_NAMES, "samples", "quantise_gates")
    ],
    out: CheckFiles,
    choice: Modelling,
    lowering: Annotated[Asked[ExportOptions], ("target", "forms", "rules")],
    writing: Writing,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Say whether a model runs on a device, which of its nodes do not, and what to do.

    Every answer is yes, no or unknown, and names its source. A model is exported as `export
    --device` would, in float32, or in int8 if that is asked. Ends with 1 if it will not run.
    """
    with screen.working() as stage, files.scratch() as folder, contextlib.ExitStack() as stack:
        from edgeattn.workflows.check import aim_of
        from edgeattn.workflows.check import check as check_file
        from edgeattn.workflows.check_on import there

        precision = cast.values["precision"]
        options = asked.read(
            precision=None if precision is None else named(precision),
            shapes=choice.value("shapes"),
            calibration=cast.value("calibration"),
            pixels=cast.value("pixels"),
            samples=cast.value("samples"),
            seed=choice.value("seed"),
        )
        out.check([Path(model)])
        options, guest = stack.enter_context(there(options, stage))
        aim = aim_of(options)
        path, note = Path(model), ""
        is_file = model.endswith(_FILE)
        if cast.given() & {"quantise_gates"} and (is_file or options.precision != "int8"):
            raise InputError(
                "--quantise-gates is for a model that is exported in int8.",
                mend="Leave it out, or name a model and add --precision int8.",
            )
        if not is_file:
            path = folder / "model.onnx"
            note = _export(model, path, aim, options, choice, cast, lowering | writing, stage)
            options = dataclasses.replace(options, shapes=())
        elif choice.given() - {"seed", "shape"} or lowering.given() or writing.given():
            raise InputError(
                f"Options of a model are given, and {model} is a file that is exported already.",
                mend="To lower it: edgeattn optimize IN.onnx -o OUT.onnx",
            )
        found = check_file(
            path,
            options,
            guest=guest,
            name=model,
            is_cast_later=not is_file,
            notes=[note] if note else (),
            command=command_line(context.obj),
            on_stage=stage,
        )
        out.write(found)
    screen.show(found, lambda console: print_checked(console, found, whole=screen.verbose))
    if found.verdict == "no":
        raise typer.Exit(CheckError.exit_code)


def _export(
    model: str,
    path: Path,
    aim: Aim,
    options: CheckOptions,
    choice: Asked[Any],
    cast: Asked[CastOptions],
    writing: Asked[ExportOptions],
    stage: Callable[[str], None],
) -> str:
    """Export a model for what it is checked for, and return how that was done."""
    from edgeattn.workflows.export import export

    if writing.values["target"] is None and not writing.values["no_lower"]:
        writing |= Asked(ExportOptions, {"target": aim.choice.target})
    is_tensorrt = aim.library != "ONNX Runtime" and not writing.values["no_lower"]
    # A DLA runs no float32 where types are orders; elsewhere that is what ranges are measured of.
    precision = options.precision or ("fp16" if options.dla and aim.is_typed else "fp32")
    casting = None
    if precision == "int8" or (options.dla and aim.is_typed):
        known = {"seed": options.seed, "calibration": options.calibration or "random"}
        casting = cast.read(precision=precision, **known)
    how = export_options(
        writing,
        highest=aim.choice.opset,
        cast=casting,
        device=aim.device.name if is_tensorrt else None,
        tensorrt=aim.choice.tensorrt if is_tensorrt else None,
    )
    export(request_of(choice, model), how, path, on_stage=stage)
    lowered = f"lowered for {how.target}" if how.lower else "not lowered"
    written = precision if casting else "float32"
    return f"Exported at opset {how.opset} in {written}, {lowered}."


def print_checked(console: Console, found: Checked, *, whole: bool = False) -> None:
    """Print the verdict, what it rests on, and where nodes run.

    Args:
        console: Where to print.
        found: What was found.
        whole: Name every module, and every source.
    """
    from edgeattn.report.check import groups

    _print_verdict(console, found)
    if found.findings:
        console.print()
    for group in groups(found.findings):
        _print_finding(console, group, whole=whole)
    if found.dla is not None:
        console.print()
        _print_dla(console, found.dla, whole=whole)
    print_notes(console, found.notes)


def _print_verdict(console: Console, found: Checked) -> None:
    from edgeattn.report.check import headline, library

    console.print(
        f"{found.verdict.upper()}: {headline(found)} ({library(found)}) in {found.precision}",
        style=f"bold {_STYLES[found.verdict]}",
    )
    verdicts: list[str] = [one.verdict for one in found.operators]
    told = f"{verdicts.count('yes')} of {len(verdicts)} are taken"
    for verdict, said in (("no", "not"), ("unknown", "unknown")):
        if count := verdicts.count(verdict):
            told += f", {count} {said}"
    memory = found.memory
    needs = f"{size(memory.weights_bytes)} of weights, " + (
        "activations not known"
        if memory.activations_bytes is None
        else f"{size(memory.activations_bytes)} of activations"
    )
    if memory.device_bytes is not None:
        needs += f", planned; the device has {size(memory.device_bytes)}"
    facts = {"opset": str(found.opset), "operators": told, "memory": needs}
    if found.host:
        facts["asked"] = found.host
    console.print(columns(facts.items()))


def _print_finding(console: Console, group: list[Finding], *, whole: bool) -> None:
    from edgeattn.report.check import fact

    first = group[0]
    nodes = [name for one in group for name in one.nodes]
    times = f" ({len(nodes)} nodes)" if len(nodes) > 1 else ""
    label = "warning" if first.verdict == "yes" else first.verdict  # it runs all the same
    style = _STYLES["unknown" if first.verdict == "yes" else first.verdict]
    console.print(f"{label}: {fact(group)}{times}", style=style)
    sites = list(dict.fromkeys(one.site for one in group if one.site))
    modules = list(dict.fromkeys(one.module for one in group if one.module and not one.site))
    for said, names in (("at site", sites), ("in", modules)):
        if names:
            console.print(f"     {said} {_some(names, whole=whole)}")
    if nodes and not sites and not modules:
        console.print(f"     at {_some(nodes, whole=whole)}")
    if first.mend:
        console.print(f"     {first.mend}")
    if first.source:
        console.print(f"     [{first.source}]", style="dim")


def _some(names: list[str], *, whole: bool) -> str:
    shown = names if whole else names[:_MOST_PLACES]
    left = len(names) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _print_dla(console: Console, report: DLAReport, *, whole: bool) -> None:
    total = report.dla + report.gpu + report.unknown
    console.print(
        f"DLA ({report.generation}, {report.precision}): {report.dla} of {total} nodes run there,"
        f" {report.gpu} fall back to the GPU, {report.unknown} unknown",
        style="bold",
    )
    facts = {
        "changes": f"{_range(report.changes)} between DLA and GPU",
        "loadables": _range(report.loadables),
        "copies": f"{_range(report.copied_bytes, size)}",
    }
    if report.copies_us is not None:
        facts["copies"] += f", {_range(report.copies_us, lambda one: f'{one:.0f} µs')} predicted"
    console.print(columns(facts.items()))
    off = [one for one in report.modules if one.gpu or one.unknown]
    if not off:
        return
    shown = off if whole else off[:_MOST_ROWS]
    rows = table("module", "site", "DLA", "GPU", "unknown", "of them", right=(2, 3, 4))
    for one in shown:
        style = "red" if one.gpu else "yellow"
        counts = (str(one.dla or ""), str(one.gpu or ""), str(one.unknown or ""))
        site = "is one" if one.site and one.site == one.module else one.site
        named = (op for reason in one.reasons for op in reason.partition(":")[0].split(", "))
        why = ", ".join(dict.fromkeys(named))
        rows.add_row(one.module or "(root)", site, *counts, why, style=style)
    console.print(rows)
    left = len(off) - len(shown)
    on_it = len(report.modules) - len(off)
    more = f"{left} more modules with nodes off the DLA (-v shows them); " if left else ""
    console.print(f"{more}{on_it} modules run on the DLA whole")


def _range(bounds: tuple[Any, Any], said: Callable[[Any], str] = str) -> str:
    """Write the least and the most; where they are the same, once."""
    low, high = map(said, bounds)
    return low if low == high else f"{low} to {high}"
