"""Runs ONNX files in ONNX Runtime or OpenVINO, and measures them: here, or on another machine.

One file, which is copied to another machine and run by the Python that is there, with its numpy and
its onnxruntime or openvino: `python3 runner.py`. So it imports nothing of this package, and is
written in what Python 3.6 takes. Jobs come on stdin, each a JSON object a line, with its `task`;
what comes of one is printed as base.worker has it.

Sessions' threads do not spin: those of two models would disturb each other. Each model has a
process of its own, as where it is deployed, and a new one for each window: one session is faster
than another of the same model by some per cent, as its memory happens to lie.
"""

import base64
import contextlib
import ctypes
import hashlib
import importlib
import itertools
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

_LARGE_BYTES = 128 << 20
# More than a core has for itself, and less than it has of the last cache, mostly.
_SMALL_BYTES = 1 << 20
_CACHES = "sys/devices/system/cpu/cpu0/cache"
_UNITS = {"K": 1, "M": 1024, "G": 1024 * 1024}
_COPIES = 6
# A CPU's model is under one of these, by architecture and kernel.
_NAMES = ("model name", "Hardware", "Model")
# Of more than four models, not all orders are gone through.
_ALL_ORDERS = 4
_KERNEL = "_kernel_time"
#: The file of an optimised graph.
OPTIMISED = "optimised.onnx"
#: The file of the weights of all cases of a calibration.
WEIGHTS = "weights.bin"
# Channels of a block are 8 with AVX2, and 16 with wider vectors and on ARM.
_LEAST_BLOCK, _WIDE_BLOCK = 8, 16
# Fields of a tensor that hold data, and what is kept: shapes are read from it.
_DATA = (4, 5, 6, 7, 9, 10, 11)
_SMALL_WEIGHT_BYTES = 1024
_MISSING = (
    "{} has no {}.",
    "Install it there, as whoever keeps that Python does: {} -m pip install {}",
)

_MORE_MEMORY = "There is not memory enough: give a smaller batch, or smaller shapes."
_ELSEWHERE = "Run it in ONNX Runtime: --runtime onnxruntime"
_UNTAKEN = re.compile(
    "-- (?:No conversion rule found for operations|Conversion is failed for): (.+)"
)
# How lines of OpenVINO's errors begin that say where something was found.
_PLACES = (
    "Exception from ", "Check '", "Loading input model", "FrontEnd API failed", "Model wasn't",
    "Summary:", "While validating", "Details:", "Not Implemented:", "-- ",
)  # fmt: skip

# Has a process end when its parent is killed; elsewhere, all of them are killed together.
_END = "--end-with-parent"

# What ONNX Runtime logs when its arena grows.
_GREW = re.compile(r"Extended allocation by (\d+) bytes")
# How often a model is run to see what it takes of memory: its arena grows in the first two.
_SETTLED_RUNS = 3

_answers = []  # type: List[Any]  # where answers are printed


class Fault(Exception):  # noqa: N818  # it is said as an error, and is none of Python's
    """What is wrong with what was asked, or what is missing: what a user can mend."""

    def __init__(self, fact: str, mend: str = "", kind: str = "error") -> None:
        super().__init__(fact)
        self.fact, self.mend, self.kind = fact, mend, kind


# What the machine is.


def cpu_name() -> str:
    """Return what the processor calls itself."""
    said = {}  # type: Dict[str, str]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    named = next((said[name] for name in _NAMES if said.get(name)), "")
    return named or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS, nor on Windows
        return os.cpu_count() or 1


def last_cache_kib(root: str = "/") -> Optional[int]:
    """Return the size of the processor's last cache, as Linux tells it; None elsewhere."""
    found = {}  # type: Dict[int, int]
    folder = os.path.join(root, _CACHES)
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        try:
            with open(os.path.join(folder, name, "level"), encoding="ascii") as file:
                level = int(file.read())
            with open(os.path.join(folder, name, "size"), encoding="ascii") as file:
                size = re.fullmatch(r"(\d+)([KMG])", file.read().strip())
        except (OSError, ValueError):
            continue
        if size:
            found[level] = int(size.group(1)) * _UNITS[size.group(2)]
    return found[max(found)] if found else None


def memory_bandwidth_gbps(threads: int) -> float:
    """Measure what the memory gives when all threads copy arrays larger than any last cache."""
    # A quarter at most of what is free: small boards have little.
    most = _free_bytes() // (8 * threads)
    return _copied_gbps(max(_SMALL_BYTES, min(_LARGE_BYTES, most)), threads, times=1)


