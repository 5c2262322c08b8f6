"""The last step of a ladder on a host: an engine of its trtexec, or else its onnxruntime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, cast

from edgeattn.base.errors import CheckError, InputError
from edgeattn.base.worker import DeathError
from edgeattn.engine.log import Log
from edgeattn.engine.parity import compare_engine, source_of, tolerance_of_engine
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import describe
from edgeattn.hosts.engines import Engines, check_engine, open_inputs
from edgeattn.hosts.machine import machine_of
from edgeattn.hosts.onnxruntime import Bench
from edgeattn.hosts.probe import PythonRuntime
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.trtexec.said import RefusedError
from edgeattn.hosts.trtexec.tensors import DIGITS_DB, DIGITS_REL
from edgeattn.hosts.visit import Guest, guests
from edgeattn.legalise import take_up
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.options.cast import CastOptions
from edgeattn.options.precision import Precision
from edgeattn.parity.bisect import first_difference_elsewhere
from edgeattn.parity.compare import Reference, Run
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.records.engine import EngineManifest
from edgeattn.records.parity import ParityThere
from edgeattn.records.trace import RUNTIMES, Machine
from edgeattn.runtimes.onnxruntime import Array, Session, taken
from edgeattn.workflows.build import network_of
from edgeattn.workflows.build_on import flags_of, target_of
from edgeattn.workflows.openvino_step import refused
from edgeattn.workflows.pipeline import Candidate, Step, tolerance_of_cast

_DIGITS: Final = (
    "trtexec writes outputs with six significant digits: differences below 5e-6 of a value are not"
    " seen."
)
_PERMITTED: Final = "{} takes {} as a permission: what it is slower in stays float32."
_ENGINE: Final = "compared.engine"
# As text some 60 MB, which a comparison value by value may fetch.
_MOST_VALUES: Final = 6e6

OnStage = Callable[[str], None]
_Running = Callable[[Session, Mapping[int, Sequence[Array]]], Iterator[Run]]


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """A host that the last step is taken on.

    Attributes:
        guest: The host.
        trtexec: Its trtexec; None where it has none, or its Python is to run the file.
        runtime: What its Python runs the file by then.
        openvino_device: OpenVINO's device; None for the CPU.
        on_stage: Called as the step goes on.
    """

    guest: Guest
    trtexec: Trtexec | None
    runtime: PythonRuntime
    openvino_device: str | None
    on_stage: OnStage

    @property
    def machine(self) -> Machine:
        """What the step is taken on."""
        by, python = "trtexec", self.guest.facts.python(self.runtime)
        if python is not None and self.trtexec is None:
            by = f"{RUNTIMES[self.runtime]} {python.version_of(self.runtime)}"
        return machine_of(self.guest.facts, by)

    @property
    def destined(self) -> dict[str, str]:
        """What models are lowered for there, as the options of lowering have it."""
        if self.trtexec is None:
            return {"target": self.runtime}
        return {"tensorrt": ".".join(map(str, self.trtexec.version))}

    @property
    def opset(self) -> int | None:
        """The highest opset that its TensorRT parses; None if that is not known."""
        return None if self.trtexec is None else self.guest.facts.opset

    def takes_cast(self, cast: CastOptions) -> bool:
        """Return whether the file is cast before; TensorRT before 10 takes fp16 by a flag."""
        is_weak = self.trtexec is not None and not self.trtexec.is_strongly_typed
        return not is_weak or cast.precision != "fp16"

    def step(
        self, folder: Path, cast: CastOptions | None, precision: Precision, notes: list[str]
    ) -> Step:
        """Return the step; see `pipeline.Top`."""
        if self.trtexec is None:
            tolerance = tolerance_of(precision) if cast is None else tolerance_of_cast(cast)
            run = partial(_run_model, self, notes=notes)
            return _step(self.runtime, tolerance, partial(_make, folder, run))
        tolerance = tolerance_of_engine(precision) if cast is None else tolerance_of_cast(cast)
        asked: Precision = precision if cast is None else cast.precision
        notes.append(_DIGITS)
        if cast is not None and not self.takes_cast(cast):
            notes.append(_PERMITTED.format(self.trtexec.title, asked))
        run = partial(_run_engine, self, self.trtexec, folder, asked, notes=notes)
        return _step("engine", as_written(tolerance), partial(_make, folder, run))

    def compare(
        self,
        path: Path,
        other: Path | None = None,
        *,
        inputs: Sequence[Array] | None = None,
        seed: int = 0,
        tolerance: Tolerance | None = None,
    ) -> ParityThere:
        """Run an engine on the host; see `engine.parity.compare_engine`."""
        trtexec = self.trtexec or Trtexec.of(self.guest.facts)  # which says what is missing
        manifest = check_engine(path, self.guest.facts, trtexec)
        onnx = other or source_of(path, manifest)
        tolerance = as_written(tolerance or tolerance_of_engine(manifest.precision.asked))
        report = compare_engine(
            path,
            onnx,
            inputs=inputs,
            seed=seed,
            tolerance=tolerance,
            opened=partial(_opened, self, trtexec, manifest, read(onnx)),
        )
        said = dict(report) | {"notes": (*report.notes, _DIGITS)}
        return ParityThere(**said, machine=self.machine)


@contextlib.contextmanager
def there(
    address: str,
    on_stage: OnStage = lambda _: None,
    *,
    runtime: str | None = None,
    openvino_device: str | None = None,
) -> Iterator[There]:
    """Connect to a host to take the last step on.

    Args:
        address: The host.
        on_stage: Called as the step goes on.
        runtime: What is to run the file there; None for the first that is there.
        openvino_device: OpenVINO's device; None for the CPU.

    Raises:
        MissingError: It cannot be reached, or has not what is to run the file.
    """
    with guests([address], on_stage) as (guest,):
        found = guest.runtime(runtime)
        yield There(
            guest=guest,
            trtexec=Trtexec.of(guest.facts) if found == "tensorrt" else None,
            runtime="onnxruntime" if found == "tensorrt" else found,
            openvino_device=openvino_device,
            on_stage=on_stage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """An engine in a room of a host."""

    manifest: EngineManifest
    onnx: Source
    engines: Engines

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input."""
        return open_inputs(self.onnx)

    @property
    def output_names(self) -> Sequence[str]:
        """The outputs."""
        return [one.name for one in describe(self.onnx.model.graph.outputs)]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run it once."""
        return self.engines.run(_ENGINE, self.onnx, feeds, log=Log())


@contextlib.contextmanager
def _opened(
    there: There, trtexec: Trtexec, manifest: EngineManifest, onnx: Source, path: Path
) -> Iterator[_Loaded]:
    """Bring an engine to a host; its inputs and outputs are those of its ONNX file."""
    core = cast("int | None", manifest.options.get("dla_core"))
    with there.guest.visit() as visit:
        there.on_stage(f"sending {path.name} to {visit.facts.address}")
        visit.room.put(path, _ENGINE)
        yield _Loaded(
            manifest=manifest,
            onnx=onnx,
            engines=Engines(room=visit.room, trtexec=trtexec, dla_core=core),
        )


def as_written(tolerance: Tolerance) -> Tolerance:
    """Return a tolerance for outputs that were written with six digits.

    Raises:
        InputError: What is asked lies beyond these.
    """
    if tolerance.min_sqnr_db > DIGITS_DB:
        raise InputError(
            f"An SQNR of {tolerance.min_sqnr_db:g} dB cannot be seen: trtexec writes outputs with"
            f" six digits, which is {DIGITS_DB:.0f} dB.",
            mend=f"Ask for --min-sqnr {DIGITS_DB:.0f} at most.",
        )
    return replace(tolerance, max_rel=tolerance.max_rel + DIGITS_REL)


def _step(name: str, tolerance: Tolerance, make: Callable[[Reference, Path], Candidate]) -> Step:
    return Step(name=name, tolerance=tolerance, make=make, weights=("model",), is_asked=True)


def _make(folder: Path, run: _Running, reference: Reference, below: Path) -> Candidate:
    """Take the file below to the host, and run it there on the reference's inputs.

    Raises:
        CheckError: trtexec builds no engine of the file.
        MissingError: The host's memory or space ran out, or the connection broke.
    """
    return Candidate(
        path=below,
        runs=run(Session(below), reference.inputs),
        locate=lambda tolerance: first_difference_elsewhere(
            folder,
            below,
            reference.inputs,
            tolerance,
            run,
            most_values=_MOST_VALUES,
        ),
    )


def _run_model(
    there: There, session: Session, inputs: Mapping[int, Sequence[Array]], *, notes: list[str]
) -> Iterator[Run]:
    """Run a file by the host's Python, at every batch size."""
    feeds = [taken(session, arrays) for arrays in inputs.values()]
    with there.guest.visit() as visit:
        notes += visit.room.notes
        there.on_stage(f"running {session.path.name} on {visit.facts.address}")
        with Bench(visit.room, visit.facts, [there.runtime]) as bench:
            try:
                found = bench.outputs(
                    session.path, feeds, runtime=there.runtime, device=there.openvino_device
                )
            except InputError as error:
                is_of_file = str(session.path) in error.fact and not isinstance(error, DeathError)
                if there.runtime != "openvino" or not is_of_file:
                    raise
                raise refused(error, session.path) from error
    for batch, outputs in zip(inputs, found, strict=True):
        yield Run(
            optimisations="on",
            batch=batch,
            names=session.output_names,
            outputs=outputs,
            runtime=there.runtime,
            maps=session.maps,
        )


