"""Build: an ONNX file becomes an engine for a device, with a manifest that says what was built.

Where a precision is asked that the file has not, the file is cast first, and what is built is that
file, which is kept beside the engine: precision is in the graph, not in flags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.base.versions import versions
from edgeattn.engine import apart
from edgeattn.engine import build as engines
from edgeattn.engine.audit import audit
from edgeattn.engine.build import Built
from edgeattn.engine.dynamic import resolve
from edgeattn.engine.libraries import TITLES, dotted
from edgeattn.engine.log import Log
from edgeattn.engine.network import for_library
from edgeattn.engine.target import Target
from edgeattn.engine.turing import NO_INT8, Rewritten, is_turing
from edgeattn.graph.marks import forms_of
from edgeattn.graph.precision import precision_of, quantised_nodes
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import save
from edgeattn.legalise import take_up, taken_up
from edgeattn.lowering.misfit import misfit
from edgeattn.lowering.target import DLA
from edgeattn.options.build import EngineOptions
from edgeattn.options.cast import CastOptions
from edgeattn.options.precision import PRECISIONS, Precision
from edgeattn.records import sidecar
from edgeattn.records.engine import EngineManifest, Point, manifest_of
from edgeattn.records.engine import Precision as AuditedPrecision
from edgeattn.records.layers import Kernel, LayerInformation, traffic_bytes
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.workflows.cast import cast

SUFFIX: Final = ".engine"
_MOST_WARNINGS: Final = 10
_POINTS: Final[tuple[Literal["min", "opt", "max"], ...]] = ("min", "opt", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        target: What to build for, and by which library.
        engine: What the library is asked.
        precision: The precision that is asked; None for that of the file.
        cast: How to cast a file that is not in that precision.
        log: A file for the library's whole log; None to keep none.
    """

    target: Target
    engine: EngineOptions
    precision: Precision | None = None
    cast: CastOptions | None = None
    log: Path | None = None

    @property
    def is_typed(self) -> bool:
        """Whether the network is built in the precision that it is written in."""
        return self.target.library.is_typed(on_dla=self.engine.dla_core is not None)


class Builder(Protocol):
    """What builds an engine: a library that is here, or one on a host."""

    def __call__(
        self,
        network: Source,
        engine: Path,
        options: BuildOptions,
        log: Log,
        on_stage: Callable[[str], None],
    ) -> Built:
        """Build an engine.

        Args:
            network: The file to build, its precision in it.
            engine: Where the engine goes.
            options: How to build.
            log: Where the library's messages go.
            on_stage: Called as the build goes on.

        Raises:
            InputError: The library does not take the file, or fails to build it.
            MissingError: Something that is needed is not there.
        """


def build_here(
    network: Source,
    engine: Path,
    options: BuildOptions,
    log: Log,
    on_stage: Callable[[str], None],
) -> Built:
    """Build an engine with a library that is here, in a process of its own."""
    return apart.build(
        network.path,
        options.target.library,
        options.target.compute_capability,
        options.engine,
        engine=engine,
        log=log,
        on_progress=lambda done, count: on_stage(f"build {done}/{count}"),
    )


