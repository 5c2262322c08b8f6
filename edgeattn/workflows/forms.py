"""Which forms a model is lowered in: those that a version is trusted with, or measured ones."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible
from edgeattn.base.versions import is_part
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.graph.marks import mark
from edgeattn.graph.nodes import size_bytes
from edgeattn.lowering import pipeline as lowering
from edgeattn.lowering.parts import forms_of, parts_of
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.regions import LOWERED, REGION, STOCK
from edgeattn.lowering.target import MAP_OUTPUT, TARGETS, check_version, is_rtx_generation
from edgeattn.lowering.targets.writer import Form
from edgeattn.options.export import ExportOptions
from edgeattn.options.hosts import only
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.records.forms import MeasuredForms, Place, read_forms, write_forms
from edgeattn.records.lowering import Trial
from edgeattn.support.tensorrt import Parser

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.hosts.visit import Guest

_DOCUMENTED: Final = (
    "Lowered for TensorRT {version}{device}, of another generation than TensorRT-RTX: only forms"
    " that rest on fusions which TensorRT documents are taken{left_out}. Nobody measured them"
    " there: --tune --on HOST does."
)
_OLDER: Final = (
    "Lowered as for TensorRT {tensorrt}, of JetPack {jetpack}. If the {title} has an older one, say"
    " which (--tensorrt {older}): other forms are taken then."
)
_MAP_OUTPUT: Final = (
    "The model's output {output} is a map now, NxCx1x1 for NxC: a DLA has no Reshape to it."
    " To keep it: --rules -map-output"
)
_LEFT: Final = (
    "Operators are left that {title} is not sure to run. Which, where and why says"
    " edgeattn check FILE.onnx --device NAME --dla"
)

_HEAVIER: Final = (
    "Its weights take {after:.0f} MB, and took {before:.0f} MB: bands and orders of channels are"
    " matrices for a DLA. A GPU or CPU runs other forms of it faster."
)
# How many more weights are worth a word: a tenth, and a megabyte.
_MUCH: Final = 0.1
_MUCH_BYTES: Final = 1e6


class Forming:
    """Lowers one model, which may come with several sets of weights, as the options ask.

    Args:
        options: What it is lowered for, and how forms are chosen.
        guest: The host that it is to be run on, and forms are measured on if they are to be.

    Attributes:
        tensorrt: The version of TensorRT that it is lowered for; None for any.
        notes: What a user should know of the forms, once a model is lowered.
        measured: The forms that were measured; None if none were.
        trials: What was tried of them on a host.

    Raises:
        InputError: The options do not fit each other, or the file of forms does not fit them.
        MissingError: The host does not run what is lowered for the target.
    """

    def __init__(
        self, options: OptimizeOptions | ExportOptions, guest: Guest | None = None
    ) -> None:
        self._options, self._guest = options, guest
        self._device = _device(options)
        self.notes: tuple[str, ...] = ()
        self.trials: tuple[Trial, ...] = ()
        self.measured = None if options.forms is None else read_forms(options.forms)
        self._said: list[str] = []
        self._forms: dict[str, Mapping[str, str]] = {}
        if options.tensorrt is not None:
            check_version(options.target, options.tensorrt)
        self.tensorrt = self._version()
        _check(options, guest, self.tensorrt)

    @property
    def is_trusted(self) -> bool:
        """Whether forms are taken that only plans of TensorRT-RTX speak for."""
        return is_rtx_generation(self.tensorrt)

    def lower(self, model: ir.Model, clock: Clock) -> Lowered:
        """Lower a model in place.

        Args:
            model: The model, at opset 13 or above.
            clock: Counts the seconds, and tells of each trial of the tournament.

        Returns:
            What was done and tried.
        """
        options = self._options
        how: dict[str, Any] = {} if self.is_trusted else {"tensorrt": self.tensorrt}
        before = _weights_bytes(model)
        if options.tune and self._guest is None:
            from edgeattn.workflows.tune import run_tuned

            with clock.stage("tune"):
                lowered = run_tuned(
                    model,
                    target=options.target,
                    rules=options.rules,
                    on_trial=lambda number, count: clock.tell(f"tune {number + 1}/{count}"),
                )
        else:
            if self._guest is not None and options.tune and self.measured is None:
                with clock.stage("tune"):
                    self._measure(model, self._guest, clock)
            with clock.stage("lower"):
                if self.measured is not None:
                    # Other weights of it are lowered in the same forms, whatever is neutral there.
                    self._forms = self._forms or self._found(model, self.measured)
                    how["forms"] = self._forms
                lowered = lowering.lower(model, target=options.target, rules=options.rules, **how)
            if self.measured is not None and options.tune:
                lowered = dataclasses.replace(lowered, trials=self.trials)
        mark(model, options.target, is_rewritten=bool(lowered.rewrites))
        self.notes = self.notes or (
            *self._said,
            *self._notes(lowered, before, _weights_bytes(model)),
        )
        return lowered

    def opset_notes(self, opset: int) -> list[str]:
        """Say so where an opset is above what TensorRT there is documented to parse."""
        version, options = self.tensorrt, self._options
        if options.target == "dla":  # whose forms are those of any version
            own = None if options.device is None else find(options.device).tensorrt
            version = options.tensorrt or own
        answer = None if version is None else Parser(version).takes_opset(opset)
        if answer is None or answer.verdict == "yes":
            return []
        return [f"O{answer.reason[1:]}. Better: {answer.mend}"]

    def _measure(self, model: ir.Model, guest: Guest, clock: Clock) -> None:
        from edgeattn.workflows.tune_on import Tuning, measured_forms, words_of

        options = self._options
        cast = options.cast.precision if isinstance(options, ExportOptions) and options.cast else ""
        tuning = Tuning(
            target=options.target,
            rules=None if options.rules is None else frozenset(options.rules),
            tensorrt=self.tensorrt,
            precision="fp16" if cast == "fp16" else "fp32",
            limit_s=options.tune_limit_s,
        )
        self.measured, notes = measured_forms(model, tuning, guest, tell=clock.tell)
        self.trials = tuple(one for region in self.measured.regions for one in region.trials)
        self._said += [words_of(self.measured), *notes]
        if cast not in ("", tuning.precision):
            self._said.append(f"They were measured in fp32, and the model is cast to {cast}.")

    def _found(self, model: ir.Model, measured: MeasuredForms) -> dict[str, Mapping[str, str]]:
        """Return the measured forms of the kinds of region that a model has."""
        from edgeattn.workflows.tune_on import by_content

        options = self._options
        parts = parts_of(model, target=options.target, rules=options.rules, tensorrt=self.tensorrt)
        found = forms_of(parts, by_content(measured))
        if options.forms is not None and not self._said:
            self._said.append(
                f"Kinds of region: {len(parts)}, of them with forms in {options.forms}:"
                f" {len(found)}, measured on {measured.place}."
            )
            self._said += self._elsewhere(measured.place)
        return found

    def _elsewhere(self, place: Place) -> list[str]:
        """Say so where forms were measured on another device, or in another power mode."""
        facts, own = None if self._guest is None else self._guest.facts, self._device
        device = facts.device if facts is not None else own.name if own is not None else None
        if device not in (None, place.device):
            title = legible(place.title)
            return [f"Those forms are of another device, {title}: here others may be faster."]
        if facts is not None and facts.power_mode not in (None, place.power_mode):
            said = f"The power mode is {facts.power_mode}, and the forms were measured in"
            return [f"{said} {legible(place.power_mode or 'another')}."]
        return []

    def _version(self) -> str | None:
        """Return the version of TensorRT: as asked, of the forms, of the host, or the device's.

        Raises:
            InputError: Two of these contradict each other.
        """
        asked, target, device = self._options.tensorrt, self._options.target, self._device
        if self.measured is not None:
            _check_forms(self.measured, target, asked, device)
        place = None
        if self.measured is not None:
            place = self.measured.place
        elif self._guest is not None and self._options.tune:
            from edgeattn.workflows.tune_on import place_of

            place = place_of(self._guest, target)
        if target != "tensorrt":
            return None
        if place is not None and asked is not None and not is_part(asked, place.version):
            what = "--forms were measured on" if self._options.forms else f"{place.title} has"
            raise InputError(
                f"{what} TensorRT {place.version}, and the model is for {asked}.",
                mend="Measure forms there: --tune --on HOST"
                if self._options.forms
                else "Leave --tensorrt out.",
            )
        if place is not None:
            return place.version
        return asked or (None if device is None else device.tensorrt)

    def _notes(self, lowered: Lowered, before: int, after: int) -> Sequence[str]:
        device, target = self._device, self._options.target
        if TARGETS[target].writer.refuses:
            maps = [one.site for one in lowered.rewrites if one.rule == MAP_OUTPUT]
            left = any(one.rule == target for one in lowered.near_misses)
            return [
                *(_MAP_OUTPUT.format(output=legible(name)) for name in maps),
                *([_LEFT.format(title=TARGETS[target].title)] if left else []),
                *(
                    [_HEAVIER.format(before=before / 1e6, after=after / 1e6)]
                    if after - before > max(before * _MUCH, _MUCH_BYTES)
                    else []
                ),
            ]
        if not self.is_trusted:
            if self.measured is not None and not lowered.left_out:
                return ()
            left_out = f"; left out: {', '.join(lowered.left_out)}" if lowered.left_out else ""
            title = f" ({device.title})" if device else ""
            return [_DOCUMENTED.format(version=self.tensorrt, device=title, left_out=left_out)]
        if device is None or device.newest_jetpack is None or self.tensorrt != device.tensorrt:
            return ()
        older = [row.tensorrt for row in device.jetpack if not is_rtx_generation(row.tensorrt)]
        if not older or self._options.tensorrt is not None or self.measured is not None:
            return ()
        said = _OLDER.format(
            tensorrt=device.tensorrt,
            jetpack=device.newest_jetpack.jetpack,
            title=device.title,
            older=" or ".join(reversed(older)),
        )
        return [said]


@contextlib.contextmanager
def chosen(
    options: OptimizeOptions, on_stage: Callable[[str], None] = lambda _: None
) -> Iterator[Forming]:
    """Yield what chooses forms as options ask, connected to the host that measures them.

    Raises:
        InputError: The options do not fit each other.
        MissingError: The host cannot be reached, or does not run what is lowered for the target.
    """
    if options.on and not options.tune:
        raise InputError("--on names the host that --tune measures forms on.", mend="Add --tune.")
    if not options.on:
        yield Forming(options)
        return
    from edgeattn.hosts.visit import guests

    with guests([only(options.on)], on_stage) as (guest,):
        yield Forming(options, guest)


def save_forms(options: OptimizeOptions | ExportOptions, found: Sequence[Forming]) -> None:
    """Write the forms that were measured for models, if that is asked.

    Raises:
        InputError: The file cannot be written.
    """
    measured = [one.measured for one in found if one.measured is not None]
    if options.save_forms is None or not measured:
        return
    regions = {one.content: one for each in measured for one in each.regions}
    write_forms(
        options.save_forms, measured[0].model_copy(update={"regions": tuple(regions.values())})
    )


def _check(
    options: OptimizeOptions | ExportOptions, guest: Guest | None, tensorrt: str | None
) -> None:
    """Refuse options that do not fit each other."""
    is_there = guest is not None
    if options.tune and options.forms is not None:
        raise InputError("--forms gives forms that were measured, and --tune measures them.")
    if options.save_forms is not None and not (options.tune and is_there):
        raise InputError(
            "--save-forms writes what --tune measures on a host.", mend="Add --tune --on HOST."
        )
    if options.tune and not is_there:
        if not isinstance(options, OptimizeOptions):
            raise InputError(
                "--tune measures forms on a host, and none is named.", mend="Add --on HOST."
            )
        if not is_rtx_generation(tensorrt):
            raise InputError(
                f"--tune compares plans of TensorRT-RTX, and TensorRT {tensorrt} fuses otherwise.",
                mend="Add --on HOST, a device that has it, or leave --tune out.",
            )


def _check_forms(
    found: MeasuredForms, target: str, asked: str | None, device: DeviceProfile | None
) -> None:
    """Refuse forms that were measured for another target, or on another version.

    Raises:
        InputError: Says for what, or on which.
    """
    if found.target != target:
        raise InputError(
            f"--forms has forms for {found.target}, and the target is {target}.",
            mend=f"Add --target {found.target}, or leave --forms out.",
        )
    known = {name: [one.name for one in forms] for name, forms in _families(target).items()}
    known |= {REGION: [LOWERED, STOCK]}
    for family, form in (pair for one in found.regions for pair in one.forms.items()):
        if form not in known.get(family, ()):
            raise InputError(
                f"--forms has a form that is none: {legible(family)} {legible(form)}.",
                mend=f"edgeattn {legible(found.edgeattn)} wrote it: measure them again.",
            )
    version = found.place.version
    if target == "tensorrt" and device is not None and device.jetpack and asked is None:
        own = [row.tensorrt for row in device.jetpack]
        if not any(is_part(".".join(one.split(".")[:2]), version) for one in own):
            raise InputError(
                f"--forms were measured on TensorRT {version}, and the {device.title} has"
                f" {', '.join(own)}.",
                mend="Measure them there: --tune --on HOST",
            )


def _weights_bytes(model: ir.Model) -> int:
    """Return what a model's initializers take."""
    values = model.graph.initializers.values()
    return sum(size_bytes(one.const_value) for one in values if one.const_value is not None)


def _families(target: str) -> Mapping[str, tuple[Form, ...]]:
    return TARGETS[target].writer.forms


def _device(options: OptimizeOptions | ExportOptions) -> DeviceProfile | None:
    """Return the device that TensorRT is lowered for, if one is named."""
    if options.device is None:
        return None
    device = find(options.device)
    if options.target != "tensorrt":
        return None
    if device.kind == "cpu":
        raise InputError(
            f"{device.title} runs no TensorRT engine.", mend="Add --target onnxruntime."
        )
    return device
