"""Compare: what attentions cost one backbone, from a model's name to figures, in one command.

Each model goes through the whole export, its proof included. Then all are run in interleaved
rounds, or predicted for one device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeattn.base.errors import CheckError, EdgeattnError, InputError
from edgeattn.hosts.visit import Guest
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest, check_labels
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.precision import HINTS, obstacle
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.records.lowering import Trial
from edgeattn.records.trace import SavedRow
from edgeattn.runtimes.openvino import CPU, check_precision
from edgeattn.workflows.cast import cast as cast_file
from edgeattn.workflows.export import export as export_model
from edgeattn.workflows.forms import Forming, save_forms
from edgeattn.workflows.optimize import optimize
from edgeattn.workflows.profile import Lane, profile, profile_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The result of a comparison.

    Attributes:
        rows: The plain model's trace, then those of each attention.
        left_out: The attentions that could not be exported, and why.
        failed: Why nothing was found on a host.
        trials: The forms that were tried on a host, by model.
    """

    rows: tuple[SavedRow, ...]
    left_out: dict[str, str]
    failed: tuple[EdgeattnError, ...] = ()
    trials: dict[str, tuple[Trial, ...]] = field(default_factory=dict)


def compare(
    backbone: ModelRequest,
    attentions: Sequence[AttentionRequest],
    exports: Mapping[str, ExportOptions],
    options: ProfileOptions,
    folder: Path,
    *,
    hosts: Sequence[tuple[Guest, str]] = (),
    runtimes: Mapping[str, str] | None = None,
    casts: Mapping[str, CastOptions | None] | None = None,
    stock: bool = False,
    command: str = "",
    on_stage: Stage = lambda _: None,
) -> Compared:
    """Compare a backbone with attentions put into it; several runtimes and precisions too.

    Args:
        backbone: The model without attention.
        attentions: The attentions, each to be put into a model of its own.
        exports: How models are exported, and cast, by what they are for; of several, each
            is some host's, or some runtime's.
        options: How they are profiled.
        folder: Where their files are written: of several `exports`, in a folder for each.
        hosts: The hosts that they are measured on, each with a name of `exports`, and again with
            others; none for here.
        runtimes: What runs those of `exports`, where `options` do not say it.
        casts: The precisions to compare them in, and how the exported file is cast to each: None
            for as it is. Without them, they are in that of `exports`.
        stock: Profile each as torch writes it too, beside the lowered one.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: The plain model cannot be exported, no attention can, or a file cannot be run.
        CheckError: The plain model differs from torch.
        MissingError: What is asked cannot be had on this machine.
    """
    if len(hosts) > 1 and any(export.tune for export in exports.values()):
        raise InputError(
            f"--tune measures forms on one host, and --on names {len(hosts)}.",
            mend="Measure them on each with --save-forms, and give them with --forms.",
        )
    check_labels(attentions)
    by = runtimes or {}
    left_out: dict[str, str] = {}
    trials: dict[str, tuple[Trial, ...]] = {}
    made = {}
    how = {
        name: Casting(by.get(name, ""), by.get(name) or options.runtime or export.target, casts)
        for name, export in exports.items()
    }
    for one in how.values() if not hosts else ():
        one.check(options.openvino_device)
    for name, export in exports.items():
        home = folder if len(exports) == 1 else folder / name
        home.mkdir(exist_ok=True)
        guest = next((one for one, its in hosts if its == name), None)
        formings: dict[str, Forming] = {}
        made[name] = _made(
            backbone,
            attentions,
            export,
            home,
            left_out,
            stock,
            on_stage,
            guest,
            formings,
            how[name],
        )
        save_forms(export, list(formings.values()))
        trials |= {model: one.trials for model, one in formings.items() if one.trials}
    failed: tuple[EdgeattnError, ...] = ()
    if hosts:
        guests = list({id(guest): guest for guest, _ in hosts}.values())
        lanes = [
            Lane(
                guest=one,
                items=[item for guest, name in hosts if guest is one for item in made[name]],
            )
            for one in guests
        ]
        on = profile_on(lanes, options, command=command, on_stage=on_stage)
        found, failed = on.found, on.failed
    else:
        items = [item for each in made.values() for item in each]
        found = profile(items, options, command=command, on_stage=on_stage)
    rows = tuple(one.row for one in found)
    return Compared(rows=rows, left_out=left_out, failed=failed, trials=trials)


