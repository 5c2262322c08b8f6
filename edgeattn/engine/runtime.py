"""Runs an engine on the GPU of this machine: one path for TensorRT and TensorRT-RTX.

What can be known beforehand is refused beforehand, from the manifest beside the engine: a library
that is handed an engine of another version or GPU says so in words of its own, or crashes.
Device memory and streams are CUDA's runtime, through NVIDIA's own `cuda-bindings`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgeattn import files
from edgeattn.engine.gpu import Gpu, local_gpu
from edgeattn.engine.libraries import TITLES, Library, check_runtime, dotted, load
from edgeattn.engine.log import Log, logger_of
from edgeattn.engine.manifest import EngineManifest, read_manifest
from edgeattn.engine.shapes import written
from edgeattn.errors import InputError, MissingError, first_line

Array = npt.NDArray[Any]

#: The major versions between which a version-compatible engine goes, besides within its own.
_MAJOR_STEPS: Final = frozenset({(8, 10), (10, 11)})
_AMPERE: Final = (8, 0)


def open_engine(path: Path) -> Engine:
    """Loads the engine at this path, with the library that its manifest names.

    Raises:
        InputError: There is no manifest that belongs to it, or it is a plan.
        MissingError: The library, the version, or the GPU that it was built for is not here.
    """
    manifest = read_manifest(path)
    check_belongs(path, manifest)
    library = load(check_runtime(manifest.runtime))
    check_version(path, manifest, library)
    check_gpu(path, manifest, local_gpu())
    return Engine(path, library, manifest)


def check_belongs(path: Path, manifest: EngineManifest) -> None:
    """Refuses an engine that its manifest does not describe, and one that is no more than a plan.

    Raises:
        InputError: Says which.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if files.sha256(path) != manifest.sha256:
        raise InputError(
            f"The manifest {manifest.manifest} does not belong to {path}: it describes a file of"
            " another SHA-256.",
            mend="Build the engine again, or put the manifest beside it that was written with it.",
        )
    if manifest.not_for is not None:
        raise InputError(
            f"{path} is a plan, for profiling only: it stands for {manifest.not_for}, and does not"
            " run there.",
            mend="Build the engine on the device itself.",
        )


def check_version(path: Path, manifest: EngineManifest, library: Library) -> None:
    """Refuses an engine that the library does not read, and a library that is too old to run any.

    Raises:
        MissingError: Names both versions.
    """
    if not hasattr(library.module.IExecutionContext, "set_tensor_address"):
        raise MissingError(
            f"{library.title} is too old: what engines are run with here came with TensorRT 8.5.",
            mend=f"Run it with trtexec --loadEngine={path}",
        )
    if manifest.runtime_version == library.version:
        return
    is_compatible = bool(manifest.options.get("version_compatible"))
    if is_compatible and _goes_to(manifest.runtime_version, library.version):
        return
    raise MissingError(
        f"{path} was built with {TITLES[library.runtime]} {manifest.runtime_version}, and"
        f" {library.title} is here.",
        mend=f"Build it again with {library.version}, or install {manifest.runtime_version}.",
    )


def check_gpu(path: Path, manifest: EngineManifest, gpu: Gpu | None) -> None:
    """Refuses an engine for another GPU than the one that is here.

    Raises:
        MissingError: There is no GPU, or it has another compute capability.
    """
    if gpu is None:
        raise MissingError(
            f"{path} runs on a GPU of compute capability {manifest.compute_capability}, and no"
            " NVIDIA GPU is here.",
            mend="Run this on the device that it was built for.",
        )
    have = dotted(gpu.compute_capability)
    is_portable = bool(manifest.options.get("hardware_compatible"))
    if have == manifest.compute_capability or (is_portable and gpu.compute_capability >= _AMPERE):
        return
    raise MissingError(
        f"{path} was built for compute capability {manifest.compute_capability}; the {gpu.name}"
        f" that is here has {have}.",
        mend="Build it for this one: edgeattn build MODEL.onnx",
    )


def _goes_to(built: str, here: str) -> bool:
    """Whether a version-compatible engine of one version runs in another."""
    older, newer = (_numbers(version) for version in (built, here))
    within = older[:1] == newer[:1] and older <= newer
    return within or (older[0], newer[0]) in _MAJOR_STEPS


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


