"""Engines are refused for what their manifest says; run on a GPU they are what the file is."""

from __future__ import annotations

import ctypes
import sys
import types

import numpy as np
import pytest

from edgeattn.base.errors import EdgeattnError, InputError, MissingError
from edgeattn.engine import runs_here
from edgeattn.engine.cuda import Cuda
from edgeattn.engine.gpu import Gpu, local_gpu
from edgeattn.engine.libraries import Library, load
from edgeattn.engine.parity import compare_engine
from edgeattn.engine.runtime import Engine, open_engine
from edgeattn.engine.target import Target, choose
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.records.engine import manifest_of, read_manifest
from edgeattn.runtimes.onnxruntime import Session
from edgeattn.workflows.build import BuildOptions, build
from export_tests.engine.nets import small

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
RTX = load("tensorrt-rtx")
RTX3060 = Gpu(name="NVIDIA GeForce RTX 3060", compute_capability=(8, 6))
H100 = Gpu(name="NVIDIA H100", compute_capability=(9, 0))


def profile(*batches):
    points = zip(("min", "opt", "max"), batches, strict=True)
    return Profile(**{point: {"x": (batch, 3, 16, 16)} for point, batch in points})


def built(folder, *, batch=1, profiles=(), plan_for=None, target=None):
    source = small(folder / "small.onnx", batch=batch)
    target = target or Target(
        library=RTX, compute_capability=(8, 6), device=None, plan_for=plan_for, reason="a test"
    )
    path = folder / ("small.plan-sm86.engine" if plan_for else "small.engine")
    build(source, BuildOptions(target=target, engine=EngineOptions(profiles=profiles)), path)
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return built(tmp_path_factory.mktemp("fixed"))


@pytest.fixture(scope="module")
def open_batch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    return built(folder, batch="n", profiles=(profile(1, 2, 2), profile(4, 4, 8)))


def altered(engine, folder, **changes):
    """A copy whose manifest says something else."""
    manifest = read_manifest(engine)
    options = manifest.options | changes.pop("options", {})
    copy = folder / engine.name
    copy.write_bytes(engine.read_bytes())
    changed = manifest.model_copy(update=changes | {"options": options})
    manifest_of(copy).write_text(changed.model_dump_json())
    return copy


@pytest.mark.parametrize(
    ("changes", "gpu", "kind", "said"),
    [
        ({"sha256": "0" * 64}, RTX3060, InputError, "does not belong"),
        ({"not_for": "orin"}, RTX3060, InputError, "a plan, .* stands for orin"),
        ({"runtime": "tensorrt"}, RTX3060, MissingError, "TensorRT does not load"),
        ({"runtime": "openvino"}, RTX3060, InputError, "no runtime 'openvino'"),
        ({"runtime_version": "1.2.3"}, RTX3060, MissingError,
         rf"with TensorRT-RTX 1\.2\.3, and TensorRT-RTX {RTX.version} is here"),
        ({}, None, MissingError, "compute capability 8.6, and no NVIDIA GPU is here"),
        ({}, H100, MissingError, "capability 8.6; the NVIDIA H100 that is here has 9.0"),
    ],
)  # fmt: skip
def test_what_the_manifest_tells_is_refused(
    engine, tmp_path, monkeypatch, changes, gpu, kind, said
):
    if changes.get("runtime") == "tensorrt":
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(runs_here, "local_gpu", lambda: gpu)
    with pytest.raises(kind, match=said) as caught:
        open_engine(altered(engine, tmp_path, **changes))
    assert caught.value.mend or "no runtime" in said


def test_an_engine_needs_its_manifest(engine, tmp_path):
    alone = tmp_path / "alone.engine"
    alone.write_bytes(engine.read_bytes())
    with pytest.raises(InputError, match="There is no manifest"):
        open_engine(alone)
    manifest_of(alone).write_text('{"artifact": "export"}')
    with pytest.raises(InputError, match="no manifest of an engine"):
        open_engine(alone)
    copy = altered(engine, tmp_path)
    copy.unlink()
    with pytest.raises(InputError, match="There is no file"):
        open_engine(copy)


def test_a_plan_that_was_built_as_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="stands for jetson-orin"):
        open_engine(built(tmp_path, plan_for="jetson-orin"))


