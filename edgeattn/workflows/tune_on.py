"""Forms that compete on a device: parts of the model, built and timed there by turns.

For each kind of region a part is cut out of the model; what it is in every form, and as it is, is
timed there against what stands, by trtexec or by ONNX Runtime. A part is built once, by content.
What was found is kept in the user's cache, by content, device, runtime and power mode.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from edgeattn.base import documents, files
from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.base.versions import own_version
from edgeattn.hosts.onnxruntime import Bench as Runners
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Guest, Visit
from edgeattn.hosts.watch import watch
from edgeattn.lowering.parts import content, parts_of
from edgeattn.lowering.regions import REGION, STOCK
from edgeattn.lowering.target import TARGETS
from edgeattn.lowering.tournament import Compare, compete
from edgeattn.options.cast import CastOptions
from edgeattn.options.profile import ProfileOptions
from edgeattn.precision.cast import cast_in_place
from edgeattn.profiling.measure.hosts.engines import Bench
from edgeattn.profiling.measure.hosts.onnxruntime import place as place_there
from edgeattn.profiling.measure.hosts.turns import timed
from edgeattn.profiling.measure.rounds import Timed
from edgeattn.profiling.measure.times import time_models
from edgeattn.records.forms import MeasuredForms, MeasuredRegion, Place
from edgeattn.workflows.tune import Pairs, Time, cache_folder, check_tunable

if TYPE_CHECKING:
    import onnx_ir as ir

# Seconds after which no new window of turns begins, of two forms.
_PAIR_S: Final = 20.0


def place_of(guest: Guest, target: str) -> Place:
    """Return what forms for a target are measured on.

    Raises:
        InputError: The target is for any runtime.
        MissingError: The host does not run what is lowered for the target.
    """
    check_tunable(target)
    runtime = guest.runtime(TARGETS[target].runtime)
    facts = guest.facts
    version = facts.tensorrt
    if runtime != "tensorrt" and (python := facts.python(runtime)) is not None:
        version = python.version_of(runtime)
    return Place(
        title=facts.title,
        device=facts.device,
        runtime=runtime,
        version=version or "unknown",
        power_mode=facts.power_mode,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How forms are tried on a device.

    Attributes:
        target: The runtime that is lowered for.
        rules: The rules to apply; None for all.
        tensorrt: The version of TensorRT, whose forms are tried first.
        precision: What parts are cast to before they are built.
        limit_s: Seconds after which no new form is tried.
    """

    target: str
    rules: AbstractSet[str] | None
    tensorrt: str | None
    precision: Literal["fp32", "fp16"]
    limit_s: float


def measured_forms(
    model: ir.Model,
    tuning: Tuning,
    guest: Guest,
    *,
    tell: Callable[[str], None] = lambda _: None,
    cache: Path | None = None,
) -> tuple[MeasuredForms, list[str]]:
    """Measure on a device which forms are best for a model's regions, or take them from the cache.

    Args:
        model: The model, not yet lowered; it stays as it is.
        tuning: How.
        guest: The device.
        tell: Called with how far it is.
        cache: The folder of the cache; the user's by default.

    Returns:
        The forms, and what a user should know of how they were measured.

    Raises:
        MissingError: The device does not run what is lowered for the target, or the line broke.
    """
    place = place_of(guest, tuning.target)
    parts = parts_of(model, target=tuning.target, rules=tuning.rules, tensorrt=tuning.tensorrt)
    folder = cache_folder() if cache is None else cache
    kept = {kind: folder / f"{_key(part, tuning, place)}.json" for kind, part in parts.items()}
    found = {kind: known for kind, file in kept.items() if (known := _read(file)) is not None}
    missing = {kind: part for kind, part in parts.items() if kind not in found}
    notes: list[str] = []
    if missing:
        with contextlib.ExitStack() as stack:
            scratch, visit = (
                stack.enter_context(files.scratch()),
                stack.enter_context(guest.visit()),
            )
            timer, warnings = stack.enter_context(_timer(visit, place, scratch))
            trying = _Trying(
                tuning, Pairs(scratch, _cast(timer, tuning.precision), external=False), tell
            )
            for number, (kind, part) in enumerate(missing.items()):
                found[kind] = trying.region(kind, part, f"{number + 1}/{len(missing)}")
                if kind not in trying.cut_off and found[kind].forms:
                    _keep(kept[kind], found[kind])
            notes += [*visit.room.notes, *warnings(), *trying.notes()]
    measured = MeasuredForms(
        edgeattn=own_version(),
        target=tuning.target,
        place=place,
        regions=tuple(found[kind] for kind in parts if found[kind].forms),
    )
    return measured, notes