@blames_the_file
def build(
    source: Path,
    options: BuildOptions,
    destination: Path,
    *,
    builder: Builder = build_here,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> EngineManifest:
    """Build an engine and write its manifest beside it.

    Args:
        source: The ONNX file.
        options: How to build.
        destination: The engine's file, which ends in `.engine`, or a folder to name it in.
        builder: What builds it.
        command: The command line to record in the manifest.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        The manifest. Its `precision.mismatches` are for the caller to judge: the engine is written
        in any case.

    Raises:
        InputError: The file cannot be read, cast, or built, or a name is taken.
        CheckError: The cast file differs from the one that was read.
        MissingError: Something that is needed is not on this machine.
    """
    if builder is build_here:
        engines.check(options.target.library, options.engine)
        apart.start()
    clock = Clock(on_stage)
    with clock.stage("read"):
        found = read(source)
        cast = _cast_needed(found, options)
        destination = _destination(destination, found, options, cast)
        _check_names(destination, found, options)
    log = Log()
    with files.staged(destination.parent) as staging:
        notes: tuple[str, ...] = ()
        if cast is not None:
            with clock.stage("cast"):
                found, notes = _cast(found, cast, staging, destination.parent)
        taken = take_up(found)
        asked = _check_precision(taken, options)
        try:
            with clock.stage("build"):
                network, rewritten = network_of(taken, options.target, staging.parent)
                built = builder(network, staging / destination.name, options, log, on_stage)
        finally:
            if options.log is not None:
                files.write(options.log, log.text)
        with clock.stage("layers"):
            information, points = _resolved(built, network)
            first = information.of_profile(0)
        with clock.stage("audit"):
            precision = _audited(first, asked, taken, rewritten)
        with clock.stage("write"):
            digest = files.sha256(staging / destination.name)

        target = options.target
        by = "tensorrt" if options.engine.dla_core is None else DLA
        manifest = EngineManifest(
            engine=destination.name,
            sha256=digest,
            size_bytes=(staging / destination.name).stat().st_size,
            onnx=_named(source, destination) if cast is None else found.path.name,
            sources=_hashes(found, source, destination),
            runtime=target.library.runtime,
            runtime_version=target.library.version,
            runtime_reason=target.reason,
            compute_capability=dotted(built.compute_capability or target.compute_capability),
            machine=built.machine,
            device=target.device.name if target.device is not None else None,
            not_for=target.plan_for,
            precision=precision,
            kernels=len(first.kernels) or None,
            traffic_bytes=_traffic(first),
            weights_bytes=built.weights_bytes,
            activation_bytes=built.activation_bytes,
            points=points,
            layers=information,
            options=engines.manifest_options(options.engine),
            versions=versions() | {target.library.runtime: target.library.version},
            seconds=clock.seconds,
            notes=(
                *filter(None, [misfit(source, forms_of(found.model), by)]),
                *notes,
                *built.notes,
                *taken_up(found, taken),
                *(() if rewritten is None else rewritten.notes),
                *_remarks(options, taken, asked),
                *_few(log.warnings),
            ),
            command=command,
            manifest=manifest_of(destination).name,
        )
        text = manifest.model_dump_json() + "\n"
        (staging / manifest.manifest).write_text(text, encoding="utf-8")
    return manifest


def default_name(stem: str, target: Target, *, precision: str | None = None) -> str:
    """Name an engine after its model, the precision that it was cast to, and what it is for.

    Args:
        stem: The model's name.
        target: What it is built for.
        precision: The precision that the file is cast to; None if it is not.
    """
    architecture = f"sm{target.compute_capability[0]}{target.compute_capability[1]}"
    if not any(target.compute_capability):  # of a host, known once it is built
        architecture = f"tensorrt-{target.library.version}"
    if target.plan_for is not None:
        architecture = f"plan-{architecture}"
    return f"{'-'.join(filter(None, [stem, precision]))}.{architecture}{SUFFIX}"


def _cast_needed(found: Source, options: BuildOptions) -> CastOptions | None:
    """Return the cast that brings the file to the precision that is asked, or None if it is in it.

    Raises:
        InputError: The file cannot be brought to it.
    """
    own = precision_of(found.model)
    if options.precision in (None, own):
        return None
    if options.precision != "int8" and not options.is_typed:
        return None  # a flag asks for it; the scales of int8 are in the file, whatever builds it
    if own != "fp32":
        raise InputError(
            f"{found.path} is {own} already, and precision is in the file: it cannot be built in"
            f" {options.precision}.",
            mend="Give the float32 file that it was made from.",
        )
    return options.cast


def _destination(
    asked: Path, found: Source, options: BuildOptions, cast: CastOptions | None
) -> Path:
    if asked.is_dir():
        precision = None if cast is None else cast.precision
        asked /= default_name(found.path.stem, options.target, precision=precision)
    if asked.suffix != SUFFIX:
        raise InputError(f"The output {asked} must end in {SUFFIX}, or be a folder that exists.")
    if options.target.plan_for is not None and ".plan-" not in asked.name:
        name = default_name(asked.stem, options.target)
        raise InputError(
            f"{asked.name} would be taken for an engine for {options.target.plan_for}; it is a"
            " plan, for profiling only.",
            mend=f"Name it so: -o {asked.with_name(name)}",
        )
    return files.absolute(asked)


def _check_names(destination: Path, found: Source, options: BuildOptions) -> None:
    """Refuse to write over what the model is read from, before any work is done."""
    written = [destination, manifest_of(destination), *filter(None, [options.log])]
    for path in written:
        files.check_target(path)
    files.check_apart(written, (found.path, *found.data))


def _cast(
    found: Source, options: CastOptions, staging: Path, home: Path
) -> tuple[Source, tuple[str, ...]]:
    """Cast the file into the staging folder, and read what was made; the notes are the cast's."""
    path = staging / f"{found.path.stem}-{options.precision}.onnx"
    for made in (home / path.name, home / f"{path.stem}.json"):
        files.check_target(made)
    notes = cast(found.path, options, path).notes
    return read(path), notes


def _check_precision(found: Source, options: BuildOptions) -> Precision:
    """Return the precision that is asked; and refuse a device that lacks it."""
    target = options.target
    asked = precision_of(found.model)
    if not options.is_typed:
        asked = max(asked, options.engine.precision, key=PRECISIONS.index)
    if target.device is not None and asked not in target.device.precisions:
        known = " and ".join(target.device.precisions)
        raise InputError(
            f"{target.device.title} is not built for {asked}: {TITLES[target.library.runtime]} has"
            f" {known} there.",
            mend=f"Give the float32 file that it was made from, and --precision"
            f" {target.device.precisions[-1]}."
            if options.cast is None
            else f"Ask for --precision {target.device.precisions[-1]}.",
        )
    return asked


def network_of(found: Source, target: Target, folder: Path) -> tuple[Source, Rewritten | None]:
    """Return the file to build from, and what was rewritten in it for the library.

    Args:
        found: The file, taken up.
        target: What is built for.
        folder: Where another file goes, if the library is not to read this one.
    """
    rewritten = for_library(found.model, target)
    if rewritten is None and found.is_as_written:
        return found, None

    model = found.model if rewritten is None else rewritten.model
    path = folder / "rewritten.onnx"
    save(model, path)
    weights = folder / f"{path.name}.data"
    data = (weights,) if weights.is_file() else ()
    return replace(found, path=path, model=model, data=data), rewritten


def _resolved(built: Built, found: Source) -> tuple[LayerInformation, tuple[Point, ...]]:
    """Return each profile's kernels at its tuned shapes, and the bytes at every point of each."""
    if not built.profiles:
        return built.information, ()
    if built.is_at_opt:
        return _at_opt(built, found)

    kernels: list[Kernel] = []
    points = []
    for number, profile in enumerate(built.profiles):
        for point in _POINTS:
            shapes = dict(getattr(profile, point))
            information = resolve(built.information, shapes, found.model, profile=number)
            if point == "opt":
                kernels += information.kernels
            points.append(
                Point(
                    profile=number,
                    point=point,
                    shapes=shapes,
                    traffic_bytes=traffic_bytes(information.kernels),
                    kernel_bytes=tuple(kernel.traffic_bytes for kernel in information.kernels),
                )
            )
    return replace(built.information, kernels=tuple(kernels)), tuple(points)


def _at_opt(built: Built, found: Source) -> tuple[LayerInformation, tuple[Point, ...]]:
    """Return the kernels at the tuned shapes of the first profile, if nothing else is known."""
    shapes = dict(built.profiles[0].opt)
    information = built.information
    if information.is_open:
        information = resolve(information, shapes, found.model)
    moved = _traffic(information)
    each = () if moved is None else tuple(kernel.traffic_bytes for kernel in information.kernels)
    points = []
    for point in _POINTS:
        sizes = dict(getattr(built.profiles[0], point))
        is_known = sizes == shapes
        points.append(
            Point(
                profile=0,
                point=point,
                shapes=sizes,
                traffic_bytes=moved if is_known else None,
                kernel_bytes=each if is_known else (),
            )
        )
    return information, tuple(points)


def _traffic(information: LayerInformation) -> int | None:
    """Return the bytes that all kernels move; None where there are none, or a type is not said."""
    tensors = [one for kernel in information.kernels for one in kernel.tensors]
    if not all(one.dtype and not one.is_open for one in tensors):
        return None
    return traffic_bytes(information.kernels) if tensors else None


def _audited(
    information: LayerInformation, asked: str, found: Source, rewritten: Rewritten | None
) -> AuditedPrecision:
    kept = _kept(found.path)
    if rewritten is not None:
        kept = rewritten.with_made(kept)
    return audit(information, asked, kept=kept, quantised=quantised_nodes(found.model))


def _kept(onnx: Path) -> frozenset[str]:
    """Return the nodes that the cast of a file kept in float32, as the manifest beside it says.

    A file that was not cast here, or was changed since, has no record of what is meant.
    """
    said = sidecar.read_beside(onnx) or {}
    try:
        return frozenset(one["node"] for one in (said.get("cast") or said)["kept"])
    except (AttributeError, KeyError, TypeError):
        return frozenset()


def _hashes(found: Source, source: Path, destination: Path) -> dict[str, str]:
    """Return the hash of each file that was built from; a cast one is to lie beside the engine."""
    read = (found.path, *found.data)
    if found.path == source:
        hashes = {_named(path, destination): path for path in read}
    else:
        hashes = {path.name: path for path in read} | {_named(source, destination): source}
    return {name: files.sha256(path) for name, path in hashes.items()}


def _named(path: Path, destination: Path) -> str:
    """Name a file as the engine's manifest does: by its name beside it, elsewhere by its path."""
    path = files.absolute(path)
    return path.name if path.parent == destination.parent else str(path)


def _few(warnings: list[str]) -> list[str]:
    """Return the first of a library's warnings: of tactics it skips there may be hundreds."""
    left = len(warnings) - _MOST_WARNINGS
    more = [f"There are {left} more warnings: --log FILE keeps them."] if left > 0 else []
    return warnings[:_MOST_WARNINGS] + more


def _remarks(options: BuildOptions, found: Source, asked: Precision) -> list[str]:
    """Return what a user should know of what stands between this engine and the device."""
    target = options.target
    notes = [NO_INT8] if asked == "int8" and is_turing(target) else []
    if target.plan_for is not None:
        fact = f"This is a plan of compute capability {dotted(target.compute_capability)}"
        notes.append(
            f"{fact}, for profiling only: it does not run on {target.plan_for}, whose TensorRT"
            " fuses differently."
        )
    elif target.library.runtime == "tensorrt-rtx":
        notes.append(
            "These kernels are what was planned: TensorRT-RTX compiles them on the device, and may"
            " choose other tactics there."
        )
    if not options.is_typed and asked != "fp32":
        notes.append(
            f"{target.library.title} takes a precision as a permission: it may compute in {asked}"
            " what edgeattn cast would keep in float32, and it may not."
        )
    device = target.device
    if device is not None and device.opset is not None and found.opset > device.opset:
        notes.append(
            f"TensorRT {device.tensorrt} on {device.title} takes opset {device.opset} at most; this"
            f" file has {found.opset}."
        )
    return notes
