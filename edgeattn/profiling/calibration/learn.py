"""Fits a device profile to traces that were measured on such a device, and tries how it does.

A fit begins from a profile that is known, and keeps its clocks and peaks. What the traces do not
tell of stays as it was. Where there are several, each is predicted from a fit to the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible
from edgeattn.base.versions import own_version
from edgeattn.devices import profile
from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.calibration.cpu import fit_models, with_cores
from edgeattn.profiling.calibration.engines import Engine, fit_engines
from edgeattn.profiling.calibration.figures import Figure, Fitted, guesses_left
from edgeattn.profiling.measure.machine import now
from edgeattn.profiling.predict.again import check, expected
from edgeattn.records.trace import Expected, Trace

_ALL_DEVICES = "see: edgeattn devices list"
_ONE = "There is one trace: no other was left to try the fit on."
_MODE = (
    "Nothing says in which power mode {} was measured: it is taken for {}. Say it with"
    " --power-mode."
)
_SPREAD_PERCENT = 100
# A trace that is missed by more after a fit was not fitted; a part of so much is all.
_FAR = 0.25
_ALL = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A trace, and what is predicted of it.

    Attributes:
        trace: What was measured.
        before: Predicted by the profile that the fit began from.
        after: By the one that it gave.
        left_out: By a fit to the other traces; None if there is no other.
    """

    trace: Trace
    before: Expected
    after: Expected
    left_out: Expected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A fit.

    Attributes:
        start: The profile that it began from.
        fitted: The device, its figures, and what did not fit.
        tried: How each trace is predicted.
        notes: What a user should know.
    """

    start: DeviceProfile
    fitted: Fitted
    tried: tuple[Tried, ...]
    notes: tuple[str, ...]


def start_of(traces: Sequence[Trace], name: str | None) -> DeviceProfile:
    """Return the profile that a fit begins from.

    Args:
        traces: What was measured.
        name: A device, or the path of a file; None for the one that the traces name.

    Raises:
        InputError: They name none that is known, or two.
    """
    if name is not None:
        return profile.find(name)
    found = {device.name: device for trace in traces if (device := _named(trace)) is not None}
    if len(found) > 1:
        raise InputError(
            f"The traces are of {len(found)} devices: {', '.join(sorted(found))}.",
            mend="Give those of one, or say with --device which it is.",
        )
    if not found:
        raise InputError(
            f"No device profile is known for {traces[0].machine.title!r}.",
            mend=f"Add --device NAME, the nearest to it; {_ALL_DEVICES}",
        )
    return next(iter(found.values()))


def _named(trace: Trace) -> DeviceProfile | None:
    """Return the profile that ships for a trace's device, by its name or its title."""
    if trace.machine.device in profile.names():
        return profile.find(trace.machine.device)
    return profile.titled(trace.machine.title)


def learn(traces: Sequence[Trace], start: DeviceProfile, power_mode: str | None = None) -> Learned:
    """Fit a profile.

    Args:
        traces: What was measured on one device; at least one.
        start: The profile to begin from.
        power_mode: The mode that all ran in; None for the one that each says.

    Raises:
        InputError: Nothing can be learned of a trace, or they do not belong together.
    """
    for trace in traces:
        check(trace)
    is_cpu = traces[0].layers is None
    if any((trace.layers is None) != is_cpu for trace in traces):
        raise InputError(
            "Some traces are of ONNX Runtime and some of engines: they are of two devices.",
            mend="Fit each kind by itself.",
        )
    if is_cpu != (start.kind == "cpu"):
        runs = "ONNX Runtime on a CPU" if is_cpu else "engines of TensorRT"
        raise InputError(
            f"The traces are of {runs}, which {start.title} does not run.",
            mend=f"Name another --device; {_ALL_DEVICES}",
        )
    if is_cpu and len({trace.machine.threads for trace in traces}) > 1:
        raise InputError(
            "The traces are of different numbers of threads: a profile is of one.",
            mend="Give those of one number.",
        )
    modes = [_mode(trace, start, power_mode) for trace in traces]
    pairs = list(zip(traces, modes, strict=True))
    fitted = _fit(pairs, start)
    tried = []
    for place, (trace, mode) in enumerate(pairs):
        others = [pair for number, pair in enumerate(pairs) if number != place]
        left_out = None
        if others:
            left_out = expected(trace, _fit(others, start).device, mode)
        tried.append(
            Tried(
                trace=trace,
                before=expected(trace, _of_threads(start, trace), mode),
                after=expected(trace, fitted.device, mode),
                left_out=left_out,
            )
        )
    notes = list(_notes(traces, fitted))
    for trace, mode in pairs:
        if mode is None and start.power_mode:
            notes.append(_MODE.format(trace.name, start.default_power_mode))
    notes += _doubts(tried, fitted)
    return Learned(start=start, fitted=fitted, tried=tuple(tried), notes=tuple(notes))


