"""Sessions of ONNX Runtime on the CPU, by preset, and inputs for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgeattn.base.errors import EdgeattnError, InputError, first_line
from edgeattn.base.memory import check_size
from edgeattn.graph.reading import as_read, facts_of, load
from edgeattn.graph.shapes import infer
from edgeattn.graph.whole import bounds_of
from edgeattn.options.shapes import whole_numbers
from edgeattn.records.parity import Optimisations
from edgeattn.runtimes.runner import feeds, run_session, session_options

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[Any]

#: What one run of a model with loops gets: one that is broken goes round until memory ends.
_LOOPS_S: Final = 10.0
_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def dtype_of(value: Any) -> str:
    """Return NumPy's name of the type of an input or output, ONNX Runtime's where it has none."""
    kind = _NUMPY_TYPES.get(value.type)
    return str(value.type) if kind is None else np.dtype(kind).name


_WIDE = ("tensor(int64)", "tensor(int32)")


def open_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Load a file on the CPU.

    Raises:
        InputError: If ONNX Runtime does not take the file.
    """
    import onnxruntime

    try:
        with as_read(path) as file:
            return onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
    except EdgeattnError:
        raise
    except Exception as error:
        reason = first_line(error).replace(f"Load model from {file} failed:", "")
        raise InputError(f"ONNX Runtime cannot load {path}: {reason}") from error


def limit_of(path: Path) -> float | None:
    """Return the seconds that one run of a file gets; None where it is sure to end."""
    return _LOOPS_S if facts_of(path).has_loops else None


class Session:
    """One ONNX Runtime session on the CPU.

    Args:
        path: The ONNX file.
        optimisations: ONNX Runtime's graph optimisations, off or on.
        integers: Whether these make integer kernels of quantised nodes.

    Raises:
        InputError: If ONNX Runtime does not take the file.
    """

    def __init__(
        self, path: Path, *, optimisations: Optimisations = "off", integers: bool = True
    ) -> None:
        self.path = path
        # An arena would keep what one run needed until the process ends.
        options = session_options(optimise=optimisations == "on", integers=integers, arena=False)
        self._session = open_session(path, options)
        self._limit_s = limit_of(path)
        self.inputs = self._session.get_inputs()
        self.output_names: list[str] = [value.name for value in self._session.get_outputs()]
        self.maps = facts_of(path).maps

    @property
    def has_open_batch(self) -> bool:
        """Whether the first dimension of every input is open."""
        return bool(self.inputs) and all(
            value.shape and not isinstance(value.shape[0], int) for value in self.inputs
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the model on one array per input, in the inputs' order."""
        feeds = taken(self, inputs)
        try:
            return run_session(self._session, feeds, limit_s=self._limit_s)
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot run the model: {first_line(error)}") from error


def _as_taken(value: Any, array: Array) -> Array:
    """Return data in the type that an input takes."""
    taken = array.astype(_NUMPY_TYPES.get(value.type, array.dtype), copy=False)
    if taken.dtype.kind in "biu" and not np.array_equal(taken, array):
        raise InputError(
            f"Input {value.name} takes {taken.dtype}, and its data holds other numbers.",
            mend="Give it data of that type.",
        )
    return taken


class TakesInputs(Protocol):
    """What says which inputs it takes, as ONNX Runtime does."""

    path: Path
    inputs: Sequence[Any]


def inputs_of(path: Path) -> TakesInputs:
    """Return which inputs a file takes, without a session.

    Raises:
        InputError: It cannot be read.
    """
    types = {np.dtype(kind).name: name for name, kind in _NUMPY_TYPES.items()}
    inputs = [
        SimpleNamespace(
            name=one.name, shape=one.shape, type=types.get(one.dtype, f"tensor({one.dtype})")
        )
        for one in facts_of(path).inputs
    ]
    return SimpleNamespace(path=path, inputs=inputs)


def taken(session: TakesInputs, inputs: Sequence[Array]) -> dict[str, Array]:
    """Return one array per input by the inputs' names, in the types that they take."""
    if len(inputs) != len(session.inputs):
        raise InputError(f"The model takes {len(session.inputs)} inputs, not {len(inputs)}.")
    return {
        value.name: _as_taken(value, array)
        for value, array in zip(session.inputs, inputs, strict=True)
    }


def to_draw(
    session: TakesInputs,
    *,
    batch: int | None,
    seed: int,
    shapes: Sequence[Sequence[int | str]] = (),
) -> dict[str, Any]:
    """Say which inputs are to be drawn for a session, as a runner takes it.

    Args:
        session: The session.
        batch: The size of an open first dimension; other open dimensions are refused.
        seed: Seed of the draw.
        shapes: One per input, in the place of its own.

    Raises:
        InputError: If a dimension other than the first is open.
    """
    draw = []
    shapes = shapes or [value.shape for value in session.inputs]
    bounds = _bounds(session, shapes)
    for value, wanted in zip(session.inputs, shapes, strict=True):
        shape = list(wanted)
        if shape and not isinstance(shape[0], int):
            shape[0] = batch or 1
        if not all(isinstance(size, int) for size in shape):
            raise InputError(
                f"Input {value.name} has open dimensions {value.shape}.",
                mend="Give real data with --input FILE.npy.",
            )
        kind = _NUMPY_TYPES.get(value.type)
        if kind is None:
            raise InputError(f"Input {value.name} has the type {value.type}, which has no numbers.")
        # Drawn in float64, whatever they become.
        check_size(8 * math.prod(map(int, shape)), f"Input {value.name} of shape {shape}")
        dtype = np.dtype(kind).name
        draw.append(
            {
                "name": value.name,
                "shape": [int(size) for size in shape],
                "dtype": dtype,
                "whole": whole_numbers(dtype),
                "bounds": bounds.get(value.name),
            }
        )
    return {"seed": seed, "draw": draw}


def random_inputs(
    session: TakesInputs,
    *,
    batch: int | None,
    seed: int,
    shapes: Sequence[Sequence[int | str]] = (),
) -> list[Array]:
    """Draw inputs that a session takes, in its inputs' order; see `to_draw`.

    Raises:
        InputError: If a dimension other than the first is open.
    """
    return list(feeds(to_draw(session, batch=batch, seed=seed, shapes=shapes)).values())


def _bounds(
    session: TakesInputs, shapes: Sequence[Sequence[int | str]]
) -> dict[str, tuple[int, int]]:
    """Return what whole numbers inputs may hold, where the file tells it."""
    if not any(value.type in _WIDE for value in session.inputs):
        return {}
    try:
        model = load(session.path)
        infer(model)
        told = bounds_of(model)
    except InputError:
        return {}  # ONNX Runtime takes more than is read here
    length = max((size for one in shapes for size in one[1:] if isinstance(size, int)), default=1)
    return {name: one or ((length + 1) // 2, length) for name, one in told.items()}