def library(version, **members):
    """TensorRT-RTX under the name and a version of TensorRT's."""
    module = types.SimpleNamespace(**{"IExecutionContext": trt.IExecutionContext} | members)
    return Library(runtime="tensorrt", module=module, version=version)


@pytest.mark.parametrize(
    ("built_with", "here", "is_compatible", "runs"),
    [
        ("10.3.0", "10.3.0", False, True),
        ("10.3.0", "10.16.2", False, False),
        ("10.3.0", "10.16.2", True, True),
        ("10.16.2", "10.3.0", True, False),
        ("8.6.2", "10.3.0", True, True),
        ("10.3.0", "11.4.1", True, True),
        ("8.6.2", "11.0.0", True, False),
        ("11.0.0", "10.3.0", True, False),
    ],
)
def test_versions(engine, tmp_path, built_with, here, is_compatible, runs):
    options = {"version_compatible": is_compatible}
    path = altered(engine, tmp_path, runtime_version=built_with, options=options)
    manifest = read_manifest(path)
    if runs:
        runs_here.check_version(path, manifest, library(here))
        return
    with pytest.raises(MissingError, match=rf"TensorRT {built_with}, and TensorRT {here} is here"):
        runs_here.check_version(path, manifest, library(here))


def test_a_library_without_tensor_addresses_is_too_old(engine):
    old = library("8.4.1", IExecutionContext=object)
    with pytest.raises(MissingError, match=r"came with TensorRT 8\.5"):
        runs_here.check_version(engine, read_manifest(engine), old)


def test_hardware_compatible_is_for_ampere_and_later(engine, tmp_path):
    path = altered(engine, tmp_path, options={"hardware_compatible": True})
    manifest = read_manifest(path)
    runs_here.check_gpu(path, manifest, H100)
    with pytest.raises(MissingError, match=r"has 7\.5"):
        runs_here.check_gpu(path, manifest, Gpu(name="T4", compute_capability=(7, 5)))


def test_without_the_bindings_the_mend_is_to_install_them(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingError, match="cuda-bindings") as caught:
        Engine(engine, RTX, read_manifest(engine))
    assert "edgeattn[gpu]" in caught.value.mend


@pytest.mark.skipif(local_gpu() is not None, reason="what is told where there is no driver")
def test_without_a_driver_cuda_says_so(engine):
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    with pytest.raises(MissingError, match=r"cudaGetDeviceCount fails: .*driver"):
        Engine(engine, RTX, read_manifest(engine))


# No GPU is here: memory of this machine stands in for a GPU's, and ONNX Runtime for the kernels.
# What the library and CUDA are called with is checked against the real ones, as far as it goes.


class Memory:
    """CUDA's runtime over this machine's memory."""

    cudaError_t = types.SimpleNamespace(cudaSuccess=0)  # noqa: N815
    cudaMemcpyKind = types.SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2
    )

    def __init__(self, *, devices=1, most=1 << 30):
        self.devices, self.most = devices, most
        self.held, self.streams = {}, set()

    def cudaGetDeviceCount(self):  # noqa: N802 - CUDA's name, and those below
        return 0, self.devices

    def cudaGetErrorString(self, status):  # noqa: N802
        return 0, f"error {status}".encode()

    def cudaMalloc(self, count):  # noqa: N802
        if count > self.most:
            return 2, None
        block = ctypes.create_string_buffer(count)
        self.held[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaFree(self, place):  # noqa: N802
        del self.held[place]
        return (0,)

    def cudaMemcpyAsync(self, target, source, count, kind, stream):  # noqa: N802
        assert stream in self.streams
        assert (target if kind == 1 else source) in self.held
        ctypes.memmove(target, source, count)
        return (0,)

    def cudaStreamCreate(self):  # noqa: N802
        self.streams.add(7)
        return 0, 7

    def cudaStreamDestroy(self, stream):  # noqa: N802
        self.streams.remove(stream)
        return (0,)

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        assert stream in self.streams
        return (0,)


class FakeEngine:
    """TensorRT's engine over ONNX Runtime."""

    def __init__(self, onnx, profiles, log=None):
        self.session = Session(onnx)
        self.profiles, self.log = profiles, log
        self.num_io_tensors, self.num_optimization_profiles = 2, max(len(profiles), 1)

    def get_tensor_name(self, index):
        return "xy"[index]

    def get_tensor_mode(self, name):
        return trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        return trt.Dims([-1 if self.profiles else 1, 3 if name == "x" else 8, 16, 16])

    def get_tensor_dtype(self, _name):
        return trt.float32

    def get_tensor_profile_shape(self, name, index):
        return [trt.Dims(shape[name]) for shape in self.profiles[index]]

    def create_runtime_config(self):
        return types.SimpleNamespace()

    def create_execution_context(self, config=None):
        self.config = config
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine):
        self.engine, self.shape, self.places = engine, None, {}
        self.active_optimization_profile = 0

    def set_optimization_profile_async(self, index, stream):
        self.active_optimization_profile = index
        return True

    def set_input_shape(self, _name, shape):
        self.shape = shape
        return True

    def get_tensor_shape(self, _name):
        return trt.Dims([self.shape[0], 8, 16, 16])

    def set_tensor_address(self, name, place):
        assert isinstance(place, int)
        self.places[name] = place
        return True

    def execute_async_v3(self, stream):
        if self.engine.log is not None:
            self.engine.log.log(trt.ILogger.ERROR, "the kernel\n failed")
            return False
        count = int(np.prod(self.shape))
        block = (ctypes.c_float * count).from_address(self.places["x"])
        given = np.frombuffer(block, np.float32).reshape(self.shape)
        (made,) = self.engine.session.run([given])
        ctypes.memmove(self.places["y"], made.ctypes.data, made.nbytes)
        return True


