"""Engines are timed as trtexec times them; what was begun on the GPU is ended, whatever happens."""

from __future__ import annotations

import io
import json
import re
import sys
import types

import numpy as np
import pytest

from edgeattn.base import worker as process
from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine import runs_here
from edgeattn.engine.cuda import size_of
from edgeattn.engine.gpu import local_gpu
from edgeattn.engine.libraries import Library
from edgeattn.engine.target import choose
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.measure.tensorrt.nvml import ClockWatch
from edgeattn.profiling.measure.tensorrt.process import (
    Job,
    medians,
    profile_engine,
    random_inputs,
    shapes_of,
    time_engines,
)
from edgeattn.profiling.measure.tensorrt.run import (
    TimedEngines,
    end_to_end,
    job_of,
    profile_kernels,
    read_profiled,
    time_models,
)
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.engine import read_manifest

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
from export_tests.engine.test_runtime import (  # noqa: E402 - it skips where there is none
    RTX,
    RTX3060,
    FakeEngine,
    Memory,
    altered,
    built,
    profile,
    why_not,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return built(tmp_path_factory.mktemp("fixed"))


@pytest.fixture(scope="module")
def open_batch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    return built(folder, batch="n", profiles=(profile(1, 2, 2), profile(4, 4, 8)))


# No GPU is here. What stands in for one counts milliseconds, and knows what is held; that its
# functions are CUDA's is tested below.
class Device(Memory):
    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaDeviceScheduleSpin = 1  # noqa: N815

    def __init__(self, **options):
        super().__init__(**options)
        self.now_ms, self.capturing, self.spins = 0.0, None, False
        self.events, self.graphs, self.executables = {}, set(), {}
        self.calls, self.fails = [], {}
        self.numbers = iter(range(100, 10**6))

    @property
    def left(self):
        """What was begun and not ended."""
        open_capture = [self.capturing] if self.capturing is not None else []
        return [*self.held, *self.streams, *self.events, *self.graphs, *self.executables,
                *open_capture]  # fmt: skip

    def cudaStreamCreate(self):  # noqa: N802
        self.streams.add(stream := next(self.numbers))
        return 0, stream

    def ran(self, ms):
        if self.capturing is None:
            self.now_ms += ms
        else:
            self.capturing.append(ms)

    def _called(self, name):
        self.calls.append(name)
        return self.fails.get(name, 0)

    def cudaSetDeviceFlags(self, flags):  # noqa: N802
        self.spins = flags == self.cudaDeviceScheduleSpin
        return (self._called("cudaSetDeviceFlags"),)

    def cudaGetDevice(self):  # noqa: N802
        return 0, 0

    def cudaDeviceGetPCIBusId(self, length, number):  # noqa: N802
        return 0, b"0000:01:00.0".ljust(length, b"\0")

    def cudaEventCreate(self):  # noqa: N802
        event = next(self.numbers)
        self.events[event] = None
        return self._called("cudaEventCreate"), event

    def cudaEventDestroy(self, event):  # noqa: N802
        del self.events[event]
        return (0,)

    def cudaEventRecord(self, event, stream):  # noqa: N802
        assert stream in self.streams
        self.events[event] = self.now_ms
        return (self._called("cudaEventRecord"),)

    def cudaEventSynchronize(self, event):  # noqa: N802
        assert event in self.events
        return (0,)

    def cudaEventElapsedTime(self, start, stop):  # noqa: N802
        return 0, self.events[stop] - self.events[start]

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        assert (mode, self.capturing) == (1, None)
        if not (status := self._called("cudaStreamBeginCapture")):
            self.capturing = []
        return (status,)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        status = self._called("cudaStreamEndCapture")
        self.captured, self.capturing = self.capturing, None
        if status:
            return status, None
        self.graphs.add(graph := next(self.numbers))
        return 0, graph

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        assert graph in self.graphs
        if status := self._called("cudaGraphInstantiate"):
            return status, None
        self.executables[made := next(self.numbers)] = sum(self.captured)
        return 0, made

    def cudaGraphDestroy(self, graph):  # noqa: N802
        self.graphs.remove(graph)
        return (0,)

    def cudaGraphExecDestroy(self, executable):  # noqa: N802
        del self.executables[executable]
        return (0,)

    def cudaGraphLaunch(self, executable, stream):  # noqa: N802
        self._called("cudaGraphLaunch")
        self.now_ms += self.executables[executable]
        return (0,)

    def cudaGetLastError(self):  # noqa: N802
        self._called("cudaGetLastError")
        return (0,)


class Context:
    """A context whose runs take a while, by its engine's clock."""

    def __init__(self, engine):
        self.engine, self.active_optimization_profile, self.profiler = engine, 0, None

    def set_optimization_profile_async(self, index, stream):
        self.active_optimization_profile = index
        return True

    def set_input_shape(self, _name, shape):
        self.shape = shape
        return True

    def get_tensor_shape(self, _name):
        return trt.Dims([self.shape[0], 8, 16, 16])

    def set_tensor_address(self, _name, place):
        return True

    def execute_async_v3(self, _stream):
        device, runs = self.engine.device, self.engine.runs
        device.calls.append("execute")
        runs.append(1)
        if self.engine.fails(device, len(runs)):
            self.engine.logger.log(trt.ILogger.ERROR, "the kernel\n failed")
            return False
        device.ran(self.engine.ms)
        for name, ms in self.engine.layers(len(runs)) if self.profiler is not None else ():
            self.profiler.report_layer_time(name, ms)
        return True


class Timer(FakeEngine):
    """An engine that takes as long as it is told."""

    def __init__(self, device, profiles, logger, ms, fails, layers):
        self.device, self.profiles, self.logger = device, profiles, logger
        self.ms, self.fails, self.layers, self.runs = ms, fails, layers, []
        self.num_io_tensors, self.num_optimization_profiles = 2, max(len(profiles), 1)

    def create_execution_context(self, config=None):
        return Context(self)


PROFILES = [[{"x": (batch, 3, 16, 16)} for batch in batches] for batches in ((1, 2, 2), (4, 4, 8))]


@pytest.fixture
def device(monkeypatch):
    made = Device()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", made)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(runs_here, "local_gpu", lambda: RTX3060)
    return made


@pytest.fixture
def library(device, monkeypatch):
    """Puts engines that take as long as they are told in the place of the library's own."""

    def put(*ms, profiles=(), fails=lambda _device, _run: False, layers=lambda _run: ()):
        waiting = list(ms)

        class Runtime:
            def __init__(self, logger):
                self.logger = logger

            def deserialize_cuda_engine(self, blob):
                return Timer(device, profiles, self.logger, waiting.pop(0), fails, layers)

        members = {name: getattr(trt, name) for name in dir(trt) if not name.startswith("_")}
        module = types.SimpleNamespace(**members | {"Runtime": Runtime})
        fake = Library(runtime="tensorrt-rtx", module=module, version=RTX.version)
        monkeypatch.setattr(runs_here, "load", lambda _: fake)

    return put


def job(*paths, task="time", **more):
    return Job(task=task, engines=tuple(map(str, paths)), warm_up_s=0.0, **more)


def test_a_run_is_a_graph_between_two_events(engine, device, library):
    library(0.25)
    found = time_engines(job(engine))
    assert 10 <= len(found["rows"]) <= 200
    assert {ms for row in found["rows"] for ms in row} == {0.25}
    assert found["not_captured"] == [""]
    assert device.spins
    assert device.left == []
    # Warm-up and enqueuing run the context; what is timed is the graph.
    after = device.calls[device.calls.index("cudaGraphInstantiate") :]
    assert "execute" not in after
    timed = after[-4:]
    assert timed == ["cudaGraphLaunch", "cudaEventRecord", "cudaGraphLaunch", "cudaEventRecord"]


def test_engines_take_turns(engine, device, library):
    library(1.0, 1.5)
    found = time_engines(job(engine, engine))
    assert {tuple(row) for row in found["rows"]} == {(1.0, 1.5)}
    assert len(found["host_us"]) == 2
    assert found["shapes"] == [{"x": (1, 3, 16, 16)}] * 2
    assert device.left == []


def captures(device, _run):
    return device.capturing is not None


@pytest.mark.parametrize(
    ("fails", "status", "said"),
    [
        (captures, {}, "does not run .*: the kernel failed"),
        (captures, {"cudaStreamEndCapture": 901}, "does not run .*: the kernel failed"),
        (None, {"cudaStreamBeginCapture": 900}, "cudaStreamBeginCapture fails: error 900"),
        (None, {"cudaStreamEndCapture": 901}, "cudaStreamEndCapture fails: error 901"),
        (None, {"cudaGraphInstantiate": 2}, "cudaGraphInstantiate fails: error 2"),
    ],
)
def test_what_cannot_be_captured_is_enqueued(engine, device, library, fails, status, said):
    library(0.5, fails=fails or (lambda _device, _run: False))
    device.fails = status
    found = time_engines(job(engine))
    assert {ms for row in found["rows"] for ms in row} == {0.5}
    assert found["host_us"][0][0] is None
    (reason,) = found["not_captured"]
    assert re.search(said, reason)
    assert device.left == []
    began = "cudaStreamBeginCapture" not in status
    assert device.calls.count("cudaStreamEndCapture") == began
    assert device.calls.count("cudaGetLastError") == began


def test_an_engine_that_fails_says_so_and_leaves_nothing(engine, device, library):
    library(0.5, fails=lambda _device, _run: True)
    with pytest.raises(InputError, match=r"does not run .*: the kernel failed"):
        time_engines(job(engine))
    assert device.left == []
    # It fails again after it was timed for a while.
    library(0.5, fails=lambda device, run: device.capturing is not None or run > 60)
    with pytest.raises(InputError, match="the kernel failed"):
        time_engines(job(engine))
    assert device.left == []


def test_memory_that_is_short_for_the_second_engine_frees_the_first(engine, device, library):
    library(0.5, 0.5)
    before = device.cudaMalloc
    places = iter(range(4))
    device.cudaMalloc = lambda count: before(count) if next(places) < 3 else (2, None)
    with pytest.raises(MissingError, match="cudaMalloc fails"):
        time_engines(job(engine, engine))
    assert device.left == []


def test_events_that_cannot_be_made_leave_nothing(engine, device, library):
    library(0.5)
    device.fails = {"cudaEventRecord": 1}
    with pytest.raises(MissingError, match="cudaEventRecord fails"):
        time_engines(job(engine))
    assert device.left == []


def test_the_profiler_reports_runs_of_its_own(engine, device, library):
    # The run that is timed is the second of each two, from the fourth on, after the warm-up.
    library(2.0, layers=lambda run: [("a", 0.1 + run % 2), ("b", 0.2)])
    found = profile_engine(job(engine, task="profile"))
    assert found["layers"] == [("a", pytest.approx(1100.0)), ("b", pytest.approx(200.0))]
    assert found["profiled_us"] == 2000.0
    assert found["shapes"] == {"x": (1, 3, 16, 16)}
    assert "cudaStreamBeginCapture" not in device.calls
    assert device.left == []


def test_a_profiler_that_tells_nothing(engine, device, library):
    library(1.0)
    with pytest.raises(InputError, match="tells of no layer"):
        profile_engine(job(engine, task="profile"))
    assert device.left == []


def test_medians_pass_over_runs_that_tell_of_other_layers():
    runs = [[("a", 1.0), ("b", 2.0)], [("a", 9.0)], [("a", 3.0), ("b", 2.5)], []]
    assert medians(runs) == [("a", 2000.0), ("b", 2250.0)]
    assert medians([[("a", 1.0), ("a", 2.0)]]) == [("a", 1000.0), ("a", 2000.0)]


def test_the_shapes_that_an_engine_is_run_at(open_batch, device, library):
    def shapes(**more):
        library(1.0, profiles=PROFILES, layers=lambda _run: [("a", 1.0)])
        found = profile_engine(job(open_batch, task="profile", **more))
        return found["shapes"]["x"], found["profile"]

    assert shapes() == ((2, 3, 16, 16), 0)  # what the first profile is tuned for
    assert shapes(batch=8) == ((8, 3, 16, 16), 1)
    assert shapes(shapes=((4, 3, 16, 16),)) == ((4, 3, 16, 16), 1)
    for more, said in (
        ({"batch": 3}, "lie in none of its profiles"),
        ({"shapes": ((1, 3, 16, 16),) * 2}, "takes 1 inputs"),
        ({"shapes": ((1, 4, 16, 16),)}, "lie in none of its profiles"),
    ):
        with pytest.raises(InputError, match=said):
            shapes(**more)
    assert device.left == []


def test_a_type_that_is_not_the_engines_is_refused():
    fake = types.SimpleNamespace(inputs={"x": (1, 3)}, dtype_of=lambda _: np.float16)
    job = Job(task="time", engines=(), shapes=((1, 3),), types=("uint8",))
    with pytest.raises(InputError, match="x takes float16, and --shape asks for uint8"):
        shapes_of(fake, job)


def test_inputs_are_drawn_by_their_types():
    types_of = {"x": np.float16, "ids": np.int32, "mask": np.bool_}
    fake = types.SimpleNamespace(dtype_of=types_of.__getitem__)
    shapes = {"x": (4, 8), "ids": (16,), "mask": (16,)}
    found = random_inputs(fake, shapes, seed=3)
    assert {name: array.dtype for name, array in found.items()} == types_of
    assert {name: array.shape for name, array in found.items()} == shapes
    assert set(found["ids"]) == {0, 1}
    assert np.array_equal(found["x"], random_inputs(fake, shapes, seed=3)["x"])
    assert size_of((0, 3), np.float32) == 1
    assert size_of((), np.float16) == 2


def profiled(manifest, **more):
    layers = [(kernel.name, 10.0) for kernel in manifest.layers.of_profile(0).kernels]
    found = {"layers": layers, "profiled_us": 99.0, "profile": 0, "shapes": {"x": (1, 3, 16, 16)}}
    return found | more


def test_what_the_profiler_told_becomes_kernels(engine):
    manifest = read_manifest(engine)
    found = read_profiled(profiled(manifest), manifest, None)
    assert [kernel.time_us for kernel in found.parts.kernels] == [10.0] * manifest.kernels
    assert found.profiled_us == 99.0
    assert any("No model was at hand" in note for note in found.notes)
    subject = read_subject(engine.with_suffix(".onnx"))
    known = read_profiled(profiled(manifest), manifest, subject)
    assert known.parts.known.nodes == subject.nodes
    assert known.notes == ()
    layers = [(manifest.layers.kernels[0].name, 1.0), ("another", 1.0)]
    with pytest.raises(InputError, match=f"1 of {manifest.kernels} match"):
        read_profiled(profiled(manifest, layers=layers), manifest, None)


def test_bytes_at_other_shapes_are_told(open_batch):
    manifest = read_manifest(open_batch)
    tuned = read_profiled(profiled(manifest, shapes={"x": (2, 3, 16, 16)}), manifest, None)
    assert not any("bytes" in note for note in tuned.notes)
    other = read_profiled(profiled(manifest), manifest, None)
    assert any("tuned for: x:2x3x16x16" in note for note in other.notes)


def timed(*, graph_us=5.0, enqueue_us=50.0, reason=""):
    return TimedEngines(
        samples_ms=((0.1,) * 30,),
        windows=3,
        agree=True,
        graph_us=(graph_us,),
        enqueue_us=(enqueue_us,),
        not_captured=(reason,),
        shapes=({"x": (1, 3, 16, 16)},),
    )


def test_what_the_host_takes_is_told(engine):
    manifest = read_manifest(engine)
    kernels = read_profiled(profiled(manifest), manifest, None)
    quick = timed()
    assert quick.warnings_of(0) == []
    assert "CUDA graph" in quick.notes_of(0)[0]
    assert len(quick.notes_of(0)) == 2
    found = end_to_end(quick, 0, kernels)
    assert (found.latency_us, found.profiled_us, found.enqueue_us) == (100.0, 99.0, 5.0)
    # Without a graph the host would hold the GPU up; with one it does not.
    slow = timed(enqueue_us=300.0)
    assert slow.warnings_of(0) == []
    assert "enqueues for 300 µs" in slow.notes_of(0)[1]
    plain = timed(graph_us=None, enqueue_us=300.0, reason="CUDA's … fails.")
    assert "300 µs" in plain.warnings_of(0)[0]
    assert plain.notes_of(0)[0] == "It was run without a CUDA graph: CUDA's … fails."
    assert end_to_end(plain, 0, kernels).enqueue_us == 300.0


def test_what_is_asked_of_engines():
    asked = ProfileOptions(shapes=((2, 3, 8, 8),), seed=4)
    assert job_of("time", [], asked) == Job(task="time", engines=(), shapes=((2, 3, 8, 8),), seed=4)
    assert job_of("time", [], ProfileOptions(batch=4)).batch == 4


def test_refusals_come_before_anything_is_started(engine, open_batch, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "ask", lambda *_, **__: pytest.fail("a process was started"))
    monkeypatch.setattr(runs_here, "local_gpu", lambda: None)
    options = ProfileOptions()
    for paths, kind, said in (
        ([engine], MissingError, "no NVIDIA GPU is here"),
        ([altered(engine, tmp_path, not_for="orin")], InputError, "stands for orin"),
        ([tmp_path / "none.engine"], InputError, "There is no file"),
    ):
        with pytest.raises(kind, match=said):
            time_models(paths, options)
        with pytest.raises(kind, match=said):
            profile_kernels(paths[0], options)
    monkeypatch.setattr(runs_here, "local_gpu", lambda: RTX3060)
    with pytest.raises(MissingError, match=r"TensorRT-RTX 1\.2\.3"):
        time_models([altered(engine, tmp_path, runtime_version="1.2.3")], options)


def test_what_the_process_gives_is_read(engine, monkeypatch):
    monkeypatch.setattr(runs_here, "local_gpu", lambda: RTX3060)
    asked, heard = [], []

    def ask(module, job, *, on_progress):
        asked.append((module, job))
        return {
            "rows": [[1.0, 2.0]] * 10, "host_us": [[4.0, 20.0], [None, 30.0]],
            "not_captured": ["", "no"], "clocks": [[1410 - 200 * (len(asked) == 2), 0x20]],
            "shapes": [{"x": [2, 3, 16, 16]}] * 2,
        }  # fmt: skip

    monkeypatch.setattr(process, "ask", ask)
    options = ProfileOptions(batch=2, seed=5)
    found = time_models([engine, engine], options, on_progress=heard.append)
    # Each window has a process of its own, and takes the orders of models on.
    assert [job["number"] for _, job in asked] == list(range(8))
    assert found.generations == (10,) * 8
    module, job = asked[0]
    assert module == "edgeattn.profiling.measure.tensorrt.process"
    assert (job["engines"], job["batch"], job["seed"]) == ((str(engine),) * 2, 2, 5)
    assert heard[0] == "window 1, 10 rounds, 1, 2 ms"
    assert found.difference(1, 0).percent == 100.0
    assert (found.host_us(0), found.host_us(1)) == (4.0, 30.0)
    assert "1210 to 1410 MHz" in found.warnings[0]
    assert "its temperature" in found.warnings[1]
    assert found.notes_of(1)[-1] == "It was run at x:2x3x16x16."
    assert found.facts == {"GPU clock": "1210 to 1410 MHz"}


@pytest.mark.skipif(local_gpu() is not None, reason="what is told where there is no GPU")
def test_the_process_says_what_is_missing(engine):
    with pytest.raises(MissingError, match=r"fails: .*driver"):
        process.ask(
            "edgeattn.profiling.measure.tensorrt.process",
            {"task": "time", "engines": [str(engine)]},
            on_progress=lambda _: None,
        )


def test_what_is_wrong_in_a_process_is_told(capsys, monkeypatch):
    for error, kind, code in ((InputError, "error", 2), (MissingError, "missing", 3)):
        monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))

        def do(_job, error=error):
            raise error("A fact.", mend="A mend.")

        assert process.serve(do) == code
        assert json.loads(capsys.readouterr().out) == {kind: {"fact": "A fact.", "mend": "A mend."}}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}'))
    assert process.serve(lambda asked: {"b": asked["a"]}) == 0
    assert json.loads(capsys.readouterr().out) == {"result": {"b": 1}}


