"""Sessions of ONNX Runtime on the CPU, by preset, and inputs for them."""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgeattn.base.errors import EdgeattnError, InputError, first_line
from edgeattn.base.memory import check_size
from edgeattn.graph.reading import as_read, facts_of, load
from edgeattn.graph.shapes import infer
from edgeattn.graph.whole import bounds_of
from edgeattn.records.parity import Optimisations
from edgeattn.runtimes.inputs import drawn

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[Any]
Preset = Literal["parity", "timed", "profiled"]

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


def session_options(
    preset: Preset,
    *,
    optimisations: Optimisations = "on",
    integers: bool = True,
    threads: int = 0,
    folder: Path | None = None,
) -> onnxruntime.SessionOptions:
    """Return how a session is set up: by default, but its threads do not spin between runs.

    Threads that spin disturb torch and the next session.

    Args:
        preset: `parity` keeps no memory from run to run; `timed` runs as a user's session does;
            `profiled` is timed, and writes what was seen of each node, and the optimised graph.
        optimisations: ONNX Runtime's graph optimisations, off or on.
        integers: Whether these make integer kernels of quantised nodes.
        threads: Threads of a timed session.
        folder: Where `profiled` writes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what is wrong is raised too
    if preset == "parity":
        # An arena keeps what one run needed until the process ends.
        options.enable_cpu_mem_arena = False
        if not integers:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if optimisations == "off":
            levels = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = levels.ORT_DISABLE_ALL
        return options
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if preset == "profiled":
        assert folder is not None
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "events")
        options.optimized_model_filepath = str(folder / "optimised.onnx")
        # Weights go to a file beside it, which nobody opens.
        key = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{key}file_name", "optimised.weights")
        options.add_session_config_entry(f"{key}min_size_in_bytes", "1024")
    return options


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


def run_session(
    session: onnxruntime.InferenceSession, feeds: Mapping[str, Array], *, limit_s: float | None
) -> list[Array]:
    """Run a session once, and end it after some seconds, if that is asked.

    Raises:
        RuntimeError: It did not end by then.
    """
    if limit_s is None:
        return list(session.run(None, feeds))

    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = threading.Timer(limit_s, setattr, (options, "terminate", True))
    timer.start()
    try:
        return list(session.run(None, feeds, options))
    except Exception as error:
        if not options.terminate:
            raise
        raise RuntimeError(f"its loops do not end within {limit_s:g} s") from error
    finally:
        timer.cancel()


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
        options = session_options("parity", optimisations=optimisations, integers=integers)
        self._session = open_session(path, options)
        self._limit_s = limit_of(path)
        self.inputs = self._session.get_inputs()
        self.output_names: list[str] = [value.name for value in self._session.get_outputs()]

    @property
    def has_open_batch(self) -> bool:
        """Whether the first dimension of every input is open."""
        return bool(self.inputs) and all(
            value.shape and not isinstance(value.shape[0], int) for value in self.inputs
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the model on one array per input, in the inputs' order."""
        if len(inputs) != len(self.inputs):
            raise InputError(f"The model takes {len(self.inputs)} inputs, not {len(inputs)}.")
        feeds = {
            value.name: _as_taken(value, array)
            for value, array in zip(self.inputs, inputs, strict=True)
        }
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


def give_memory_back() -> None:
    """Return to the system what ended sessions have freed; glibc would keep it for the next."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class TakesInputs(Protocol):
    """What says which inputs it takes, as ONNX Runtime does."""

    path: Path
    inputs: Sequence[Any]


def random_inputs(
    session: TakesInputs,
    *,
    batch: int | None,
    seed: int,
    shapes: Sequence[Sequence[int | str]] = (),
) -> list[Array]:
    """Draw inputs that a session takes, as `inputs.drawn` does.

    Args:
        session: The session.
        batch: The size of an open first dimension; other open dimensions are refused.
        seed: Seed of the draw.
        shapes: One per input, in the place of its own.

    Raises:
        InputError: If a dimension other than the first is open.
    """
    generator = np.random.default_rng(seed)
    arrays: list[Array] = []
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
        sizes = [int(size) for size in shape]
        arrays.append(drawn(generator, sizes, kind, bounds.get(value.name)))
    return arrays


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