@pytest.fixture
def memory(monkeypatch):
    made = Memory()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", made)
    monkeypatch.setattr(runs_here, "local_gpu", lambda: RTX3060)
    return made


def stand_in(monkeypatch, path, profiles=(), *, fails=False, takes=True):
    """Puts ONNX Runtime in the place of the library's own runtime."""

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, blob):
            assert blob == path.read_bytes()
            if not takes:
                self.logger.log(trt.ILogger.ERROR, "bad magic")
                return None
            log = self.logger if fails else None
            return FakeEngine(path.with_suffix(".onnx"), profiles, log)

    members = {name: getattr(trt, name) for name in dir(trt) if not name.startswith("_")}
    module = types.SimpleNamespace(**members | {"Runtime": Runtime})
    fake = Library(runtime="tensorrt-rtx", module=module, version=RTX.version)
    monkeypatch.setattr(runs_here, "load", lambda _: fake)


PROFILES = [[{"x": (batch, 3, 16, 16)} for batch in batches] for batches in ((1, 2, 2), (4, 4, 8))]


def test_the_stand_ins_have_nothing_that_the_real_ones_have_not():
    for fake, real in ((FakeEngine, trt.ICudaEngine), (FakeContext, trt.IExecutionContext)):
        assert {name for name in vars(fake) if not name.startswith("_")} <= set(dir(real))
    for name in ("num_io_tensors", "num_optimization_profiles"):
        assert hasattr(trt.ICudaEngine, name)
    assert hasattr(trt.IExecutionContext, "active_optimization_profile")
    for name in ("engine_host_code_allowed", "DLA_core"):
        assert hasattr(trt.Runtime, name)
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")


def test_the_stand_in_for_cuda_has_nothing_that_the_real_one_has_not():
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    assert {name for name in vars(Memory) if name.startswith("cuda")} <= set(dir(cuda))
    assert cuda.cudaMemcpyKind.cudaMemcpyHostToDevice == 1
    assert cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost == 2
    array, stream = np.zeros(4, np.float32), cuda.cudaStream_t(0)
    kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
    for arguments in (  # where there is no driver, these are refused after they were read
        ("cudaMemcpyAsync", 0, array.ctypes.data, 0, kind, stream),
        ("cudaStreamSynchronize", stream),
        ("cudaFree", 0),
    ):
        assert len(getattr(cuda, arguments[0])(*arguments[1:])) == 1
    assert int(stream) == 0


