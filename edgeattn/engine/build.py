"""Builds an engine from an ONNX file, with TensorRT or TensorRT-RTX.

The file says the precision: networks are strongly typed, except for TensorRT before 10, which only
has flags. An option that a library does not have is refused beforehand (`libraries.FEATURES`),
because the library would ignore it silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine.layer_json import inspected
from edgeattn.engine.layer_log import memory_bytes, read_log
from edgeattn.engine.libraries import Capability, Library, dotted
from edgeattn.engine.log import Log, logger_of, monitor_of, uncollected
from edgeattn.engine.refusals import Refusal, failed, reason, refusals_of, refused
from edgeattn.engine.shapes import complete
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Machine

_BY_DEFAULT: Final = EngineOptions()
_LAYERS: Final = "Layers:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a builder reported of an engine.

    Attributes:
        information: Its kernels, -1 where a dimension is open.
        profiles: The optimisation profiles that it was built for.
        activation_bytes: Device memory that it needs while it runs, or None if not reported.
        weights_bytes: Device memory of its weights, or None if not reported.
        notes: What the user should know.
        is_at_opt: Whether the kernels are those at the tuned shapes of the first profile, and
            nothing is known of other shapes.
        compute_capability: What it was built for, where only its builder knows.
        machine: What it was built on, if it is not this machine.
    """

    information: LayerInformation
    profiles: tuple[Profile, ...]
    activation_bytes: int | None
    weights_bytes: int | None
    notes: tuple[str, ...]
    is_at_opt: bool = False
    compute_capability: Capability | None = None
    machine: Machine | None = None


def check(library: Library, options: EngineOptions) -> None:
    """Refuse options that a library does not have, before any work is done.

    Raises:
        InputError: Says why it does not have one, or which options contradict each other.
    """
    asked = {
        "--workspace": options.workspace_mib is not None,
        "--timing-cache": options.timing_cache is not None,
        "--optimization-level": options.optimization_level is not None,
        "--version-compatible": options.version_compatible,
        "--hardware-compatible": options.hardware_compatible,
        "--dla": options.dla_core is not None,
    }
    for feature in (name for name, is_asked in asked.items() if is_asked):
        library.require(feature)
    if options.gpu_fallback and options.dla_core is None:
        raise InputError("--gpu-fallback is for what a DLA cannot do.", mend="Add --dla N.")
    if options.dla_core is not None and options.precision == "fp32":
        raise InputError("A DLA computes in fp16 and int8 only.", mend="Add --precision fp16.")