class _Trying:
    """Tries the forms of one kind of region after the other, as long as there is time.

    Args:
        tuning: How.
        compare: Compares two forms of a part.
        tell: Called with how far it is.

    Attributes:
        cut_off: The kinds of which not all forms were tried.
    """

    def __init__(self, tuning: Tuning, compare: Compare, tell: Callable[[str], None]) -> None:
        self._tuning, self._compare, self._tell = tuning, compare, tell
        self._began = time.monotonic()
        self._faults: dict[str, str] = {}
        self.cut_off: list[str] = []

    def region(self, kind: str, part: ir.Model, place: str) -> MeasuredRegion:
        """Try the forms of a part that stands for a kind of region."""

        def on_trial(number: int, count: int) -> bool:
            is_time = time.monotonic() - self._began < tuning.limit_s
            if is_time:
                self._tell(f"tune {kind} {place}: form {number + 1}/{count}")
            else:
                self.cut_off.append(kind)
            return is_time

        tuning = self._tuning
        forms, trials = compete(
            part,
            kind,
            target=tuning.target,
            rules=tuning.rules,
            tensorrt=tuning.tensorrt,
            compare=self._compare,
            on_trial=on_trial,
        )
        if trials and not forms:
            self._faults[kind] = trials[0].fault
        return MeasuredRegion(
            content=content(part),
            kind=kind,
            precision=tuning.precision,
            forms=forms,
            trials=trials,
        )

    def notes(self) -> list[str]:
        """Return what was not tried, or could not be measured."""
        notes = [
            f"Nothing could be measured of {kind}: {fault}" for kind, fault in self._faults.items()
        ]
        if self.cut_off:
            kinds = ", ".join(dict.fromkeys(self.cut_off))
            limit = f"{self._tuning.limit_s:g} s (--tune-limit)"
            notes.append(
                f"The time for trials, {limit}, was up: not all forms were tried of {kinds}."
            )
        return notes


def _key(part: ir.Model, tuning: Tuning, place: Place) -> str:
    """Return the hash of what a result rests on."""
    writer = TARGETS[tuning.target].writer
    facts = {
        "content": content(part),
        "edgeattn": own_version(),
        "forms": {name: [one.name for one in forms] for name, forms in writer.forms.items()},
        "place": place.model_dump(),
        "precision": tuning.precision,
        "rules": None if tuning.rules is None else sorted(tuning.rules),
        "target": tuning.target,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> MeasuredRegion | None:
    """Read what is kept; None if there is none, or one that a fault left: it is made again."""
    with contextlib.suppress(InputError):
        known: MeasuredRegion = documents.checked(
            MeasuredRegion, documents.read_json(file), str(file)
        )
        return known
    return None


def _keep(file: Path, region: MeasuredRegion) -> None:
    with contextlib.suppress(OSError, InputError):  # a cache that cannot be written is no error
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file, region.model_dump_json())


@contextlib.contextmanager
def _timer(
    visit: Visit, place: Place, folder: Path
) -> Iterator[tuple[Time, Callable[[], Sequence[str]]]]:
    """Yield what times files on a device, by turns, and why that is not to be trusted."""
    options = ProfileOptions(limit_s=_PAIR_S)

    def kept(path: Path) -> Path:
        """Return a file of the same content, which is not written again."""
        copy = folder / f"{files.sha256(path)}.onnx"
        if not copy.exists():
            shutil.copyfile(path, copy)
        return copy

    with watch(visit.room, visit.facts) as seen:
        if place.runtime == "tensorrt":
            trtexec = Trtexec.of(visit.facts)
            bench = Bench(visit=visit, trtexec=trtexec, options=options, folder=folder)
            engine = functools.cache(lambda path: bench.engine(path, path.stem))
            yield lambda paths: timed(bench, [engine(kept(one)) for one in paths]), seen.warnings
        else:
            with contextlib.ExitStack() as stack:
                runners: list[Runners] = []
                by = place.runtime

                def run(paths: Sequence[Path]) -> Timed:
                    if not runners:
                        runners.append(stack.enter_context(Runners(visit.room, visit.facts, [by])))
                    there = place_there(runners[0], seen)
                    given, runtimes = [kept(one) for one in paths], [by] * len(paths)
                    try:
                        return time_models(given, options, runtimes=runtimes, place=there)
                    except EdgeattnError:  # it may have ended with what it could not run
                        runners.clear()
                        stack.close()
                        raise

                yield run, seen.warnings


def _cast(timer: Time, precision: Literal["fp32", "fp16"]) -> Time:
    """Return what times files in a precision."""
    if precision == "fp32":
        return timer

    def cast(paths: Sequence[Path]) -> Timed:
        halves = [path.with_name(f"{path.stem}-{precision}.onnx") for path in paths]
        for path, half in zip(paths, halves, strict=True):
            shutil.copyfile(path, half)
            cast_in_place(half, CastOptions(precision=precision), None)
        return timer(halves)

    return cast


def words_of(forms: MeasuredForms) -> str:
    """Sum up in words what was measured where."""
    stock = sum(one.forms[REGION] == STOCK for one in forms.regions)
    trials = sum(len(one.trials) for one in forms.regions)
    return (
        f"Forms were measured on {forms.place}. Kinds of region: {len(forms.regions)}, of them left"
        f" as they are: {stock}; trials: {trials}."
    )


def by_content(forms: MeasuredForms) -> Mapping[str, Mapping[str, str]]:
    """Return the forms by the content of their part."""
    return {one.content: one.forms for one in forms.regions}
