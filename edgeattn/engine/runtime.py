"""Runs an engine on the GPU of this machine, with TensorRT or TensorRT-RTX.

Device memory and streams are CUDA's runtime, through NVIDIA's own `cuda-bindings`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine.cuda import Array, Cuda, size_of
from edgeattn.engine.layer_fit import fits
from edgeattn.engine.libraries import Library
from edgeattn.engine.log import Log, logger_of, profiler_of, uncollected
from edgeattn.engine.refusals import reason
from edgeattn.engine.runs_here import check_engine
from edgeattn.engine.shapes import written
from edgeattn.records.engine import EngineManifest


def open_engine(path: Path) -> Engine:
    """Load the engine at this path, with the library that its manifest names.

    Raises:
        InputError: There is no manifest that belongs to it, or it is a plan.
        MissingError: The library, the version, or the GPU that it was built for is not here.
    """
    manifest, library = check_engine(path)
    return Engine(path, library, manifest)


class Engine:
    """An engine on the GPU, ready to run. A context manager: leaving it ends its stream.

    Args:
        path: The engine.
        library: The library that it was built with.
        manifest: What it was built with; `open_engine` checks that it may be run at all.

    Attributes:
        manifest: The same.
        cuda: The calls of CUDA's runtime.
        stream: The stream that it runs in.
        inputs: The shape of each input, -1 where it is open.
        output_names: The outputs, in the engine's order.

    Raises:
        MissingError: CUDA's bindings, its driver or a GPU are not here.
        InputError: The library does not take the engine: quotes its message.
    """

    @uncollected()
    def __init__(self, path: Path, library: Library, manifest: EngineManifest) -> None:
        self.manifest = manifest
        self._path = path
        self._library = library
        self._log = Log()
        self.cuda = Cuda()
        trt = library.module
        runtime = trt.Runtime(logger_of(trt, self._log))
        if runtime is None:  # what TensorRT proper does if CUDA does not start
            raise MissingError(f"{library.title} does not start: {reason(self._log)}")
        if manifest.options.get("version_compatible"):
            runtime.engine_host_code_allowed = True  # such an engine holds its own lean runtime
        if (core := manifest.options.get("dla_core")) is not None:
            runtime.DLA_core = core
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise InputError(f"{library.title} does not take {path}: {reason(self._log)}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        taken = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = {name: tuple(self._engine.get_tensor_shape(name)) for name in taken}
        self.output_names = [name for name in names if name not in self.inputs]
        self._context = self._new_context()
        if self._context is None:
            raise MissingError(f"{library.title} cannot run {path}: {reason(self._log)}")
        self._profiler: Any = None
        self.stream = self.cuda.call("cudaStreamCreate")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cuda.call("cudaStreamDestroy", self.stream)

    @property
    def profile(self) -> int:
        """The optimisation profile that it runs with."""
        return int(self._context.active_optimization_profile)

    def takes(self, shapes: Mapping[str, Sequence[int]]) -> bool:
        """Return whether inputs of these shapes lie in one of its optimisation profiles."""
        return self._profile_of(shapes) is not None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the engine once.

        Args:
            feeds: An array for each input, which is brought to the input's type.

        Returns:
            The outputs, by name.

        Raises:
            InputError: An array is missing or superfluous, or the shapes lie in no profile; or
                the library does not run it: quotes its message.
            MissingError: The GPU does not have enough memory, or fails.
        """
        with self.holding(feeds) as places:
            self.enqueue()
            made = {name: np.empty(self._shape_of(name), self.dtype_of(name)) for name in places}
            for name, array in made.items():
                self.cuda.copy_out(array, places[name], self.stream)
            self.synchronize()
        return made

    @contextlib.contextmanager
    def holding(self, feeds: Mapping[str, Array]) -> Iterator[dict[str, Any]]:
        """Put inputs into the GPU's memory, and make room for outputs, until the block ends.

        Args:
            feeds: As `run` takes them.

        Yields:
            Where each output lies.

        Raises:
            InputError: As `run` does.
            MissingError: The GPU does not have enough memory, or fails.
        """
        if feeds.keys() != self.inputs.keys():
            raise InputError(
                f"{self._path} takes the inputs {', '.join(self.inputs)}, not {', '.join(feeds)}."
            )
        given = {
            name: np.ascontiguousarray(feeds[name], self.dtype_of(name)) for name in self.inputs
        }
        self._set_shapes({name: array.shape for name, array in given.items()})
        sizes = {name: size_of(array.shape, array.dtype) for name, array in given.items()}
        sizes |= {name: size_of(self._shape_of(name), self.dtype_of(name))
                  for name in self.output_names}  # fmt: skip
        with contextlib.ExitStack() as stack:
            places = {}
            for name, size in sizes.items():
                places[name] = self.cuda.call("cudaMalloc", size)
                stack.callback(self.cuda.call, "cudaFree", places[name])
                self._must(self._context.set_tensor_address(name, int(places[name])))
            for name, array in given.items():
                self.cuda.copy_in(places[name], array, self.stream)
            self.synchronize()
            yield {name: places[name] for name in self.output_names}

    def enqueue(self) -> None:
        """Put one run into the stream, on what `holding` holds, and do not wait for it.

        Raises:
            InputError: The library does not run it: quotes its message.
        """
        self._must(self._context.execute_async_v3(int(self.stream)))

    def synchronize(self) -> None:
        """Wait for what was put into the stream."""
        self.cuda.call("cudaStreamSynchronize", self.stream)

    def report_to(self, on_layer: Callable[[str, float], None]) -> None:
        """Have the library time each layer of every run from now on; no run is captured then.

        Args:
            on_layer: Called for each layer of each run, with its name and what it took, in ms.
        """
        self._profiler = profiler_of(self._library.module, on_layer)
        self._context.profiler = self._profiler

    def dtype_of(self, name: str) -> npt.DTypeLike:
        """Return the NumPy type of an input or output.

        Raises:
            InputError: NumPy has none such.
        """
        dtype = self._engine.get_tensor_dtype(name)
        try:
            numpy_type: npt.DTypeLike = self._library.module.nptype(dtype)
        except TypeError as error:  # NumPy has no bfloat16, and no 8-bit floats
            raise InputError(
                f"Tensor {name} of {self._path} is {str(dtype).rpartition('.')[2]}, which NumPy"
                " has not.",
                mend="Build an engine whose inputs and outputs are float32 or float16.",
            ) from error
        return numpy_type

    def _new_context(self) -> Any:
        """Make the context that runs the engine.

        For open shapes TensorRT-RTX compiles kernels beside the first runs, which take others in
        the meantime, that are slower and cannot be captured; here it compiles them beforehand.
        """
        strategies = getattr(
            self._library.module, "DynamicShapesKernelSpecializationStrategy", None
        )
        if strategies is None or not any(-1 in shape for shape in self.inputs.values()):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return self._engine.create_execution_context(config)

    def _set_shapes(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Choose the profile, and set the shapes of the inputs."""
        profile = self._profile_of(shapes)
        if profile is None:
            told = ", ".join(f"{name}:{written(shape)}" for name, shape in shapes.items())
            raise InputError(
                f"{self._path} takes no inputs of {told}: they lie in none of its profiles.",
                mend="Build it for them: --min-shapes, --opt-shapes and --max-shapes.",
            )
        if profile != self._context.active_optimization_profile:
            self._must(self._context.set_optimization_profile_async(profile, int(self.stream)))
            self.cuda.call("cudaStreamSynchronize", self.stream)
        for name, shape in shapes.items():
            self._must(self._context.set_input_shape(name, tuple(shape)))

    def _profile_of(self, shapes: Mapping[str, Sequence[int]]) -> int | None:
        if not all(fits(own, tuple(shapes[name])) for name, own in self.inputs.items()):
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

    def _must(self, is_done: bool) -> None:
        if not is_done:
            raise InputError(
                f"{self._library.title} does not run {self._path}: {reason(self._log)}"
            )
