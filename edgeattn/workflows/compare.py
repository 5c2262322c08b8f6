"""Compare: what attentions cost one backbone, from a model's name to figures, in one command.

Each model goes through the whole export, its proof included. Then all are run in interleaved
rounds, or predicted for one device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from edgeattn.base.errors import CheckError, EdgeattnError, InputError
from edgeattn.base.pool import Call, cores, outcomes, processes
from edgeattn.hosts.visit import Guest
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest, check_labels
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.precision import HINTS, obstacle
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.assemble import Profiled, compared
from edgeattn.records.lowering import Trial
from edgeattn.records.trace import SavedRow
from edgeattn.runtimes.openvino import CPU, check_precision
from edgeattn.workflows.cast import cast as cast_file
from edgeattn.workflows.export import export as export_model
from edgeattn.workflows.forms import Forming, save_forms
from edgeattn.workflows.optimize import optimize
from edgeattn.workflows.profile import Lane, profile, profile_on, route_of

_Predict = Callable[[Item], Profiled]
#: What a file is taken for before it is there.
_ANY: Final = "model.onnx"


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
    made: dict[str, list[Item]] = {}
    how = {
        name: Casting(by.get(name, ""), by.get(name) or options.runtime or export.target, casts)
        for name, export in exports.items()
    }
    for one in how.values() if not hosts else ():
        one.check(options.openvino_device)
    predict = None
    if not hosts:
        asked = [Item(path=Path(_ANY), name="", runtime=one.runtime) for one in how.values()]
        if route_of(asked, options).evidence == "predicted":
            predict = partial(_predicted, options, command)
    predicted: dict[Item, Profiled | Exception] = {}
    for name, export in exports.items():
        home = folder if len(exports) == 1 else folder / name
        home.mkdir(exist_ok=True)
        guest = next((one for one, its in hosts if its == name), None)
        making = _Making(export=export, folder=home, casting=how[name], predict=predict)
        formings: dict[str, Forming] = {}
        made[name] = _made(
            backbone, attentions, making, left_out, stock, on_stage, guest, formings, predicted
        )
        save_forms(export, list(formings.values()))
        trials |= {model: one.trials for model, one in formings.items() if one.trials}
    failed: tuple[EdgeattnError, ...] = ()
    items = [item for each in made.values() for item in each]
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
    elif predict is not None:
        found = compared(items, [_found(predicted[item]) for item in items])
    else:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """How models are made, in this process or in others.

    Attributes:
        export: How they are exported.
        folder: Where to.
        casting: What runs them, and in which precisions.
        predict: Predicts what a file takes; None where all are measured together.
    """

    export: ExportOptions
    folder: Path
    casting: Casting
    predict: _Predict | None

    def make(
        self,
        request: ModelRequest,
        name: str,
        stock: bool,
        on_stage: Stage = lambda _: None,
        forming: Forming | None = None,
    ) -> list[Item]:
        """Make a model, as `make` does."""
        return make(
            request,
            name,
            self.export,
            self.folder,
            stock=stock,
            on_stage=on_stage,
            forming=forming,
            casting=self.casting,
        )


def _made(
    backbone: ModelRequest,
    attentions: Sequence[AttentionRequest],
    making: _Making,
    left_out: dict[str, str],
    stock: bool,
    on_stage: Stage,
    guest: Guest | None,
    formings: dict[str, Forming],
    predicted: dict[Item, Profiled | Exception],
) -> list[Item]:
    """Make the plain model, and one with each attention; says which are left out, and why."""
    name = name_of(backbone.source)
    calls = [Call(name, making.make, (backbone, name, False))]
    for one in attentions:
        label = f"{name}-{one.label}"
        request = replace(backbone, attentions=(one,))
        calls.append(Call(label, making.make, (request, label, stock)))
    formings |= {call.name: Forming(making.export, guest) for call in calls}
    # Forms that are measured on a host have it to themselves.
    is_alone = guest is not None and (making.export.tune or making.export.forms is not None)
    run = _one_by_one if is_alone or min(cores(), len(calls)) < 2 else _side_by_side
    results = run(calls, formings, making.predict, predicted, on_stage)
    items: list[Item] = []
    failed = 0
    for call, attention in zip(calls, (None, *attentions), strict=True):
        result = results[call.name]
        if isinstance(result, list):
            items += result
        elif attention is None or not isinstance(result, InputError | CheckError):
            raise result
        else:  # the others are worth having
            left_out[attention.label] = result.fact
            failed += 1
    if attentions and failed == len(attentions):
        reasons = "; ".join(f"{one}: {why}" for one, why in left_out.items())
        raise InputError(f"No attention can be put into {name}: {reasons}")
    ways = list(dict.fromkeys(item.way for item in items))
    return sorted(items, key=lambda item: ways.index(item.way))


def _one_by_one(
    calls: Sequence[Call[list[Item]]],
    formings: Mapping[str, Forming],
    predict: _Predict | None,
    predicted: dict[Item, Profiled | Exception],
    on_stage: Stage,
) -> dict[str, list[Item] | Exception]:
    """Make models in this process, and predict what they take; none where the first fails."""
    made: dict[str, list[Item] | Exception] = {}
    for place, call in enumerate(calls, 1):
        stage = _counted(on_stage, place, len(calls))
        try:
            made[call.name] = items = call.function(*call.arguments, stage, formings[call.name])
        except EdgeattnError as error:
            made[call.name] = error
            if place == 1:
                break
            continue
        if predict is not None:
            stage("predict")
            predicted |= {item: predict(item) for item in items}
    return made


def _side_by_side(
    calls: Sequence[Call[list[Item]]],
    _: Mapping[str, Forming],
    predict: _Predict | None,
    predicted: dict[Item, Profiled | Exception],
    on_stage: Stage,
) -> dict[str, list[Item] | Exception]:
    """Make models in processes of their own, and predict there; none more where the first fails."""
    made: dict[str, list[Item] | Exception] = {}
    waiting: deque[Call[Any]] = deque(calls)
    on_stage(f"models 0/{len(calls)}")
    with processes(min(cores(), len(calls))) as executor:
        for call, result in outcomes(executor, waiting):
            if call.function is predict:
                predicted[call.arguments[0]] = result
                on_stage(f"predictions: {len(predicted)}, {call.name}")
                continue
            made[call.name] = result
            on_stage(f"models {len(made)}/{len(calls)}: {call.name}")
            if call is calls[0] and isinstance(result, Exception):
                break
            if predict is not None and isinstance(result, list):
                waiting += [Call(call.name, predict, (item,)) for item in result]
    return made


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


def _predicted(options: ProfileOptions, command: str, item: Item) -> Profiled:
    """Predict what a file takes."""
    (found,) = profile([item], options, command=command)
    return found


def _found(result: Profiled | Exception) -> Profiled:
    """Return what was predicted, or raise why it could not be."""
    if isinstance(result, Exception):
        raise result
    return result


def _counted(on_stage: Stage, number: int, count: int) -> Stage:
    return lambda name: on_stage(f"model {number}/{count}: {name}")


def name_of(source: str) -> str:
    """Name a model: the last part of its source."""
    return Path(source.rpartition(":")[2] or source).stem
