"""`edgeattn place`: where attention can go within a budget, and what each site costs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import flag
from edgeattn.options.hosts import only
from edgeattn.options.place import PlaceOptions
from edgeattn.options.precision import HINTS
from edgeattn.options.profile import ProfileOptions

from .groups import Asked, grouped
from .options import Casting, Lowering, Model, Modelling, command_line, request_of
from .profile import Models, connected
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.place import Placement

_FIGURES: Final = (".svg", ".png")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFiles:
    """The files that are written."""

    output: Path | None = flag("--output -o FILE.json", "What --json prints.")
    report: Path | None = flag("--report FILE.html", "A page with pictures, whole in one file.")
    figure: tuple[str, ...] = flag(
        "--figure FILE.svg|png", "A picture of the cost by site. May be given again.", default=()
    )

    def check(self, read: Path | None) -> None:
        """Refuse files that cannot be written, before any work is done.

        Args:
            read: What is read, and may not be written over.

        Raises:
            InputError: A file cannot be written, has a wrong suffix, or is named twice.
        """
        for one in self.figure:
            if Path(one).suffix not in _FIGURES:
                raise InputError(f"--figure {one!r} is neither an .svg nor a .png file.")
        paths = [path for path, _ in self._writers()]
        for path in paths:
            files.check_target(path)
        files.check_apart(paths, filter(None, [read]))

    def write(self, found: Placement) -> None:
        """Write the files, all of them whole or none."""
        writers = [(files.absolute(path), write) for path, write in self._writers()]
        with files.staged_in(path.parent for path, _ in writers) as stagings:
            for path, write in writers:
                write(found, stagings[path.parent] / path.name)

    def _writers(self) -> Iterator[tuple[Path, Callable[[Placement, Path], None]]]:
        if self.output is not None:
            yield self.output, _write_json
        if self.report is not None:
            yield self.report, _write_page
        for one in self.figure:
            yield Path(one), _draw


@grouped
def place(
    *,
    model: Model,
    asked: PlaceOptions,
    where: Annotated[
        Asked[ProfileOptions],
        ("on", "device", "power_mode", "runtime", "openvino_device", "predict", "no_cuda_graph",
         "threads", "limit", "plan_timeout"),
    ],
    out: PlaceFiles,
    choice: Modelling,
    cast: Casting,
    lowering: Lowering,
    writing: Annotated[
        Asked[ExportOptions], ("opset", "no_simplify", "simplify_timeout", "no_lower")
    ],
    context: typer.Context,
    screen: Screen,
) -> None:  # fmt: skip
    """Find the sites that an attention can have within a budget: as many, or as good, as fit.

    Each site is run or predicted by itself, and sets of them as a whole: their costs do not add up.
    The set is exported with exactly its sites, proven, and checked once more. Without --at, it is
    chosen of the sites where the attention's paper puts it. Ends with 1 if no site fits.
    """
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.workflows.place import place as find_places

        out.check(read=asked.scores)
        request = request_of(choice, model)
        if len(request.attentions) != 1:
            said = "No attention is named" if not request.attentions else "Several are named"
            raise InputError(f"{said}, and one is placed.", mend="Give one: --attention se")
        if where.value("hosts"):
            only(where.value("hosts"))
        guests = stack.enter_context(connected(where, stage))
        folder = stack.enter_context(files.scratch())
        models = Models(where, choice, cast, lowering | writing, folder, stage, guests)
        aims = models.aims()
        if len(aims) > 1 or models.options().runtime == "torch":
            raise InputError(
                "Attention is placed for one runtime of ONNX files.",
                mend="Give one --runtime: onnxruntime, openvino, tensorrt.",
            )
        precision, export = _precision(models, models.export(aims[0]))
        found = find_places(
            request,
            asked,
            export,
            models.options(),
            folder,
            guest=next(iter(guests), None),
            precision=precision,
            command=command_line(context.obj),
            exporting=_exporting(model, choice, cast, lowering | writing, export),
            on_stage=stage,
        )
        stage("write")
        out.write(found)
    screen.show(found, lambda console: print_placement(console, found))
    if found.chosen is None:
        raise typer.Exit(CheckError.exit_code)


def _precision(models: Models, export: ExportOptions) -> tuple[str, ExportOptions]:
    """Return what the runtime is to compute in, and how models are exported for that."""
    casts = models.casts()
    if len(casts) > 1:
        raise InputError(
            f"--precision names {len(casts)}, and attention is placed in one.",
            mend="Give one, and again with another.",
        )
    for name, cast in casts.items():
        by_hint = models.options().runtime == "openvino" and name in HINTS
        return name, dataclasses.replace(export, cast=None if by_hint else cast)
    return "", export


def _exporting(
    model: str,
    choice: Asked[Any],
    cast: Asked[Any],
    writing: Asked[ExportOptions],
    export: ExportOptions,
) -> Callable[[str], str]:
    """Return what writes the command that exports a set, of what to give to --at."""
    words = ["export", model]
    aim = {"target": export.target, "device": export.device, "tensorrt": export.tensorrt}
    usual = ExportOptions()
    more = {name: said for name, said in aim.items() if said != getattr(usual, name)}
    more = more if export.lower else {}
    if export.opset != usual.opset or "device" in more:
        more["opset"] = str(export.opset)
    if "device" in more and cast.values["precision"] is None:
        more["precision"] = "fp32"  # else it would be the device's
    for asked in (choice, cast, writing):
        for name in asked.values:  # in the order of the command's options
            if name in asked.given() and name not in {"at", *more}:
                words += _words(name, asked.values[name])
    for name, said in more.items():
        words += _words(name, said)
    return lambda at: command_line([*words, *(["--at", at] if at else [])])


def _words(name: str, value: object) -> Iterator[str]:
    option = f"--{name.replace('_', '-')}"
    for one in value if isinstance(value, list) else [value]:
        yield from [option] if one is True else [option, str(one)]


def print_placement(console: Console, found: Placement) -> None:
    """Print what was found, and the command that exports it."""
    from edgeattn.report.place import lines

    for line in lines(found):
        console.print(line)
    if found.export:  # in one line, to be copied
        console.print(f"Export it: {found.export}", soft_wrap=True, style="bold")


def _write_json(found: Placement, path: Path) -> None:
    path.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _write_page(found: Placement, path: Path) -> None:
    from edgeattn.report.place import render

    path.write_text(render(found), encoding="utf-8")


def _draw(found: Placement, path: Path) -> None:
    from edgeattn.report.figures import saved
    from edgeattn.report.place import picture

    saved(lambda: picture(found), path)
