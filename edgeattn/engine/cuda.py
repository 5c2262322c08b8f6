"""The calls of CUDA's runtime to run and time an engine, through NVIDIA's own bindings."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeattn.base.errors import MissingError, first_line

Array = npt.NDArray[Any]


class Cuda:
    """CUDA's runtime.

    Raises:
        MissingError: The bindings are not installed, or there is no driver or GPU.
    """

    def __init__(self) -> None:
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
        """Call a function, and return its result without the status.

        Raises:
            MissingError: The function fails: says why.
        """
        status, *values = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            _, text = self._runtime.cudaGetErrorString(status)
            raise MissingError(f"CUDA's {name} fails: {text.decode()}.")
        return values[0] if values else None

    def copy_in(self, place: Any, array: Array, stream: Any) -> None:
        """Copy an array to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", place, array.ctypes.data, array.nbytes, kind, stream)

    def copy_out(self, array: Array, place: Any, stream: Any) -> None:
        """Copy from the GPU into an array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", array.ctypes.data, place, array.nbytes, kind, stream)

    def spin(self) -> None:
        """Make this process wait for the GPU without sleeping: waking up would delay it."""
        self.call("cudaSetDeviceFlags", self._runtime.cudaDeviceScheduleSpin)

    def bus_id(self) -> str:
        """Return the PCI bus id of the GPU, by which other libraries know it: `0000:01:00.0`."""
        number = self.call("cudaGetDevice")
        found: bytes = self.call("cudaDeviceGetPCIBusId", 64, number)
        return found.partition(b"\0")[0].decode()

    def capture(self, stream: Any, enqueue: Callable[[], None]) -> Any:
        """Capture the work that a function puts into a stream as a CUDA graph; nothing runs.

        Args:
            stream: The stream; a capture that began is always ended.
            enqueue: Puts the work into it.

        Returns:
            The graph: `cudaGraphLaunch` runs it, and `cudaGraphExecDestroy` frees it.

        Raises:
            MissingError: CUDA cannot capture it; or `enqueue` fails, with its own error.
        """
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            self._abandon(stream)
            raise
        try:
            graph = self.call("cudaStreamEndCapture", stream)
            try:
                return self.call("cudaGraphInstantiate", graph, 0)
            finally:
                self.call("cudaGraphDestroy", graph)
        except MissingError:
            self._runtime.cudaGetLastError()
            raise

    def _abandon(self, stream: Any) -> None:
        """End a capture that failed, and clear the error that it leaves behind."""
        with contextlib.suppress(MissingError):  # what broke the capture ends it as well
            graph = self.call("cudaStreamEndCapture", stream)
            self.call("cudaGraphDestroy", graph)
        self._runtime.cudaGetLastError()


def size_of(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Return the bytes to allocate for a tensor: CUDA gives no address for nothing."""
    return max(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, 1)