def cache_bandwidth_gbps(threads: int) -> float:
    """Measure what the last cache gives when all threads copy arrays larger than their own."""
    return _copied_gbps(_SMALL_BYTES, threads, times=_LARGE_BYTES // _SMALL_BYTES // 4)


def _free_bytes() -> int:
    with contextlib.suppress(OSError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return 1 << 40


def _copied_gbps(array_bytes: int, threads: int, times: int) -> float:
    """Return bytes read and written when all threads copy, in GB/s.

    The best of several copies counts: it is a bound that a floor is taken from. What a write reads
    beforehand is not counted.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    arrays = [
        (np.zeros(array_bytes, np.uint8), np.ones(array_bytes, np.uint8)) for _ in range(threads)
    ]

    def copy(pair: Tuple[Any, Any]) -> None:
        for _ in range(times):
            np.copyto(*pair)

    best_s = math.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_COPIES):
            began = time.perf_counter()
            list(pool.map(copy, arrays))
            best_s = min(best_s, time.perf_counter() - began)
    return 2 * array_bytes * times * threads / best_s / 1e9


def machine(threads: int) -> Dict[str, Any]:
    """Return how fast this machine copies, on so many threads, and how large its last cache is."""
    kib = last_cache_kib()
    return {
        "threads": threads,
        "bandwidth_gbps": memory_bandwidth_gbps(threads),
        "cache_gbps": cache_bandwidth_gbps(threads),
        "cache_bytes": None if kib is None else 1024 * kib,
    }


def uptime_s() -> float:
    """Return the seconds since the system started."""
    with contextlib.suppress(OSError, AttributeError):
        return time.clock_gettime(7)  # CLOCK_BOOTTIME, which Python 3.6 does not name
    with contextlib.suppress(OSError), open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])
    return time.monotonic()


# Sessions.


def session_options(
    threads: int = 0,
    folder: str = "",
    optimise: bool = True,
    integers: bool = True,
    arena: bool = True,
) -> Any:
    """Return how a session is set up: by default, but its threads do not spin between runs.

    Args:
        threads: Its threads; 0 leaves them to ONNX Runtime.
        folder: Where it writes what was seen of each node, and the optimised graph; "" for not.
        optimise: Whether the graph is optimised.
        integers: Whether optimisations make integer kernels of quantised nodes.
        arena: Whether memory is kept from run to run, until the process ends.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what is wrong is raised too
    options.enable_cpu_mem_arena = arena
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if threads:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    if folder:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "events")
        options.optimized_model_filepath = os.path.join(folder, OPTIMISED)
        # Weights go to a file beside it, which nobody opens.
        key = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(key + "file_name", "optimised.weights")
        options.add_session_config_entry(key + "min_size_in_bytes", "1024")
    return options


def run_session(
    session: Any,
    feeds: Dict[str, Any],
    limit_s: Optional[float],
    names: Optional[Sequence[str]] = None,
) -> List[Any]:
    """Run a session once, and end it after some seconds, if that is asked.

    Args:
        session: The session.
        feeds: Its inputs, by name.
        limit_s: After which it is ended; None for never.
        names: The outputs that are wanted; None for all.

    Raises:
        RuntimeError: It did not end by then.
    """
    if limit_s is None:
        return list(session.run(names, feeds))

    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = threading.Timer(limit_s, setattr, (options, "terminate", True))
    timer.start()
    try:
        return list(session.run(names, feeds, options))
    except Exception as error:
        if not options.terminate:
            raise
        raise RuntimeError(f"its loops do not end within {limit_s:g} s") from error
    finally:
        timer.cancel()


def drawn(
    generator: Any,
    shape: Sequence[int],
    dtype: Any,
    whole: Tuple[int, int],
    bounds: Optional[Sequence[int]] = None,
) -> Any:
    """Draw an input: normal for floats; whole numbers in bounds, or between the two of `whole`."""
    import numpy as np

    kind = np.dtype(dtype)
    if bounds is not None and kind.kind != "f":
        return np.asarray(generator.integers(*bounds, shape, endpoint=True), kind)
    numbers = generator.standard_normal(shape)
    if kind.kind != "f":
        low, high = whole
        numbers = np.rint((low + high) / 2 + numbers * (high - low) / 4).clip(low, high)
    return np.asarray(numbers, kind)


def from_pixels(
    images: Any,
    factor: Optional[Sequence[float]],
    shift: Optional[Sequence[float]],
    dtype: str,
    is_last: bool,
) -> Any:
    """Return what a model takes of images: their values times a factor, less a shift.

    Args:
        images: [N, H, W, C], of 8 bits.
        factor: Of each channel; None to leave the values as they are.
        shift: Likewise.
        dtype: NumPy's name of the type that the model takes.
        is_last: Whether channels come last; else behind the first dimension.
    """
    import numpy as np

    ordered = images if is_last else images.transpose(0, 3, 1, 2)
    if factor is None or shift is None:
        return np.ascontiguousarray(ordered, np.dtype(dtype))
    made = np.empty(ordered.shape, np.float32)
    axes = (-1,) if is_last else (-1, 1, 1)
    by, less = (np.array(one, np.float32).reshape(axes) for one in (factor, shift))
    for place, image in enumerate(ordered):  # one by one, which stays in the cache
        made[place] = image
        made[place] *= by
        made[place] -= less
    return made.astype(dtype, copy=False)


def ranked(scores: Any, labels: Any) -> List[List[int]]:
    """Return of each image which class is largest, and how many come before its label's.

    Of equal ones the first is the larger; where one is no number, or is infinite, both are -1.

    Args:
        scores: [N, classes], or the same with sizes of 1 behind.
        labels: [N].
    """
    import numpy as np

    scores = np.asarray(scores)
    scores = scores.reshape(scores.shape[:2])
    rows, places = np.arange(len(scores)), np.arange(scores.shape[1])
    own = scores[rows, labels][:, None]
    before = (scores > own) | ((scores == own) & (places < np.asarray(labels)[:, None]))
    found = np.stack([scores.argmax(1), before.sum(1)], 1)
    if scores.dtype.kind == "f":
        found[(np.isnan(scores) | np.isposinf(scores)).any(1)] = -1
    return [[int(one) for one in pair] for pair in found]


def rank_images(
    run: Callable[[Any], Any], images: Any, labels: Any, batch: int, numbers: Dict[str, Any]
) -> List[List[int]]:
    """Run a classifier on images, in batches that the last of them are repeated to fill.

    Args:
        run: Returns the scores of a batch.
        images: As `from_pixels` has them, and `numbers`, the rest of its arguments.
        labels: The label of each.
        batch: Images of a run.
        numbers: See `images`.

    Returns:
        What `ranked` says of each.
    """
    import numpy as np

    found = []  # type: List[List[int]]
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        scores = run(from_pixels(np.resize(part, (batch, *part.shape[1:])), **numbers))
        found += ranked(scores[: len(part)], labels[start : start + batch])
    return found


def digest(arrays: Sequence[Any]) -> str:
    """Return the hash of arrays' numbers."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


class _Timed:
    """A model that is loaded, and run again and again.

    Args:
        model: Of the job: `path`; `name`, for errors; `inputs`, as `feeds` reads them; and
            `limit_s` that one run gets, None for what it takes.
    """

    def __init__(self, model: Dict[str, Any]) -> None:
        self._name, self._limit_s = model["name"], model["limit_s"]
        self._inputs = feeds(model["inputs"])
        self.runs = 0
        self.precision = ""  # of arithmetic, where it is told

    def run(self, feeds: Optional[Dict[str, Any]] = None) -> List[Any]:
        """Run the model, on its own inputs if others are not given."""
        raise NotImplementedError

    def run_ms(self) -> float:
        """Run it, and return what that took."""
        began = time.perf_counter()
        self.run()
        return 1e3 * (time.perf_counter() - began)


class Session(_Timed):
    """A session of ONNX Runtime that times a model.

    Args:
        model: As `_Timed` has it.
        options: How it is set up.
    """

    def __init__(self, model: Dict[str, Any], options: Any) -> None:
        import onnxruntime

        path = model["path"]
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = _first_line(error).replace(f"Load model from {path} failed:", "")
            fact = f"ONNX Runtime cannot load {model['name']}: {reason}"
            raise Fault(fact, _MORE_MEMORY if _is_of_memory(error) else "") from error
        super().__init__(model)

    def run(self, feeds: Optional[Dict[str, Any]] = None) -> List[Any]:
        """Run the model, on its own inputs if others are not given."""
        self.runs += 1
        try:
            return run_session(self._session, feeds or self._inputs, self._limit_s)
        except Exception as error:
            fact = f"ONNX Runtime fails while it runs {self._name}: {_first_line(error)}"
            raise Fault(fact, _MORE_MEMORY if _is_of_memory(error) else "") from error

    def end_profiling(self) -> str:
        """End the profiler, and return the file that it wrote."""
        return str(self._session.end_profiling())


class Compiled(_Timed):
    """A model that OpenVINO has compiled for the shapes of its inputs.

    Args:
        model: As `_Timed` has it; `device`, as OpenVINO calls it; and `precision`, what it is to
            compute in where the device can: OpenVINO takes less than float32 by itself on some.
        threads: Its threads, on a CPU; 0 leaves them to OpenVINO.
        counted: Whether what each node takes is measured.
    """

    def __init__(self, model: Dict[str, Any], threads: int, counted: bool = False) -> None:
        super().__init__(model)
        self._core = load_openvino().Core()
        self._device = openvino_device(self._core, model.get("device", "CPU"))
        self._how = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": counted}  # type: Dict[str, Any]
        if threads and self._device == "CPU":
            self._how["INFERENCE_NUM_THREADS"] = threads
        hint = _precision_hint(self._core, self._device, model.get("precision", "f32"))
        if hint:
            self._how["INFERENCE_PRECISION_HINT"] = hint
        try:
            self._path = model["path"]
            self._model = self._core.read_model(self._path)
            self._compile(self._inputs)
        except Exception as error:
            fact = f"OpenVINO cannot load {self._name}: {_said(error)}"
            raise Fault(fact, _MORE_MEMORY if _is_of_memory(error) else _ELSEWHERE) from error

    def _compile(self, feeds: Dict[str, Any]) -> None:
        self._shapes = {name: array.shape for name, array in feeds.items()}
        if any(one.get_partial_shape().is_dynamic for one in self._model.inputs):
            # By place: OpenVINO drops what does nothing, and names of inputs with it.
            self._model.reshape({k: list(one) for k, one in enumerate(self._shapes.values())})
        self.compiled = self._core.compile_model(self._model, self._device, self._how)
        if "INFERENCE_PRECISION_HINT" in self._how:
            self.precision = self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.request = self.compiled.create_infer_request()

    def run(self, feeds: Optional[Dict[str, Any]] = None) -> List[Any]:
        """Run the model, on its own inputs if others are not given."""
        self.runs += 1
        try:
            return self._run(feeds or self._inputs)
        except Exception as error:
            fact = f"OpenVINO fails while it runs {self._name}: {_said(error)}"
            raise Fault(fact, _MORE_MEMORY if _is_of_memory(error) else _ELSEWHERE) from error

    def _run(self, feeds: Dict[str, Any]) -> List[Any]:
        if feeds is not self._inputs and self._shapes != {k: v.shape for k, v in feeds.items()}:
            self._model = self._core.read_model(self._path)
            self._compile(feeds)
        arrays = list(feeds.values())
        if self._limit_s is None:
            self.request.infer(arrays, share_inputs=True)
        else:
            self.request.start_async(arrays, share_inputs=True)
            if not self.request.wait_for(int(1e3 * self._limit_s)):
                self.request.cancel()
                raise RuntimeError(f"its loops do not end within {self._limit_s:g} s")
        return [self.request.get_tensor(one).data for one in self.compiled.outputs]

    def counted(self) -> Dict[str, Tuple[str, float]]:
        """Return what each node that ran is, and took in the last run, in µs."""
        found = {}  # type: Dict[str, Tuple[str, float]]
        for one in self.request.profiling_info:
            if one.status.name == "EXECUTED":
                _, before_us = found.get(one.node_name, ("", 0.0))
                took_us = one.real_time.total_seconds() * 1e6
                found[one.node_name] = (one.node_type, before_us + took_us)
        return found

    def executed(self, seen: Sequence[Dict[str, Tuple[str, float]]]) -> Dict[str, Any]:
        """Return the graph that is executed.

        Args:
            seen: What `counted` told of each of several runs.

        Returns:
            `nodes`, each with its name, operator, what was fused into it, what it reads and writes,
            precision and median time, None of what did not run; the `device`; the `precision` of
            arithmetic; and the `precisions` that the device has.
        """
        nodes = []
        for op in self.compiled.get_runtime_model().get_ordered_ops():
            said = {
                key: str(value.get() if hasattr(value, "get") else value)
                for key, value in op.rt_info.items()
            }
            name = op.get_friendly_name()
            own = [one[name] for one in seen if name in one]
            layouts = itertools.cycle(said.get("outputLayouts", "").split(","))
            nodes.append(
                {
                    "name": name,
                    "op": own[-1][0] if own else said.get("layerType") or op.get_type_name(),
                    "layers": said.get("originalLayersNames", ""),
                    "reads": [
                        [one.get_node().get_friendly_name(), one.get_index()]
                        for one in op.input_values()
                    ],
                    "writes": [
                        {"size_bytes": _size_bytes(one), "layout": layout}
                        for one, layout in zip(op.outputs(), layouts)
                    ],
                    "precision": said.get("runtimePrecision", ""),
                    "time_us": statistics.median(us for _, us in own) if own else None,
                }
            )
        return {
            "nodes": nodes,
            "device": self._device,
            "precision": self.precision,
            "precisions": list(self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")),
        }


def _size_bytes(output: Any) -> Optional[int]:
    """Return the bytes of what an operator of OpenVINO writes; None if its shape is open."""
    if output.get_partial_shape().is_dynamic:
        return None
    size = output.get_element_type().size
    for dimension in output.get_shape():
        size *= dimension
    return int(size)


def load_openvino() -> Any:
    """Return OpenVINO's module; without what counts its users, and writes to their home folder."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as of no module
    import openvino

    return openvino


def openvino_device(core: Any, asked: str) -> str:
    """Return the device that is asked, as OpenVINO calls it: GPU stands for GPU.0 too."""
    name, there = asked.upper(), list(core.available_devices)
    if name in there or name in {one.split(".")[0] for one in there}:
        return name
    raise Fault(
        f"OpenVINO has no device {asked} here; it has {', '.join(there) or 'none'}.",
        "Name one of those, or leave it out for CPU.",
        "missing",
    )


def check_openvino(device: str, precision: str) -> Dict[str, Any]:
    """Refuse a device of OpenVINO's that is not here, or what it does not compute in."""
    core = load_openvino().Core()
    _precision_hint(core, openvino_device(core, device), precision)
    return {}


def _precision_hint(core: Any, device: str, precision: str) -> str:
    """Return a precision as a hint; "" where a device that has no float32 is left to its own."""
    has = list(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
    if {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}.get(precision) in has:
        return precision
    if precision == "f32":
        return ""
    name = cpu_name() if device == "CPU" else device
    raise Fault(
        f"OpenVINO does not compute in {precision} on {name}; it has {', '.join(sorted(has))}.",
        "Leave that precision out.",
    )


def _said(error: BaseException) -> str:
    """Return what of OpenVINO's errors says what is wrong, not where it was found, in a line."""
    lines = [one.strip() for one in str(error).splitlines() if one.strip()]
    found = [_UNTAKEN.match(one) for one in lines]
    untaken = sorted({name for one in found if one for name in one.group(1).split(", ")})
    told = [one for one in lines if not one.startswith(_PLACES)]
    if not untaken:
        return (told or lines or [type(error).__name__])[0]
    # What it makes of an operator for itself, as util::SequenceMark, is no name of the file's.
    untaken = [name for name in untaken if "::" not in name] or untaken
    node = re.search(r"<Node\(\w+\): (.+)>'", str(error))
    reasons = [one + (f" ({node.group(1)})" if node else "") for one in told[-1:]]
    return ": ".join(["it does not take " + ", ".join(untaken), *reasons])


def opened(model: Dict[str, Any], threads: int, **how: Any) -> _Timed:
    """Load a model by what is to run it: `runtime`, which is ONNX Runtime where it is not said."""
    if model.get("runtime") == "openvino":
        return Compiled(model, threads)
    return Session(model, session_options(threads, **how))


def feeds(asked: Dict[str, Any]) -> Dict[str, Any]:
    """Return inputs: as they are (`arrays`), read (`files`), or drawn (`seed`, `draw`), by name."""
    import numpy as np

    if "arrays" in asked:
        return dict(asked["arrays"])
    if "files" in asked:
        return {name: np.load(path, allow_pickle=False) for name, path in asked["files"].items()}
    generator = np.random.default_rng(asked["seed"])
    return {
        one["name"]: drawn(generator, one["shape"], one["dtype"], one["whole"], one["bounds"])
        for one in asked["draw"]
    }


def draws(inputs: Dict[str, Any]) -> Dict[str, Any]:
    """Return the hash of what is drawn for inputs; "" where this numpy is too old to draw it."""
    import numpy as np

    if not hasattr(np.random, "default_rng"):  # it came with 1.17
        return {"sha256": ""}
    return {"sha256": digest(list(feeds(inputs).values()))}


def _is_of_memory(error: BaseException) -> bool:
    """Return whether a library says that there is not memory enough."""
    said = str(error)
    return isinstance(error, MemoryError) or "bad_alloc" in said or "allocate memory" in said


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


# Memory.


def memory(model: Dict[str, Any], threads: int) -> Dict[str, Optional[int]]:
    """Load a model, and run it, in a process that has loaded none.

    What the runtime itself takes, and the inputs, do not count.

    Args:
        model: As `opened` takes it.
        threads: Its threads.

    Returns:
        `resident_bytes`, by how much the process has grown; `peak_bytes`, by how much it had at
        most; None where nothing tells it; and `arena_bytes`, by how much ONNX Runtime's arena has.
    """
    is_openvino = model.get("runtime") == "openvino"
    if is_openvino:
        check_openvino(model.get("device", "CPU"), model.get("precision", "f32"))
    else:
        import onnxruntime  # noqa: F401
    model = dict(model, inputs={"arrays": feeds(model["inputs"])})
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the most from now on
    before = _process_bytes("VmRSS")
    grown = []  # type: List[Optional[int]]

    def run() -> None:
        session = opened(model, threads)
        repeat(session.run, _SETTLED_RUNS, 0.0)
        for what in ("VmRSS", "VmHWM"):
            now = _process_bytes(what)
            grown.append(None if now is None or before is None else max(0, now - before))

    arena = None
    if is_openvino:
        run()
    else:
        arena = _arena_bytes(run)
    return {"arena_bytes": arena, "resident_bytes": grown[0], "peak_bytes": grown[1]}


def _process_bytes(what: str) -> Optional[int]:
    """Return what this process has in memory (VmRSS), or had at most (VmHWM); None off Linux."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(what + ":"):
                return 1024 * int(line.split()[1])
    return None


def _arena_bytes(run: Callable[[], None]) -> Optional[int]:
    """Return by how much ONNX Runtime's arena grows meanwhile; None if its log does not tell."""
    import onnxruntime

    with tempfile.TemporaryFile() as log:
        own = os.dup(2)
        os.dup2(log.fileno(), 2)
        onnxruntime.set_default_logger_severity(1)
        try:
            run()
        finally:
            onnxruntime.set_default_logger_severity(2)
            os.dup2(own, 2)
            os.close(own)
        log.seek(0)
        said = log.read().decode(errors="replace")
    return sum(map(int, _GREW.findall(said))) if "BFCArena" in said else None


# Rounds of runs.


def repeat(
    run: Callable[[], Any], fewest: int, seconds: float, most: float = math.inf
) -> List[Any]:
    """Call again and again.

    Args:
        run: What is called.
        fewest: How often at least.
        seconds: How long, unless that is less than the fewest or more than the most calls.
        most: How often at most.

    Returns:
        What each call returned.
    """
    found = []  # type: List[Any]
    end = time.perf_counter() + seconds
    while len(found) < fewest or (len(found) < most and time.perf_counter() < end):
        found.append(run())
    return found


def orders(models: int) -> Iterator[Tuple[int, ...]]:
    """Return the orders in which models are run, round by round, without end."""
    if models <= _ALL_ORDERS:
        return itertools.cycle(itertools.permutations(range(models)))
    rotated = [tuple((start + k) % models for k in range(models)) for start in range(models)]
    # Forwards and backwards, so that each model comes before and behind each of its neighbours.
    return itertools.cycle([order for one in rotated for order in (one, one[::-1])])


def window(
    runs: Sequence[Callable[[], float]],
    order: Iterator[Tuple[int, ...]],
    fewest: int,
    most: int,
    seconds: float,
) -> List[List[float]]:
    """Run models by turns.

    Args:
        runs: Runs each once and returns what that took, in ms.
        order: The orders of rounds.
        fewest: The fewest rounds.
        most: The most.
        seconds: After which it ends in between.

    Returns:
        What each took, round by round.
    """
    end = time.perf_counter() + seconds
    rows = []  # type: List[List[float]]
    for places in itertools.islice(order, most):
        row = [0.0] * len(runs)
        for place in places:
            row[place] = runs[place]()
        rows.append(row)
        if len(rows) >= fewest and time.perf_counter() >= end:
            break
    return rows


class _Child:
    """A runner that this one has started, and that ends with it.

    Where it times a model, a run that is not timed goes before each, since the caches hold another
    model's weights.
    """

    def __init__(self, does: str) -> None:
        self._does = does
        command = [sys.executable, os.path.abspath(__file__)]
        if __package__:
            command.append(_END)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )

    def __call__(self) -> float:
        return float(self.ask({"task": "turn"})["ms"])

    def ask(self, job: Dict[str, Any]) -> Dict[str, Any]:
        """Have it do a job."""
        self.tell(job)
        return self.answer()

    def tell(self, job: Dict[str, Any]) -> None:
        """Give it a job, and do not wait for what comes of it."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()

    def answer(self) -> Dict[str, Any]:
        """Return what came of the job that it was given."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            kind, said = next(iter(json.loads(line).items()))
            if kind == "result":
                return dict(said)
            raise Fault(said["fact"], said["mend"], kind)
        code = self.process.wait()
        by = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed: code {code}"
        hint = "Is there memory enough?" if code == -9 else ""
        raise Fault(f"The process that {self._does} {by}.", hint)

    def close(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()


class Bench:
    """The models that are timed, one or several, and the other jobs."""

    def __init__(self) -> None:
        self._job = {}  # type: Dict[str, Any]
        self._alone = None  # type: Optional[_Timed]
        self._children = []  # type: List[_Child]
        self._apart = {}  # type: Dict[str, _Child]
        self._cases = []  # type: List[_Case]
        self._orders = orders(1)

    def do(self, job: Dict[str, Any]) -> Dict[str, Any]:
        """Do a job: `task` says which, and the rest are its arguments.

        Where `apart` names a process, that one does it, until its task is `end`.
        """
        apart, task = job.pop("apart", None), job["task"]
        if apart is not None:
            if task == "end":
                self._apart.pop(apart).close()
                return {}
            if apart not in self._apart:
                self._apart[apart] = _Child(apart)
            return self._apart[apart].ask(job)
        del job["task"]
        tasks = {
            "about": about,
            "check_openvino": check_openvino,
            "machine": machine,
            "time": self.open,
            "window": self.window,
            "turn": self.turn,
            "rank": self.rank,
            "profile": profile,
            "outputs": outputs,
            "draws": draws,
            "cases": self.open_cases,
            "round": self.run_cases,
            "seen": self.close_cases,
            "make_folder": make_folder,
            "join": join,
        }  # type: Dict[str, Callable[..., Dict[str, Any]]]
        return tasks[task](**job)

    def open(
        self, models: List[Dict[str, Any]], threads: int, warm_up: Tuple[int, float]
    ) -> Dict[str, Any]:
        """Load the models that are to be timed, and run each before anything is timed.

        Args:
            models: As `opened` takes them.
            threads: Threads of each.
            warm_up: How often, and for how many seconds, each is run at least.
        """
        self._job = {"task": "time", "threads": threads, "warm_up": warm_up, "models": models}
        self._orders = orders(len(models))
        if len(models) == 1:
            self._alone = opened(models[0], threads)
            fewest, seconds = warm_up
            return {"ms": [repeat(self._alone.run_ms, fewest, seconds)[-1]]}
        self._renew()
        return {"ms": [child() for child in self._children]}

    def _renew(self) -> None:
        """Start a process for each model, in place of those that there are; they load together."""
        self._alone = None
        for child in self._children:
            child.close()
        models = self._job["models"]
        self._children = [_Child(f"ran {model['name']}") for model in models]
        for child, model in zip(self._children, models):
            child.tell(dict(self._job, models=[model]))
        for child in self._children:
            child.answer()

    def window(
        self,
        fewest: int,
        most: int,
        seconds: float,
        only: Optional[int] = None,
        renew: bool = False,
    ) -> Dict[str, Any]:
        """Run the models by turns, or one only; in new processes, if that is asked.

        Returns:
            `rows`, as `window` gives them, but for one model only; `span`, when in seconds of the
            system's uptime; and `runs`, how often each model was run meanwhile.
        """
        if renew:
            self._renew()
        if len(self._children) == 1:  # nothing is to go before its runs, as beside others
            job = {"task": "window", "fewest": fewest, "most": most, "seconds": seconds}
            return self._children[0].ask(job)
        runs = list(self._children)  # type: List[Callable[[], float]]
        if self._alone is not None:
            runs = [self._alone.run_ms]
        order = self._orders
        if only is not None:
            runs, order = [runs[only]], orders(1)
        began = uptime_s()
        rows = window(runs, order, fewest, most, seconds)
        return {
            "rows": [[round(one, 6) for one in row] for row in rows if only is None],
            "span": [began, uptime_s()],
            "runs": len(rows) * (2 if self._children else 1),
        }

    def open_cases(
        self, cases: List[Dict[str, Any]], folder: str, first: bool, weights_bytes: int
    ) -> Dict[str, Any]:
        """Load models that a calibration runs.

        Args:
            cases: As `_Case` has them.
            folder: Where files are written.
            first: Whether these are the first.
            weights_bytes: Bytes of the file that holds the weights of all.
        """
        if first:
            os.makedirs(folder, exist_ok=True)
            _write_weights(os.path.join(folder, WEIGHTS), weights_bytes)
        for case in cases:
            self._cases.append(_Case(case, folder, len(self._cases)))
        return {}

    def run_cases(self) -> Dict[str, Any]:
        """Run every case once more, and return what that took in all, in s."""
        began = time.perf_counter()
        for case in self._cases:
            case.run()
        return {"seconds": time.perf_counter() - began}

    def close_cases(self) -> Dict[str, Any]:
        """Return what was seen of each case."""
        return {"cases": [case.seen() for case in self._cases]}

    def rank(
        self, model: Dict[str, Any], images: str, labels: Sequence[int], **how: Any
    ) -> Dict[str, Any]:
        """Run a classifier, which is loaded by the first call.

        Args:
            model: As `opened` takes it, but for its inputs.
            images: The file of the images, which is removed.
            labels: The label of each; none if only the shape is asked.
            **how: `name` of the input, `output`, the place of the scores, `batch`, and `numbers`,
                as `rank_images` has them.

        Returns:
            `ranks`, as that gives them; and the `shape` of the scores of a batch.
        """
        import numpy as np

        array = np.load(images, allow_pickle=False)
        os.remove(images)
        shape = []  # type: List[int]

        def run(taken: Any) -> Any:
            feeds = {how["name"]: taken}
            if self._alone is None:
                self._alone = opened(dict(model, inputs={"arrays": feeds}), 0)
            scores = self._alone.run(feeds)[how["output"]]
            shape[:] = scores.shape
            return scores

        if not labels:
            run(from_pixels(array, **how["numbers"]))
            return {"ranks": [], "shape": shape}
        return {
            "ranks": rank_images(run, array, labels, how["batch"], how["numbers"]),
            "shape": shape,
        }

    def turn(self) -> Dict[str, Any]:
        """Run the one model twice, and return what the second run took."""
        assert self._alone is not None
        self._alone.run()
        return {"ms": self._alone.run_ms()}


def about(runtimes: Sequence[str] = ("onnxruntime",)) -> Dict[str, Any]:
    """Return what runs here, and the versions of runtimes."""
    import numpy as np

    modules = {
        one: load_openvino() if one == "openvino" else importlib.import_module(one)
        for one in runtimes
    }
    return {
        "python": platform.python_version(),
        "versions": {one: module.__version__.split("-")[0] for one, module in modules.items()},
        "numpy": np.__version__,
        "cores": usable_cores(),
        "processor": cpu_name(),
        "cache_kib": last_cache_kib(),
        "block_channels": block_channels(),
        "system": platform.platform(),
    }


# Calibration.


class _Case:
    """A small model that a calibration runs in each round: once to warm up, and timed.

    Args:
        case: `model`, in base64, whose weights are in the file of all; `inputs`, shapes by name;
            `threads`; `pause_s` that nothing else is touched before each timed run; `runs` that
            are timed; and whether the profiler sees it (`profile`).
        folder: Where files are written.
        place: Its place among the cases.
    """

    def __init__(self, case: Dict[str, Any], folder: str, place: int) -> None:
        import numpy as np

        path = os.path.join(folder, str(place) + ".onnx")
        with open(path, "wb") as file:
            file.write(base64.b64decode(case["model"]))
        self._folder = os.path.join(folder, str(place)) if case["profile"] else ""
        if self._folder:
            os.makedirs(self._folder, exist_ok=True)
        draw = np.random.RandomState(0)
        self._feeds = {
            name: draw.standard_normal(shape).astype(np.float32)
            for name, shape in case["inputs"].items()
        }
        self._pause_s, self._runs = case["pause_s"], case["runs"]
        self._ms = []  # type: List[float]
        model = {"path": path, "name": case["name"], "limit_s": None, "inputs": {"files": {}}}
        self._session = Session(model, session_options(case["threads"], self._folder))

    def run(self) -> None:
        """Run it, and note what that took."""
        self._session.run(self._feeds)
        for _ in range(self._runs):
            end = time.perf_counter() + self._pause_s
            while time.perf_counter() < end:
                pass
            began = time.perf_counter()
            self._session.run(self._feeds)
            self._ms.append(1e3 * (time.perf_counter() - began))

    def seen(self) -> Dict[str, Any]:
        """Return what each timed run took, what each node took in it, and the optimised graph."""
        found = {"ms": self._ms, "nodes": [], "graph": ""}  # type: Dict[str, Any]
        if not self._folder:
            return found
        nodes = {}  # type: Dict[str, List[NodeEvent]]
        for event in read_events(self._session.end_profiling())[0]:
            nodes.setdefault(event.name, []).append(event)
        for name, own in nodes.items():
            found["nodes"].append(
                {
                    "name": name,
                    "us": [one.time_us for k, one in enumerate(own) if k % (1 + self._runs)],
                    "activation_bytes": own[-1].activation_bytes,
                    "output_shapes": [shape for _, shape in own[-1].outputs],
                }
            )
        with open(os.path.join(self._folder, OPTIMISED), "rb") as file:
            graph = zlib.compress(without_weights(file.read()))
        found["graph"] = base64.b64encode(graph).decode()
        return found


def _write_weights(path: str, size: int) -> None:
    """Write numbers that no sum of them overflows, and none of them is next to nothing."""
    import numpy as np

    drawn = np.random.RandomState(0).uniform(0.01, 0.03, 1 << 18).astype(np.float32)
    drawn[::2] *= -1
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(drawn.tobytes()[: size - file.tell()])


def block_channels() -> int:
    """Return the channels of a block on this machine, which ONNX Runtime does not tell."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return _WIDE_BLOCK
    with contextlib.suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        return _WIDE_BLOCK if "avx512f" in file.read() else _LEAST_BLOCK
    return _LEAST_BLOCK


# The profiler.


class NodeEvent(NamedTuple):
    """One run of a node.

    Attributes:
        name: The node, in the optimised graph.
        place: Its index there, which tells nodes without names apart.
        run: The run of the model that it is a part of, from 0.
        time_us: What it took, less the nodes inside of it: those of a branch, or of a loop's body.
        arguments: What else the profiler says.
    """

    name: str
    place: str
    run: int
    time_us: float
    arguments: Dict[str, Any]

    @property
    def activation_bytes(self) -> int:
        """Bytes read and written; weights are not among them, as packed ones are not told."""
        return sum(int(self.arguments.get(k, 0)) for k in ("activation_size", "output_size"))

    @property
    def outputs(self) -> List[Tuple[str, List[int]]]:
        """The element type and the shape of each of its outputs."""
        return [pair for one in self.arguments.get("output_type_shape", ()) for pair in one.items()]


def read_events(path: str) -> Tuple[List[NodeEvent], List[float]]:
    """Read the file of a session's profiler.

    Returns:
        The runs of nodes, in their order; and what each run of the whole model took, in µs.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        events = json.load(file, strict=False)  # names are written raw
    nodes = []  # type: List[NodeEvent]
    starts = []  # type: List[float]  # of the nodes, which are written as they end
    whole_us = []  # type: List[float]
    for event in events:
        if event["name"] == "model_run":
            whole_us.append(event["dur"])
        if event["cat"] != "Node" or not event["name"].endswith(_KERNEL):
            continue
        inside = len(starts)
        while inside and starts[inside - 1] >= event["ts"]:
            inside -= 1
        nodes.append(
            NodeEvent(
                name=event["name"][: -len(_KERNEL)],
                place=event["args"].get("node_index") or event["args"].get("graph_index", ""),
                run=len(whole_us),
                time_us=max(event["dur"] - sum(one.time_us for one in nodes[inside:]), 0.0),
                arguments=event["args"],
            )
        )
        starts.append(event["ts"])
    return nodes, whole_us


def profile(
    model: Dict[str, Any],
    threads: int,
    warm_up: Tuple[int, float],
    runs: Tuple[int, int],
    seconds: float,
    folder: str,
    pack: bool = False,
    with_memory: bool = False,
) -> Dict[str, Any]:
    """Take a model through ONNX Runtime's profiler, or OpenVINO's.

    Args:
        model: As `opened` takes it.
        threads: Its threads.
        warm_up: How often, and for how many seconds, it is run beforehand.
        runs: The fewest and the most runs.
        seconds: After which it ends in between.
        folder: Where it writes; `OPTIMISED` stays there.
        pack: Whether that is returned too, compressed, and without its weights.
        with_memory: Whether it is loaded once more beforehand, for its `memory`.

    Returns:
        For each node of the optimised graph, in order of execution: its name, operator, median
        time, bytes and shapes; the median of the whole run while it was profiled; and `graph`. Of
        OpenVINO, what `Compiled.executed` tells. And `memory`.
    """
    taken = memory(model, threads) if with_memory else {}
    if model.get("runtime") == "openvino":
        compiled = Compiled(model, threads, counted=True)
        return dict(_profile_compiled(compiled, warm_up, runs, seconds), memory=taken)
    os.makedirs(folder, exist_ok=True)
    session = Session(model, session_options(threads, folder))
    fewest, warm_up_s = warm_up
    repeat(session.run, fewest, warm_up_s)
    # The profiler writes of every run: what came before these is passed over.
    warm = session.runs
    repeat(session.run, runs[0], seconds, runs[1])
    events, whole_us = read_events(session.end_profiling())
    found = dict(_by_node(events, whole_us, warm), memory=taken)
    if pack:
        with open(os.path.join(folder, OPTIMISED), "rb") as file:
            graph = zlib.compress(without_weights(file.read()))
        found["graph"] = base64.b64encode(graph).decode()
    return found


def _profile_compiled(
    session: Compiled, warm_up: Tuple[int, float], runs: Tuple[int, int], seconds: float
) -> Dict[str, Any]:
    repeat(session.run, *warm_up)
    seen = []  # type: List[Dict[str, Tuple[str, float]]]

    def run() -> float:
        took_ms = session.run_ms()
        seen.append(session.counted())
        return took_ms

    whole_ms = repeat(run, runs[0], seconds, runs[1])
    found = session.executed(seen)
    found["profiled_us"] = 1e3 * statistics.median(whole_ms)
    return found


def without_weights(model: bytes) -> bytes:
    """Return an ONNX file without the data of its large weights, which old versions keep in it.

    It is Protocol Buffers: of the model, field 7 is the graph; of that, 5 is a weight; and of
    that, data are in some fields, the shape and type in others.
    """
    return _edited(model, 7, lambda graph: _edited(graph, 5, _without_data))


def _without_data(weight: bytes) -> bytes:
    if len(weight) <= _SMALL_WEIGHT_BYTES:
        return weight
    return b"".join(weight[a:b] for number, a, _, b in _fields(weight) if number not in _DATA)


def _edited(message: bytes, number: int, edit: Callable[[bytes], bytes]) -> bytes:
    """Return a message in which the fields of a number, each a message, are edited."""
    parts = []
    for one, begin, inner, end in _fields(message):
        if one == number:
            edited = edit(message[inner:end])
            parts += [message[begin : begin + 1], _varint(len(edited)), edited]
        else:
            parts.append(message[begin:end])
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[Tuple[int, int, int, int]]:
    """Return the fields of a message: number, where it begins, where its value does, its end."""
    place = 0
    while place < len(message):
        begin = place
        key, place = _read_varint(message, place)
        inner, kind = place, key & 7
        if kind == 0:
            _, place = _read_varint(message, place)
        elif kind == 2:
            size, inner = _read_varint(message, place)
            place = inner + size
        else:
            place += 8 if kind == 1 else 4
        yield key >> 3, begin, inner, place


def _read_varint(message: bytes, place: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _by_node(events: Sequence[NodeEvent], whole_us: Sequence[float], skip: int) -> Dict[str, Any]:
    """Sum the profiler's events up."""
    seen = {}  # type: Dict[Tuple[str, str], List[NodeEvent]]
    for event in events:
        seen.setdefault((event.name, event.place), []).append(event)
    nodes = []
    for (name, _), own in seen.items():
        times = _by_run(own, len(whole_us))
        if times:
            nodes.append(
                {
                    "name": name,
                    "op": own[-1].arguments.get("op_name", ""),
                    "time_us": statistics.median(times[skip:] or times),
                    "activation_bytes": sum(
                        e.activation_bytes for e in own if e.run == own[-1].run
                    ),
                    "output_shapes": [shape for _, shape in own[-1].outputs],
                    "dtype": next((dtype for dtype, _ in own[-1].outputs), ""),
                }
            )
    return {"nodes": nodes, "profiled_us": statistics.median(whole_us[skip:] or whole_us or [0])}


def _by_run(events: Sequence[NodeEvent], runs: int) -> List[float]:
    """Return what a node took in each run: in a loop, all its turns; in a branch, maybe none."""
    times = [0.0] * runs
    for event in events:
        times[event.run] += event.time_us
    return times


# Outputs, and files.


def outputs(
    model: Dict[str, Any], inputs: List[Dict[str, Any]], folder: str, optimise: bool
) -> Dict[str, Any]:
    """Run a model on inputs, and write what comes out.

    Args:
        model: As `opened` takes it, its inputs being the first of these.
        inputs: Inputs, as `feeds` reads them, of one run after another.
        folder: Where `RUN-OUTPUT.npy` are written, both counted from 0.
        optimise: Whether ONNX Runtime optimises the graph.

    Returns:
        `files`: of each run, the name of each output's file; and `precision`, what OpenVINO
        computed in.
    """
    import numpy as np

    session = opened(model, 0, optimise=optimise, arena=False)
    os.makedirs(folder, exist_ok=True)
    files = []
    for run, asked in enumerate(inputs):
        names = []
        for place, array in enumerate(session.run(feeds(asked))):
            names.append(f"{run}-{place}.npy")
            np.save(os.path.join(folder, names[-1]), array, allow_pickle=False)
        files.append(names)
    return {"files": files, "precision": session.precision}


def make_folder(path: str) -> Dict[str, Any]:
    """Make a folder, and those around it."""
    os.makedirs(path, exist_ok=True)
    return {}


def join(path: str, parts: List[Tuple[str, int, int]], sha256: str) -> Dict[str, Any]:
    """Write a file that consists of parts of others.

    Args:
        path: The file.
        parts: Of each: a file, the offset in it, and how many bytes.
        sha256: The hash of what is to come of it.
    """
    found = hashlib.sha256()
    with open(path, "wb") as whole:
        for name, offset, size in parts:
            with open(name, "rb") as part:
                part.seek(offset)
                end = offset + size
                while part.tell() < end:
                    block = part.read(min(end - part.tell(), 1 << 20))
                    if not block:
                        raise Fault(f"{name} is cut short.")
                    found.update(block)
                    whole.write(block)
    if found.hexdigest() != sha256:
        raise Fault(f"{path} is not what was sent.")
    return {}


# The process.


def main(arguments: Sequence[str] = ()) -> int:
    """Do the jobs on stdin, and say what came of each.

    Returns:
        The exit code.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this one says what becomes of it
    if _END in arguments and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    # OpenMP and BLAS have threads as well, and are not wanted here.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    # Without it, onnxruntime 1.32 counts its users, and notes that in the home folder.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # What libraries print, in C too, goes to stderr: a line of theirs might tear one of ours.
    own = os.dup(1)
    os.dup2(2, 1)
    _answers.append(os.fdopen(own, "w", encoding="utf-8"))
    bench = Bench()
    for line in sys.stdin:
        try:
            _say("result", bench.do(json.loads(line)))
        except Fault as fault:
            _say(fault.kind, {"fact": fault.fact, "mend": fault.mend})
            return 2
        except ImportError as error:
            fact, mend = _MISSING
            name = getattr(error, "name", None) or "onnxruntime"
            fact = fact.format(sys.executable, name)
            wanted = "openvino" if name == "openvino" else "onnxruntime"
            _say("missing", {"fact": fact, "mend": mend.format(sys.executable, wanted)})
            return 3
        except Exception as error:  # noqa: BLE001  # who asked is to know of it, whatever it is
            traceback.print_exc()
            what = f"{type(error).__name__}: {_first_line(error)}"
            _say("error", {"fact": f"The runner failed: {what}", "mend": ""})
            return 2
    return 0


def _say(kind: str, what: Dict[str, Any]) -> None:
    print(json.dumps({kind: what}), file=_answers[0], flush=True)


if __name__ == "__main__":
    # What lies beside this file is not to be imported.
    sys.path[:1] = [
        one for one in sys.path[:1] if one != os.path.dirname(os.path.abspath(__file__))
    ]
    sys.exit(main(sys.argv[1:]))
