"""Tensors as trtexec takes and gives them: raw files in, text out.

`--loadInputs` reads bytes in the type of the engine's input. `--exportOutput` writes

    [
      { "name" : "y"
      , "dimensions" : "1x1000"
      , "values" : [ 1.23457, -0.5, nan ]
      }
    ]

where floats have the six significant digits that C++ prints by default, NaN and infinity are no
JSON, names stand as they are, and uint8 comes as characters (before TensorRT 10 int8 too). Read
from its source (samples/common/sampleReporting.cpp and sampleUtils.cpp), of TensorRT 8.0 to 10.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Final

import numpy as np

from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible
from edgeattn.base.versions import numbers
from edgeattn.runtimes.onnxruntime import Array

#: What six digits leave out at most, as a share of the value, and the SQNR in dB of such an error.
DIGITS_REL: Final = 5e-6
DIGITS_DB: Final = -20 * math.log10(DIGITS_REL)
# The first version whose networks have int64; those before hold int32 in its place.
_INT64: Final = (10,)
_MOST_DIMENSIONS: Final = 8


def as_bytes(array: Array, tensorrt: str) -> bytes:
    """Return an input as trtexec reads it from a file.

    Args:
        array: In the type that the ONNX file takes.
        tensorrt: The version of TensorRT.

    Raises:
        InputError: It holds whole numbers that this version has no type for.
    """
    if array.dtype == np.int64 and numbers(tensorrt) < _INT64:
        narrow = array.astype(np.int32)
        if not np.array_equal(narrow, array):
            raise InputError(
                f"TensorRT {tensorrt} holds int64 as int32, and an input has larger numbers."
            )
        array = narrow
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def read_outputs(text: str, kinds: Mapping[str, str]) -> dict[str, Array]:
    """Read what `--exportOutput` wrote.

    Args:
        text: The file.
        kinds: NumPy's name of the type of each output that is wanted.

    Returns:
        The outputs, by name, in the order that is wanted: float32, int64 or bool.

    Raises:
        InputError: One is missing, is cut off, or holds no numbers.
    """
    return {name: _tensor(text, name, np.dtype(kind)) for name, kind in kinds.items()}


def _tensor(text: str, name: str, kind: np.dtype[np.generic]) -> Array:
    head = re.search(
        rf'"name"\s*:\s*"{re.escape(name)}"\s*,\s*"dimensions"\s*:\s*"([^"\n]*)"\s*,'
        r'\s*"values"\s*:\s*\[',
        text,
    )
    end = -1 if head is None else text.find("]", head.end())
    shown = legible(name)
    if head is None or end < 0:
        raise InputError(
            f"The outputs that trtexec wrote end before {shown}, or have none of that name.",
            mend="The file may be cut off: is there space on the device?",
        )
    shape = tuple(map(int, re.findall(r"\d{1,9}", head[1])))[:_MOST_DIMENSIONS]
    values = _numbers(text[head.end() : end], kind)
    if values is None or values.size != math.prod(shape):
        fact = f"The values of output {shown} that trtexec wrote cannot be read"
        if kind.itemsize == 1 and kind.kind in "iu":
            raise InputError(
                f"{fact}: it writes {kind} as characters.",
                mend="Compare an engine whose outputs are float32 or int32.",
            )
        count = "no numbers" if values is None else f"{values.size:,} values"
        raise InputError(f"{fact}: its shape is {legible(head[1])}, and there are {count}.")
    return values.reshape(shape)


def _numbers(text: str, kind: np.dtype[np.generic]) -> Array | None:
    """Return the numbers of a list; None if something else stands there."""
    if not text.strip():
        return np.empty(0, kind)
    is_whole = kind.kind in "iub"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # how NumPy says that it did not read all
        try:
            found: Array = np.fromstring(text, np.int64 if is_whole else np.float64, sep=",")
        except (ValueError, DeprecationWarning):
            return None
    with np.errstate(over="ignore"):
        return found.astype(bool if kind.kind == "b" else np.int64 if is_whole else np.float32)