@uncollected()
def build_engine(
    model: Path,
    library: Library,
    capability: Capability,
    options: EngineOptions = _BY_DEFAULT,
    *,
    engine: Path | None = None,
    log: Log | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Build an engine in this process; `apart.build` does it in one that may crash.

    TensorRT-RTX 1.7 keeps something of a build that failed, which gives the next one in the process
    other kernels: none should follow.

    Args:
        model: An ONNX file, whose weights may lie in files beside it.
        library: What to build with.
        capability: The compute capability to build for; TensorRT builds for the GPU that is here.
        options: How to build.
        engine: Where the engine goes; None to throw it away.
        log: Where the library's messages go.
        on_progress: Called with the number of steps that are done, and of all steps.

    Returns:
        Its layer information and figures.

    Raises:
        InputError: The library does not take the model (names the node and the reason), fails to
            build it (quotes its message), or the shapes do not fit.
        MissingError: The engine is for something that is not here: a GPU, a DLA core.
    """
    trt = library.module
    log = Log() if log is None else log
    check(library, options)
    logger = logger_of(trt, log)
    builder = _builder(library, logger, log)
    on_dla = options.dla_core is not None
    network = builder.create_network(_network_flags(library, on_dla=on_dla))
    parser = trt.OnnxParser(network, logger)
    if not _parsed(parser, model):
        raise refused(parser, library, log)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    profiles, notes = complete(options.profiles, {i.name: tuple(i.shape) for i in inputs})
    config = builder.create_builder_config()
    _configure(config, builder, library, capability, options)
    for profile in profiles:
        config.add_optimization_profile(_library_profile(builder, profile))
    if on_progress is not None and (monitor := monitor_of(trt, on_progress)) is not None:
        config.progress_monitor = monitor
    cache = _use_timing_cache(config, options.timing_cache, notes)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise failed(library, log)
    if engine is not None:
        engine.write_bytes(memoryview(serialized))
    if cache is not None and options.timing_cache is not None:
        _keep_timing_cache(config.get_timing_cache(), options.timing_cache)
    activation_bytes, weights_bytes = memory_bytes("\n".join(log.starting_with("Total ")))
    return Built(
        information=_information(library, logger, serialized, log),
        profiles=profiles,
        activation_bytes=activation_bytes,
        weights_bytes=weights_bytes,
        notes=tuple(notes),
    )


@uncollected()
def parse(model: Path, library: Library, log: Log) -> tuple[Refusal, ...]:
    """Return what a library's parser does not take of an ONNX file, in this process.

    Args:
        model: The file, whose weights may lie in files beside it.
        library: The library; TensorRT needs a GPU for it, TensorRT-RTX none.
        log: Where its messages go.

    Raises:
        MissingError: The library does not start here.
    """
    logger = logger_of(library.module, log)
    builder = _builder(library, logger, log)
    network = builder.create_network(_network_flags(library))
    parser = library.module.OnnxParser(network, logger)
    return () if _parsed(parser, model) else refusals_of(parser, log)


def _builder(library: Library, logger: Any, log: Log) -> Any:
    builder = library.module.Builder(logger)
    if builder is None:  # pragma: no cover  # what TensorRT proper does without a GPU
        raise MissingError(f"{library.title} does not start: {reason(log)}")
    return builder


def _parsed(parser: Any, model: Path) -> bool:
    if not model.is_file():
        raise InputError(f"There is no file {model}.")
    return bool(parser.parse_from_file(str(model)))


def _network_flags(library: Library, *, on_dla: bool = False) -> int:
    members = library.module.NetworkDefinitionCreationFlag.__members__
    wanted = "STRONGLY_TYPED" if library.is_typed(on_dla=on_dla) else "EXPLICIT_BATCH"
    return 1 << int(members[wanted]) if wanted in members else 0


def _configure(
    config: Any, builder: Any, library: Library, capability: Capability, options: EngineOptions
) -> None:
    trt = library.module
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if library.has("building for another GPU"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(library, capability), 0)
    if not library.is_typed(on_dla=options.dla_core is not None):
        for precision, flag in (("fp16", "FP16"), ("int8", "INT8")):
            if options.precision == precision:
                config.set_flag(getattr(trt.BuilderFlag, flag))
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.dla_core is not None:
        _use_dla(config, builder, trt, options)


def _use_dla(config: Any, builder: Any, trt: Any, options: EngineOptions) -> None:
    if options.dla_core is None or options.dla_core >= builder.num_DLA_cores:
        raise MissingError(
            f"There is no DLA core {options.dla_core} here; this device has"
            f" {builder.num_DLA_cores}.",
            mend="Leave --dla out, or build on a device that has one.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    if options.gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _capability(library: Library, wanted: Capability) -> Any:
    known = library.capabilities()
    if wanted not in known:
        names = ", ".join(map(dotted, known))
        raise InputError(
            f"{library.title} builds nothing for compute capability {dotted(wanted)}.",
            mend=f"It does for {names}.",
        )
    return known[wanted]


def _library_profile(builder: Any, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name in profile.opt:
        made.set_shape(name, profile.min[name], profile.opt[name], profile.max[name])
    return made


def _use_timing_cache(config: Any, path: Path | None, notes: list[str]) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        notes.append(f"{path} is of another device or version, so its times were not used.")
        return None
    return cache


def _keep_timing_cache(cache: Any, path: Path) -> None:
    files.write(path, bytes(cache.serialize()))


def _information(library: Library, logger: Any, engine: Any, log: Log) -> LayerInformation:
    """Read the engine's layers: from the log, or from the engine itself on its GPU."""
    found = log.starting_with(_LAYERS)
    if found:
        return read_log(found[-1])
    trt = library.module
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
    if loaded is None:
        raise failed(library, log)
    return inspected(trt, loaded)


def manifest_options(options: EngineOptions) -> dict[str, object]:
    """Return the options as a manifest keeps them."""
    kept = {one.name: getattr(options, one.name) for one in fields(options)}
    del kept["profiles"]
    return kept | {"timing_cache": str(options.timing_cache) if options.timing_cache else None}