def test_what_goes_in_and_comes_out(engine, memory, monkeypatch):
    stand_in(monkeypatch, engine)
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16))
    with open_engine(engine) as opened:
        assert opened.inputs == {"x": (1, 3, 16, 16)}
        assert opened.output_names == ["y"]
        found = opened.run({"x": x.transpose(0, 1, 3, 2)})  # neither float32 nor in order
        with pytest.raises(InputError, match="takes no inputs of x:2x3x16x16"):
            opened.run({"x": np.zeros((2, 3, 16, 16))})
        with pytest.raises(InputError, match="takes the inputs x, not z"):
            opened.run({"z": x})
    (want,) = Session(engine.with_suffix(".onnx")).run([x.transpose(0, 1, 3, 2)])
    assert np.array_equal(found["y"], want)
    assert (memory.held, memory.streams) == ({}, set())


def test_the_profile_is_that_of_the_shape(open_batch, memory, monkeypatch):
    stand_in(monkeypatch, open_batch, PROFILES)
    session = Session(open_batch.with_suffix(".onnx"))
    with open_engine(open_batch) as opened:
        strategy = opened._engine.config.dynamic_shapes_kernel_specialization_strategy
        assert strategy == trt.DynamicShapesKernelSpecializationStrategy.EAGER
        for batch, index in ((8, 1), (1, 0), (2, 0), (4, 1), (6, 1)):
            x = np.random.default_rng(batch).normal(size=(batch, 3, 16, 16)).astype(np.float32)
            assert np.array_equal(opened.run({"x": x})["y"], session.run([x])[0])
            assert opened._context.active_optimization_profile == index
        for shape in ((3, 3, 16, 16), (9, 3, 16, 16), (1, 4, 16, 16), (1, 3, 16)):
            assert not opened.takes({"x": shape})
            with pytest.raises(InputError, match="none of its profiles") as caught:
                opened.run({"x": np.zeros(shape)})
        assert "--max-shapes" in caught.value.mend


def test_what_the_library_says_is_told(engine, memory, monkeypatch):
    stand_in(monkeypatch, engine, takes=False)
    with pytest.raises(InputError, match=r"does not take .*small\.engine: bad magic"):
        open_engine(engine)
    stand_in(monkeypatch, engine, fails=True)
    with open_engine(engine) as opened, pytest.raises(InputError, match=": the kernel failed"):
        opened.run({"x": np.zeros((1, 3, 16, 16))})
    assert memory.held == {}


def test_what_cuda_says_is_told(engine, memory, monkeypatch):
    stand_in(monkeypatch, engine)
    memory.most = 1000
    with open_engine(engine) as opened, pytest.raises(MissingError, match="cudaMalloc fails: err"):
        opened.run({"x": np.zeros((1, 3, 16, 16))})
    memory.devices = 0
    with pytest.raises(MissingError, match="sees no GPU"):
        open_engine(engine)


def test_an_engine_is_compared_with_its_file(open_batch, memory, monkeypatch, tmp_path):
    stand_in(monkeypatch, open_batch, PROFILES)
    report = compare_engine(open_batch)
    assert report.passed
    assert report.precision == "tf32"
    assert sorted(case.batch for case in report.cases) == [1, 2, 4, 8]
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    assert [case.batch for case in compare_engine(open_batch, inputs=[x]).cases] == [2]


def test_another_file_is_no_reference_by_itself(engine, memory, monkeypatch, tmp_path):
    path = altered(engine, tmp_path)
    stand_in(monkeypatch, engine)
    with pytest.raises(InputError, match="is not there"):
        compare_engine(path)
    source = small(tmp_path / "small.onnx")
    assert compare_engine(path).passed
    source.write_bytes(source.read_bytes() + b"\0")
    with pytest.raises(InputError, match="not what it was"):
        compare_engine(path)


def why_not():
    """Says why no engine can be run here; empty where one can."""
    if local_gpu() is None:
        return "no NVIDIA GPU is here"
    try:
        choose(device=None, capability=None, runtime=None, as_plan=False)
        Cuda()
    except EdgeattnError as error:
        return error.fact
    return ""


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("batch", [1, "n"])
def test_on_a_gpu_an_engine_gives_what_its_file_gives(tmp_path, batch):
    profiles = () if batch == 1 else (profile(1, 2, 2), profile(4, 4, 8))
    target = choose(device=None, capability=None, runtime=None, as_plan=False)
    path = built(tmp_path, batch=batch, profiles=profiles, target=target)
    report = compare_engine(path)
    assert report.passed, report
    assert len(report.cases) == (1 if batch == 1 else 4)