class Engine:
    """An engine on the GPU, ready to run. A context manager: leaving it ends its stream.

    Args:
        path: The engine.
        library: The library that it was built with.
        manifest: What it was built with; `open_engine` checks that it may be run at all.

    Attributes:
        manifest: The same.
        inputs: The shape of each input, -1 where it is open.
        output_names: The outputs, in the engine's order.

    Raises:
        MissingError: CUDA's bindings, its driver or a GPU are not here.
        InputError: The library does not take the engine: with its own words.
    """

    def __init__(self, path: Path, library: Library, manifest: EngineManifest) -> None:
        self.manifest = manifest
        self._path = path
        self._library = library
        self._log = Log()
        self._cuda = _Cuda()
        trt = library.module
        runtime = trt.Runtime(logger_of(trt, self._log))
        if runtime is None:  # what TensorRT proper does where CUDA does not start
            raise MissingError(f"{library.title} does not start: {self._reason()}")
        if manifest.options.get("version_compatible"):
            runtime.engine_host_code_allowed = True  # such an engine holds its own lean runtime
        if (core := manifest.options.get("dla_core")) is not None:
            runtime.DLA_core = core
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise InputError(f"{library.title} does not take {path}: {self._reason()}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MissingError(f"{library.title} cannot run {path}: {self._reason()}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        taken = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = {name: tuple(self._engine.get_tensor_shape(name)) for name in taken}
        self.output_names = [name for name in names if name not in self.inputs]
        self._stream = self._cuda.call("cudaStreamCreate")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cuda.call("cudaStreamDestroy", self._stream)

    def takes(self, shapes: Mapping[str, Sequence[int]]) -> bool:
        """Whether inputs of these shapes lie in one of its optimisation profiles."""
        return self._profile_of(shapes) is not None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the engine once.

        Args:
            feeds: An array for each input, which is brought to the input's type.

        Returns:
            The outputs, by name.

        Raises:
            InputError: There is an array too few or too many, or the shapes lie in no profile; or
                the library does not run it, with its own words.
            MissingError: The GPU has not memory enough, or fails.
        """
        if feeds.keys() != self.inputs.keys():
            raise InputError(
                f"{self._path} takes the inputs {', '.join(self.inputs)}, not {', '.join(feeds)}."
            )
        given = {
            name: np.ascontiguousarray(feeds[name], self._dtype_of(name)) for name in self.inputs
        }
        self._set_shapes({name: array.shape for name, array in given.items()})
        made = {name: np.empty(self._shape_of(name), self._dtype_of(name))
                for name in self.output_names}  # fmt: skip
        with contextlib.ExitStack() as stack:
            places = {}
            for name, array in (given | made).items():
                # CUDA gives no address for nothing, and TensorRT wants one for an empty tensor.
                places[name] = self._cuda.call("cudaMalloc", max(array.nbytes, 1))
                stack.callback(self._cuda.call, "cudaFree", places[name])
                self._must(self._context.set_tensor_address(name, int(places[name])))
            for name, array in given.items():
                self._cuda.copy_in(places[name], array, self._stream)
            self._must(self._context.execute_async_v3(int(self._stream)))
            for name, array in made.items():
                self._cuda.copy_out(array, places[name], self._stream)
            self._cuda.call("cudaStreamSynchronize", self._stream)
        return made

    def _set_shapes(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Chooses the profile, and sets the shapes of the inputs."""
        profile = self._profile_of(shapes)
        if profile is None:
            told = ", ".join(f"{name}:{written(shape)}" for name, shape in shapes.items())
            raise InputError(
                f"{self._path} takes no inputs of {told}: they lie in none of its profiles.",
                mend="Build it for them: --min-shapes, --opt-shapes and --max-shapes.",
            )
        if profile != self._context.active_optimization_profile:
            self._must(self._context.set_optimization_profile_async(profile, int(self._stream)))
            self._cuda.call("cudaStreamSynchronize", self._stream)
        for name, shape in shapes.items():
            self._must(self._context.set_input_shape(name, tuple(shape)))

    def _profile_of(self, shapes: Mapping[str, Sequence[int]]) -> int | None:
        for name, own in self.inputs.items():
            shape = shapes[name]
            if len(shape) != len(own) or any(
                size not in (-1, got) for size, got in zip(own, shape, strict=True)
            ):
                return None
        is_open = [name for name, own in self.inputs.items() if -1 in own]
        for profile in range(self._engine.num_optimization_profiles):
            if all(self._is_within(name, shapes[name], profile) for name in is_open):
                return profile
        return None

    def _is_within(self, name: str, shape: Sequence[int], profile: int) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, profile)
        return all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))

    def _shape_of(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise InputError(
                f"The shape of output {name} of {self._path} depends on the data, not on the"
                " inputs' shapes alone.",
                mend="Such outputs are not compared; run it with trtexec.",
            )
        return shape

    def _dtype_of(self, name: str) -> npt.DTypeLike:
        trt = self._library.module
        dtype = self._engine.get_tensor_dtype(name)
        try:
            numpy_type: npt.DTypeLike = trt.nptype(dtype)
        except TypeError as error:  # NumPy has no bfloat16, and no 8-bit floats
            raise InputError(
                f"Tensor {name} of {self._path} is {str(dtype).rpartition('.')[2]}, which NumPy"
                " has not.",
                mend="Build an engine whose inputs and outputs are float32 or float16.",
            ) from error
        return numpy_type

    def _must(self, is_done: bool) -> None:
        if not is_done:
            raise InputError(f"{self._library.title} does not run {self._path}: {self._reason()}")

    def _reason(self) -> str:
        return "; ".join(self._log.errors) or "it gave no reason."


class _Cuda:
    """The few calls of CUDA's runtime that running an engine takes.

    Raises:
        MissingError: The bindings are not installed, or there is no driver or GPU.
    """

    def __init__(self) -> None:
        import importlib

        try:
            self._runtime = importlib.import_module("cuda.bindings.runtime")
        except (ImportError, OSError) as error:
            raise MissingError(
                f"Engines are run through cuda-bindings, which does not load: {first_line(error)}.",
                mend="pip install 'edgeattn[gpu]'",
            ) from error
        if self.call("cudaGetDeviceCount") == 0:
            raise MissingError("CUDA sees no GPU.", mend="Is CUDA_VISIBLE_DEVICES set?")

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a function, and gives what it gives besides its status."""
        status, *values = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            _, text = self._runtime.cudaGetErrorString(status)
            raise MissingError(f"CUDA's {name} fails: {text.decode()}.")
        return values[0] if values else None

    def copy_in(self, place: Any, array: Array, stream: Any) -> None:
        """Copies an array to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", place, array.ctypes.data, array.nbytes, kind, stream)

    def copy_out(self, array: Array, place: Any, stream: Any) -> None:
        """Copies from the GPU into an array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", array.ctypes.data, place, array.nbytes, kind, stream)
