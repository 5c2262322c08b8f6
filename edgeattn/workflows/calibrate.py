"""Calibrate: a device's figures, from what was measured on it."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from edgeattn.base.errors import InputError
from edgeattn.base.files import scratch
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.onnxruntime import Bench
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Visit, guests
from edgeattn.hosts.watch import watch
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.options.hosts import only
from edgeattn.options.profile import ProfileOptions, Stage, TrtexecFiles
from edgeattn.profiling.calibration.calibrate import Calibration, Processor, calibrate
from edgeattn.profiling.calibration.engines_there import measure_engines
from edgeattn.profiling.calibration.file import written
from edgeattn.profiling.calibration.learn import Learned, header, how, learn, start_of
from edgeattn.profiling.measure.hosts.onnxruntime import place
from edgeattn.profiling.predict.again import profile_of
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

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know."""
        return self.learned.notes


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
    if not traces:
        raise InputError(
            "These files hold predictions alone.", mend="Give what was measured on the device."
        )
    return calibrated(traces, options, on_stage=on_stage)


def calibrate_on(
    options: CalibrationOptions, *, on_stage: Stage = lambda _: None
) -> Calibrated | Calibration:
    """Measure a host: its GPU by trtexec, or its processor by its Python's ONNX Runtime.

    Generated networks are built and run for the GPU, and a profile is fitted to what they take.
    The processor is calibrated as this machine's is; that is done where there is no trtexec, or
    where the device that is named is a processor.

    Args:
        options: The host; the device to begin from, and what the new one is called.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: No device profile is known of its GPU, or none of the networks is taken.
        MissingError: It cannot be reached, lacks what runs them, memory or space.
    """
    with guests([only(options.on)], on_stage) as (guest,):
        named = None if options.device is None else find(options.device)
        asked = None
        if named is not None:
            asked = "onnxruntime" if named.kind == "cpu" else "tensorrt"
        if guest.runtime(asked) == "onnxruntime":
            with guest.visit() as visit:
                return _processor_on(visit, options, on_stage)
        start = named or _start_on(guest.facts)
        start.at(options.power_mode)
        trtexec = Trtexec.of(guest.facts)
        if not trtexec.has_layers:
            raise InputError(
                f"{trtexec.title} does not tell what the layers of an engine are: nothing can be"
                " fitted to them.",
                mend="Fit to what a newer TensorRT measured on such a device: edgeattn devices"
                " calibrate --from TRACE.json",
            )
        with guest.visit() as visit, scratch() as folder:
            found = measure_engines(visit, start, folder, on_stage)
    return calibrated(found.traces, options, notes=found.notes, on_stage=on_stage, start=start)


def _start_on(facts: HostFacts) -> DeviceProfile:
    """Return the profile that a host's GPU is believed to be.

    Raises:
        InputError: None is known of it.
    """
    found = profile_of(facts, "tensorrt")
    if found is None:
        raise InputError(
            f"No device profile is known of {facts.gpu or facts.title}.",
            mend="Add --device NAME, the nearest to it; see: edgeattn devices list",
        )
    return found


def _processor_on(visit: Visit, options: CalibrationOptions, on_stage: Stage) -> Calibration:
    """Calibrate a host's processor."""
    facts = visit.facts
    with Bench(visit.room, facts) as bench, watch(visit.room, facts) as seen:
        about = bench.about
        processor = Processor(
            name=about.processor or facts.title,
            title=facts.words(f"ONNX Runtime {bench.versions['onnxruntime']}"),
            runtime=bench.versions["onnxruntime"],
            cores=about.cores,
            cache_kib=about.cache_kib,
            clock_mhz=facts.clocks_mhz.get("CPU 0"),
        )
        found = calibrate(options, processor, place=place(bench, seen), on_stage=on_stage)
        return replace(found, warnings=(*found.warnings, *seen.warnings()))


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
    try:
        DeviceProfile.model_validate({"name": device.name, **tomllib.loads(text)})
    except ValidationError as error:
        raise InputError(
            f"What the traces say fits no device: {error.errors()[0]['msg']}.",
            mend="Are they of this device, and their times in ms?",
        ) from error
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
    for number, (own, measured) in enumerate(zip(layers, profiles, strict=True)):
        given = TrtexecFiles(layers=own, profile=measured, times=times[number] if times else None)
        (found,) = of_files(given, None, named, named_device(named))
        yield found.row.trace


def _is_measured(trace: Trace) -> bool:
    """Return whether it can be learned from; of a report, a prediction beside it is passed over."""
    return trace.evidence == "measured"