def _run_engine(
    there: There,
    trtexec: Trtexec,
    folder: Path,
    asked: Precision,
    session: Session,
    inputs: Mapping[int, Sequence[Array]],
    *,
    notes: list[str],
) -> Iterator[Run]:
    """Build an engine on the host, and run it at every batch size."""
    target = target_of(there.guest.facts, trtexec)
    source, _ = network_of(take_up(read(session.path)), target, folder)
    feeds = {batch: taken(session, arrays) for batch, arrays in inputs.items()}
    is_open = any(-1 in shape for shape in open_inputs(source).values())
    smallest, largest = (_shapes(feeds[batch]) for batch in (min(feeds), max(feeds)))
    profile = Profile(min=smallest, opt=largest, max=largest)
    options = EngineOptions(precision=asked, profiles=(profile,) if is_open else ())
    log = Log()
    with there.guest.visit() as visit, _falling():
        notes += visit.room.notes
        engines = Engines(room=visit.room, trtexec=trtexec)
        engines.build(
            source,
            _ENGINE,
            options,
            precisions=flags_of(source, asked),
            log=log,
            on_line=lambda line: there.on_stage(f"build on {engines.host}: {line}"),
        )
        for batch, arrays in feeds.items():
            there.on_stage(f"batch {batch} on {engines.host}")
            found = engines.run(_ENGINE, source, arrays, log=log)
            yield Run(
                # The reference's: an engine's own are those of its library.
                optimisations="off",
                batch=batch,
                names=list(found),
                outputs=list(found.values()),
                maps=session.maps,
            )


def _shapes(feeds: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


@contextlib.contextmanager
def _falling() -> Iterator[None]:
    """Let the rung fall where trtexec does not take the file, which ONNX Runtime runs."""
    try:
        yield
    except RefusedError as error:
        raise CheckError(error.fact, mend=error.mend) from error