@dataclass(frozen=True, slots=True)
class Casting:
    """What runs models, and in which precisions.

    Attributes:
        runtime: As an item has it.
        by: What runs them, whoever says it.
        casts: As `compare` has them.

    Raises:
        InputError: The runtime takes none of the precisions.
    """

    runtime: str = ""
    by: str = ""
    casts: Mapping[str, CastOptions | None] | None = None

    def __post_init__(self) -> None:
        if self.casts and not self.ways:
            raise InputError(
                f"{self.by} takes no model in {' or '.join(self.casts)}: {self.left_out[0]}",
                mend=f"Leave {self.by} out, or add --precision fp32.",
            )

    @property
    def ways(self) -> dict[str, CastOptions | None]:
        """The precisions that the runtime takes, and how the float32 file is cast to each."""
        return {
            name: None if self.by == "openvino" and name in HINTS else cast
            for name, cast in (self.casts or {}).items()
            if not obstacle(self.by, name)
        }

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why the others are left out, in sentences."""
        reasons = [(name, obstacle(self.by, name)) for name in self.casts or {}]
        return tuple(f"{name} on {self.by} is left out: {why}." for name, why in reasons if why)

    def check(self, device: str | None) -> None:
        """Refuse a precision that OpenVINO does not compute in here, before any work is done.

        Args:
            device: OpenVINO's device; None for the CPU.

        Raises:
            InputError: The device does not compute in it.
            MissingError: OpenVINO is not installed, or has no such device.
        """
        for one in HINTS.keys() & self.ways.keys() if self.by == "openvino" else ():
            check_precision(HINTS[one], device=device or CPU)

    def items(self, items: Sequence[Item], on_stage: Stage) -> list[Item]:
        """Return models, once in each precision: those of one before those of the next."""
        items = [replace(one, runtime=self.runtime) for one in items]
        if not self.ways:
            return items
        found = []
        for precision, cast in self.ways.items():
            for one in items:
                path, notes = one.path, (*one.notes, *self.left_out)
                if cast is not None:
                    path = path.with_name(f"{path.stem}-{precision}.onnx")
                    cast_file(one.path, replace(cast, runtime=self.by), path, on_stage=on_stage)
                found.append(replace(one, path=path, precision=precision, notes=notes))
        return found


def _made(
    backbone: ModelRequest,
    attentions: Sequence[AttentionRequest],
    export: ExportOptions,
    folder: Path,
    left_out: dict[str, str],
    stock: bool,
    on_stage: Stage,
    guest: Guest | None,
    formings: dict[str, Forming],
    casting: Casting,
) -> list[Item]:
    """Export the plain model, and one with each attention; says which are left out, and why."""
    name = name_of(backbone.source)
    count = 1 + len(attentions)
    formings[name] = Forming(export, guest)
    items = make(
        backbone,
        name,
        export,
        folder,
        stock=False,
        on_stage=_counted(on_stage, 1, count),
        forming=formings[name],
        casting=casting,
    )
    failed = 0
    for place, attention in enumerate(attentions):
        request = replace(backbone, attentions=(attention,))
        label = f"{name}-{attention.label}"
        try:
            formings[label] = Forming(export, guest)
            items += make(
                request,
                label,
                export,
                folder,
                stock=stock,
                forming=formings[label],
                casting=casting,
                on_stage=_counted(on_stage, place + 2, count),
            )
        except (InputError, CheckError) as error:  # the others are worth having
            left_out[attention.label] = error.fact
            failed += 1
    if attentions and failed == len(attentions):
        reasons = "; ".join(f"{one}: {why}" for one, why in left_out.items())
        raise InputError(f"No attention can be put into {name}: {reasons}")
    ways = list(dict.fromkeys(item.way for item in items))
    return sorted(items, key=lambda item: ways.index(item.way))


def make(
    request: ModelRequest,
    name: str,
    export: ExportOptions,
    folder: Path,
    *,
    stock: bool,
    on_stage: Stage,
    forming: Forming | None = None,
    casting: Casting | None = None,
) -> list[Item]:
    """Export a model, for it to be profiled.

    Args:
        request: The model.
        name: What its files are called.
        export: How it is exported.
        folder: Where to.
        stock: Export it as torch writes it too; the lowered file is then made from that.
        on_stage: Called with the name of each stage as it begins.
        forming: Chooses the forms; by default as the options say.
        casting: What runs it, and in which precisions; by default that of the export.

    Returns:
        The stock one, where it is asked, and the lowered one; the plain one of no attention. Those
        of a precision come before those of the next.
    """
    model = " ".join([request.source, *(f"+ {one.label}" for one in request.attentions)])
    variant = "lowered" if export.lower else "stock"
    variant = variant if request.attentions else "plain"
    path = folder / f"{name}.onnx"
    forming = forming or Forming(export)
    casting = casting or Casting()
    if not stock:
        export_model(request, export, path, on_stage=on_stage, forming=forming)
        return casting.items([_item(path, name, variant, model, forming)], on_stage)
    plain = replace(export, lower=False, cast=None)
    first = folder / f"{name}-stock.onnx"
    export_model(request, plain, first, on_stage=on_stage)
    options = OptimizeOptions(target=export.target, rules=export.rules, simplify=export.simplify)
    optimize(first, options, path, on_stage=on_stage, forming=forming)
    paths = {"stock": first, "lowered": path}
    if export.cast is not None:
        for variant, source in paths.items():
            paths[variant] = source.with_name(f"{source.stem}-{export.cast.precision}.onnx")
            cast_file(source, export.cast, paths[variant], on_stage=on_stage)
    items = [_item(one, name, v, model, forming) for v, one in paths.items()]
    return casting.items(items, on_stage)


def _item(path: Path, name: str, variant: str, model: str, forming: Forming) -> Item:
    notes = forming.notes if variant == "lowered" else ()
    return Item(path=path, name=name, variant=variant, model=model, notes=notes)


def _counted(on_stage: Stage, number: int, count: int) -> Stage:
    return lambda name: on_stage(f"model {number}/{count}: {name}")


def name_of(source: str) -> str:
    """Name a model: the last part of its source."""
    return Path(source.rpartition(":")[2] or source).stem