class Nvml(types.ModuleType):
    """NVIDIA's management library, of a GPU whose clock changes."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass

    def __init__(self, clocks, reasons=0):
        super().__init__("pynvml")
        self.clocks, self.reasons = iter(clocks), reasons

    def nvmlInit(self):  # noqa: N802
        return None

    def nvmlDeviceGetHandleByPciBusId(self, bus_id):  # noqa: N802
        assert bus_id == b"0000:01:00.0"
        return "handle"

    def nvmlDeviceGetClockInfo(self, _device, _kind):  # noqa: N802
        clock = next(self.clocks)
        if clock is None:
            raise self.NVMLError
        return clock

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _device):  # noqa: N802
        return self.reasons


def watched(monkeypatch, module, looks):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    watch = ClockWatch("0000:01:00.0")
    for _ in range(looks):
        watch.look()
    return watch


def test_clocks(monkeypatch):
    steady = watched(monkeypatch, Nvml([1410, 1410, 1410], reasons=0x1), 3)
    assert (steady.facts, steady.warnings) == ({"GPU clock": "1410 MHz"}, [])
    hot = watched(monkeypatch, Nvml([1980, 1500], reasons=0x24), 2)
    assert hot.facts == {"GPU clock": "1500 to 1980 MHz"}
    assert "1500 to 1980 MHz" in hot.warnings[0]
    assert hot.warnings[1] == "The GPU's clock was held down by its power limit, its temperature."
    # Some devices do not answer, and the library may not be there.
    assert watched(monkeypatch, Nvml([None, 1]), 2).facts == {}
    assert watched(monkeypatch, None, 2).warnings == []
    broken = Nvml([])
    broken.nvmlInit = lambda: (_ for _ in ()).throw(broken.NVMLError)
    assert watched(monkeypatch, broken, 1).facts == {}


def test_the_stand_in_for_cuda_has_nothing_that_the_real_one_has_not():
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    assert {name for name in vars(Device) if name.startswith("cuda")} <= set(dir(cuda))
    assert cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert cuda.cudaDeviceScheduleSpin == Device.cudaDeviceScheduleSpin
    assert hasattr(trt.IProfiler, "report_layer_time")
    assert hasattr(trt.IExecutionContext, "profiler")
    assert {name for name in vars(Context) if not name.startswith("_")} <= set(
        dir(trt.IExecutionContext)
    )


@pytest.mark.skipif(local_gpu() is not None, reason="a GPU would take these")
def test_cuda_reads_what_it_is_called_with():
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    stream, event = cuda.cudaStream_t(0), cuda.cudaEvent_t(0)
    mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    # Where there is no driver, these are refused after they were read.
    for (name, *arguments), given in (
        (("cudaEventCreate",), 2), (("cudaEventDestroy", event), 1),
        (("cudaEventRecord", event, stream), 1), (("cudaEventSynchronize", event), 1),
        (("cudaEventElapsedTime", event, event), 2), (("cudaStreamBeginCapture", stream, mode), 1),
        (("cudaStreamEndCapture", stream), 2), (("cudaGetLastError",), 1),
        (("cudaGraphInstantiate", cuda.cudaGraph_t(0), 0), 2),
        (("cudaGraphLaunch", cuda.cudaGraphExec_t(0), stream), 1),
        (("cudaGraphDestroy", cuda.cudaGraph_t(0)), 1),
        (("cudaGraphExecDestroy", cuda.cudaGraphExec_t(0)), 1), (("cudaGetDevice",), 2),
        (("cudaSetDeviceFlags", cuda.cudaDeviceScheduleSpin), 1),
        (("cudaDeviceGetPCIBusId", 64, 0), 2),
    ):  # fmt: skip
        assert len(getattr(cuda, name)(*arguments)) == given, name


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_on_a_gpu_an_engine_is_timed_and_profiled(tmp_path):
    target = choose(device=None, capability=None, runtime=None, as_plan=False)
    path = built(tmp_path, target=target)
    options = ProfileOptions(limit_s=3.0)
    found = time_models([path, path], options)
    assert found.latency(0).p50 > 0
    assert found.not_captured == ("", "")
    assert abs(found.difference(1, 0).percent) < 20
    kernels = profile_kernels(path, options)
    assert sum(kernel.time_us for kernel in kernels.parts.kernels) > 0
    assert kernels.profiled_us > 0
