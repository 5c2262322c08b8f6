"""Asks the driver for the NVIDIA GPUs of this machine; no CUDA library is needed."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import MissingError

_SUCCESS: Final = 0  # CUDA_SUCCESS
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        name: As the driver names it.
        compute_capability: Its major and minor number.
    """

    name: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The answer of the driver.

    Attributes:
        cuda: The newest CUDA that it serves, as major and minor number.
        gpus: The GPUs, in its order.
    """

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


def ask_driver() -> Driver:
    """Ask NVIDIA's driver for the GPUs.

    Raises:
        MissingError: There is no driver, or it does not start.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise MissingError(
            f"There is no NVIDIA driver: {library} does not load.", mend="Install NVIDIA's driver."
        ) from error
    status = cuda.cuInit(0)
    if status != _SUCCESS:
        raise MissingError(f"The CUDA driver does not start (error {status}).")
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = (number.value // 1000, number.value % 1000 // 10)
    cuda.cuDeviceGetCount(ctypes.byref(number))
    return Driver(cuda=version, gpus=tuple(_gpu(cuda, index) for index in range(number.value)))


def local_gpu() -> Gpu | None:
    """Return the first GPU of this machine, or None if there is none."""
    try:
        return next(iter(ask_driver().gpus), None)
    except MissingError:
        return None


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), index)
    major, minor = (_attribute(cuda, attribute, index) for attribute in (_MAJOR, _MINOR))
    return Gpu(name=name.value.decode(errors="replace"), compute_capability=(major, minor))


def _attribute(cuda: ctypes.CDLL, attribute: int, index: int) -> int:
    number = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, index)
    return number.value
