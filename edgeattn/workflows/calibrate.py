"""Calibrate: a device's figures, from what was measured on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeattn.base.errors import InputError
from edgeattn.base.files import scratch
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import guests
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.options.hosts import only
from edgeattn.options.profile import ProfileOptions, Stage, TrtexecFiles
from edgeattn.profiling.calibration.engines_there import measure_engines
from edgeattn.profiling.calibration.file import written
from edgeattn.profiling.calibration.learn import Learned, header, how, learn, start_of, titled
from edgeattn.profiling.route import named_device
from edgeattn.profiling.sources.trtexec.files import What, told
from edgeattn.profiling.sources.trtexec.traces import of_files
from edgeattn.records.trace import Trace
from edgeattn.report.saved import read_saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A device file that was fitted to traces.

    Attributes:
        learned: The fit.
        device: The device.
        text: The file.
    """

    learned: Learned
    device: DeviceProfile
    text: str


def calibrate_from(
    paths: Sequence[Path], options: CalibrationOptions, *, on_stage: Stage = lambda _: None
) -> Calibrated:
    """Fit a device profile to traces that one has.

    Args:
        paths: What `profile` and `compare` wrote; or trtexec's layer information, profiles and
            times, as many of each, in one order.
        options: The device to begin from, its power mode, and what the new one is called.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A file cannot be read, they do not belong together, or nothing can be learned
            of them.
    """
    on_stage("read")
    traces = list(_traces(paths, options))
    return calibrated(traces, options, on_stage=on_stage)


def calibrate_on(options: CalibrationOptions, *, on_stage: Stage = lambda _: None) -> Calibrated:
    """Measure a host's GPU with generated networks, and fit a device profile to what they take.

    Args:
        options: The host; the device to begin from, and what the new one is called.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: No device profile is known of it, or its trtexec takes none of the networks.
        MissingError: It cannot be reached, or has no trtexec, memory or space.
    """
    with guests([only(options.on)], on_stage) as (guest,):
        guest.runtime("tensorrt")
        start = _start_on(guest.facts, options.device)
        trtexec = Trtexec.of(guest.facts)
        if not trtexec.has_layers:
            raise InputError(
                f"{trtexec.title} does not tell what the layers of an engine are: nothing can be"
                " fitted to them.",
                mend="Fit to what a newer TensorRT measured on such a device: edgeattn devices"
                " calibrate --from TRACE.json",
            )
        start.at(options.power_mode)
        with guest.visit() as visit, scratch() as folder:
            found = measure_engines(visit, start, folder, on_stage)
    return calibrated(found.traces, options, notes=found.notes, on_stage=on_stage, start=start)


def _start_on(facts: HostFacts, name: str | None) -> DeviceProfile:
    """Return the profile that a host's GPU is believed to be.

    Raises:
        InputError: None is known of it, or the one that is named is of a CPU.
    """
    found = find(name) if name is not None else None
    if found is None and facts.device is not None:
        found = find(facts.device)
    if name is None and (found is None or found.kind == "cpu"):
        found = titled(facts.gpu)
    if found is None:
        raise InputError(
            f"No device profile is known of {facts.gpu or facts.title}.",
            mend="Add --device NAME, the nearest to it; see: edgeattn devices list",
        )
    if found.kind == "cpu":
        raise InputError(
            f"{found.title} runs no engine of TensorRT.",
            mend="Name a Jetson or a GPU: edgeattn devices list",
        )
    return found


def calibrated(
    traces: Sequence[Trace],
    options: CalibrationOptions,
    *,
    notes: Sequence[str] = (),
    start: DeviceProfile | None = None,
    on_stage: Stage = lambda _: None,
) -> Calibrated:
    """Fit a device profile to traces."""
    start = start or start_of(traces, options.device)
    on_stage("fit")
    learned = learn(traces, start, options.power_mode)
    learned = replace(learned, notes=(*notes, *learned.notes))
    title = options.title or f"{start.title}, fitted"
    device = learned.fitted.device.model_copy(update={"title": title})
    text = written(
        device, name=options.name, header=header(learned), how=how(learned.fitted.figures)
    )
    return Calibrated(learned=learned, device=device, text=text)


def _traces(paths: Sequence[Path], options: CalibrationOptions) -> Iterator[Trace]:
    """Read the traces of files, those of trtexec's last."""
    theirs: dict[What, list[Path]] = defaultdict(list)
    for path in paths:
        what = told(path)
        if what is not None:
            theirs[what].append(path)
        else:
            yield from (row.trace for row in read_saved([path]) if _is_measured(row.trace))
    counts = {what: len(found) for what, found in theirs.items()}
    layers, profiles, times = (theirs[one] for one in ("layers", "profile", "times"))
    if len(layers) != len(profiles) or (times and len(times) != len(layers)):
        said = ", ".join(f"{count} of {what}" for what, count in counts.items())
        raise InputError(
            f"Of trtexec's files there are {said}, which do not make runs.",
            mend="Give layer information and a profile of each run, and times of all or of none,"
            " in one order.",
        )
    named = ProfileOptions(device=options.device, power_mode=options.power_mode)
    for place, (own, measured) in enumerate(zip(layers, profiles, strict=True)):
        given = TrtexecFiles(layers=own, profile=measured, times=times[place] if times else None)
        (found,) = of_files(given, None, named, named_device(named))
        yield found.row.trace


def _is_measured(trace: Trace) -> bool:
    """Return whether it can be learned from; of a report, a prediction beside it is passed over."""
    return trace.evidence == "measured"