def _fit(pairs: Sequence[tuple[Trace, str | None]], start: DeviceProfile) -> Fitted:
    if start.kind == "cpu":
        found = fit_models([trace for trace, _ in pairs], start)
    else:
        found = fit_engines([Engine.of(trace, mode) for trace, mode in pairs], start)
    device = found.device.model_copy(
        update={
            "fitted_to": start.fitted_to + len(pairs),
            "guesses": guesses_left(found.device, found.figures),
        }
    )
    return replace(found, device=device)


def _of_threads(start: DeviceProfile, trace: Trace) -> DeviceProfile:
    """Return a CPU with as many cores as a trace has threads, though its file tells of fewer."""
    threads = trace.machine.threads
    if start.kind != "cpu" or threads is None or threads <= (start.cores or 1):
        return start
    return with_cores(start, threads)


def _mode(trace: Trace, start: DeviceProfile, power_mode: str | None) -> str | None:
    """Return the power mode of a trace; one that the profile does not know is refused by `at`."""
    mode = power_mode or trace.machine.power_mode or None
    if mode is not None:
        start.at(mode)
    return mode


def _notes(traces: Sequence[Trace], fitted: Fitted) -> Iterator[str]:
    yield from fitted.notes
    titles = dict.fromkeys(trace.machine.title for trace in traces)
    if len(titles) > 1:
        yield f"The traces were measured on: {'; '.join(titles)}."
    if len(traces) == 1:
        yield _ONE
    for trace in traces:
        if trace.warnings:
            yield f"{trace.name} was measured with a warning: {trace.warnings[0]}"
    if fitted.outliers:
        names = ", ".join(f"{kernel} of {name}" for name, kernel in fitted.outliers[:3])
        more = len(fitted.outliers) - 3
        rest = f" and {more} more" if more > 0 else ""
        yield f"Far from what fits, and counted for little: {names}{rest}."


def _doubts(tried: Sequence[Tried], fitted: Fitted) -> Iterator[str]:
    """Yield what speaks against the fit: the wrong device, or another mode."""
    for one in tried:
        if abs(error(one, one.after)) > _FAR:
            yield (
                f"{one.trace.name} is still missed by {_error(one, one.after)}: was it measured on"
                " this device, in this power mode, with nothing beside it?"
            )
    whole = [one.key for one in fitted.figures if one.is_known and one.after >= _ALL]
    parts = [key for key in whole if key.startswith("efficiency.")]
    if parts:
        yield (
            f"All of what the device is known to have is reached: {', '.join(parts)}. Its clocks"
            " may be higher than its profile says."
        )


def header(learned: Learned) -> list[str]:
    """Return what stands at the head of the device file."""
    count = len(learned.tried)
    traces = f"{count} trace{'s' if count > 1 else ''}"
    titles = dict.fromkeys(one.trace.machine.title for one in learned.tried)
    lines = [
        f"{learned.start.title}, fitted to {traces} on {now()}",
        f"by `edgeattn devices calibrate` (edgeattn {own_version()}), from {learned.start.name}.",
        f"Measured on: {'; '.join(titles)}.",
    ]
    for one in learned.tried:
        said = (
            f"{one.trace.name}: {one.trace.latency_ms.p50:.4g} ms, fitted {_error(one, one.after)}"
        )
        if one.left_out is not None:
            said += f", from the others {_error(one, one.left_out)}"
        lines.append(said)
    return [legible(line) for line in lines]


def how(figures: Sequence[Figure]) -> dict[str, str]:
    """Return how each figure was got, by its key."""
    found = {}
    for one in figures:
        if not one.is_known:
            continue
        sure = "" if one.spread is None else f", ± {_SPREAD_PERCENT * one.spread:.0f} %"
        seen = f" to {one.kernels} kernel{'s' if one.kernels > 1 else ''}" if one.kernels else ""
        found[one.key] = f"fitted{seen}{sure}"
    return found


def error(one: Tried, found: Expected) -> float:
    """Return what a prediction misses, as a part of what was measured."""
    return found.latency_ms / one.trace.latency_ms.p50 - 1


def _error(one: Tried, found: Expected) -> str:
    return f"{100 * error(one, found):+.1f} %"
