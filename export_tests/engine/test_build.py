"""One path over both libraries: what is asked is passed on, what fails says so in their words."""

from __future__ import annotations

import gc

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine.build import _configure, _network_flags, build_engine, check
from edgeattn.engine.libraries import Library, load
from edgeattn.engine.log import Log
from edgeattn.engine.refusals import failed
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.records.layers import traffic_bytes
from export_tests.engine.nets import HALF, small

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
RTX = load("tensorrt-rtx")
SM86 = (8, 6)


def shapes(*batches):
    return Profile(
        **{
            point: {"x": (batch, 3, 16, 16)}
            for point, batch in zip(("min", "opt", "max"), batches, strict=True)
        }
    )


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (12, 0)])
@pytest.mark.parametrize("dtype", [1, HALF])
def test_every_architecture_without_a_gpu(tmp_path, capability, dtype):
    engine = tmp_path / "m.engine"
    built = build_engine(small(tmp_path / "m.onnx", dtype=dtype), RTX, capability, engine=engine)
    assert engine.stat().st_size > 1000
    nodes = {node for kernel in built.information.kernels for node in kernel.nodes}
    assert {"stem/Conv", "gate/Mul", "head/Conv"} <= nodes
    assert built.weights_bytes > 0
    assert built.activation_bytes > 0
    assert built.profiles == ()


def test_the_log_is_whole_and_quiet(tmp_path, capfd):
    log = Log()
    build_engine(small(tmp_path / "m.onnx"), RTX, SM86, log=log)
    assert capfd.readouterr().out == ""
    assert sum(text.startswith("Layers:") for _, text in log.messages) == 1
    assert log.text.count("\n[I] ") > 3
    assert log.text.startswith(("[I] ", "[V] "))
    (tmp_path / "log.txt").write_text(log.text)
    assert "Total Weights Memory" in (tmp_path / "log.txt").read_text()


def test_options_reach_the_library(tmp_path):
    path = small(tmp_path / "m.onnx")
    asked = EngineOptions(workspace_mib=64, optimization_level=1)
    assert traffic_bytes(build_engine(path, RTX, SM86, asked).information.kernels) > 0
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    config = builder.create_builder_config()
    _configure(config, builder, RTX, SM86, asked)
    assert config.builder_optimization_level == 1
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20


def test_progress_goes_to_the_end(tmp_path):
    seen = []
    build_engine(small(tmp_path / "m.onnx"), RTX, SM86, on_progress=lambda *step: seen.append(step))
    assert seen == sorted(seen)
    assert seen
    done, count = seen[-1]
    assert done <= count


def test_several_profiles(tmp_path):
    path = small(tmp_path / "m.onnx", batch="batch")
    asked = EngineOptions(profiles=(shapes(1, 1, 1), shapes(2, 4, 8)))
    built = build_engine(path, RTX, SM86, asked)
    assert built.profiles == asked.profiles
    (given,) = [one for one in built.information.bindings if one.is_input]
    assert [middle for _, middle, _ in given.profiles] == [(1, 3, 16, 16), (4, 3, 16, 16)]


def test_an_open_batch_is_built_for_1(tmp_path):
    built = build_engine(small(tmp_path / "m.onnx", batch="batch"), RTX, SM86)
    assert built.profiles == (shapes(1, 1, 1),)
    assert "open batch" in built.notes[0]


def test_a_node_that_is_not_taken_is_named_with_its_module(tmp_path):
    with pytest.raises(InputError, match=r"last/Foo \(Foo\): .*Plugin not found") as caught:
        build_engine(small(tmp_path / "m.onnx", extra="Foo"), RTX, SM86)
    assert "write last with other operators" in caught.value.mend
    assert "edgeattn optimize" in caught.value.mend


def test_what_a_build_that_failed_left_is_not_collected_while_the_library_logs(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"garbage")
    seen = []

    class Watched(Log):
        def add(self, severity, message):
            seen.append(gc.isenabled())
            super().add(severity, message)

    with pytest.raises(InputError):
        build_engine(path, RTX, SM86, log=Watched())
    assert seen
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x08"])
def test_what_is_no_model_is_refused_in_the_librarys_words(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"TensorRT-RTX 1\.\S+ (does not take|builds no engine)"):
        build_engine(path, RTX, SM86)
    with pytest.raises(InputError, match="There is no file"):
        build_engine(tmp_path / "other.onnx", RTX, SM86)


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 99 bytes.)", "--workspace"),
        ("Error Code 10: Could not find any implementation for node m/Conv.", "--log FILE"),
    ],
)
def test_a_failure_has_the_librarys_own_words(said, mend):
    error = failed(RTX, Log(messages=[("VERBOSE", "out of memory, going on"), ("ERROR", said)]))
    assert said in error.fact
    assert mend in error.mend
    assert "it gave no reason" in failed(RTX, Log()).fact


def test_open_sizes_need_shapes(tmp_path):
    path = small(tmp_path / "m.onnx", size="size")
    with pytest.raises(InputError, match=r"open dimensions: 1x3x\?x\?"):
        build_engine(path, RTX, SM86)


def test_a_capability_that_there_is_not(tmp_path):
    with pytest.raises(InputError, match=r"nothing for compute capability 8\.7") as caught:
        build_engine(small(tmp_path / "m.onnx"), RTX, (8, 7))
    assert "8.6" in caught.value.mend


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"timing_cache": "t"}, "no --timing-cache"),
        ({"version_compatible": True}, "no --version-compatible"),
        ({"hardware_compatible": True}, "no --hardware-compatible"),
        ({"dla_core": 0, "precision": "fp16"}, "no --dla"),
        ({"gpu_fallback": True}, "what a DLA cannot do"),
    ],
)
def test_what_the_library_has_not_is_refused(asked, fact):
    with pytest.raises(InputError, match=fact):
        check(RTX, EngineOptions(**asked))


# TensorRT proper cannot be had here. TensorRT-RTX has its API, so it stands in for it, under its
# name and version: what is asked of the configuration is real, and what it then builds is RTX's.


class Over:
    """Stands before an object: hands on what it has not itself."""

    def __init__(self, own, **changes):
        vars(self).update(changes, own=own)

    def __getattr__(self, name):
        return getattr(self.own, name)

    def __setattr__(self, name, value):
        setattr(self.own, name, value)


def proper(version, configured=lambda config: config, **changes):
    """Gives TensorRT-RTX as TensorRT of this version.

    Args:
        version: The version.
        configured: Stands something before the builder's configuration.
        changes: Other attributes of the module.
    """

    class Builder(Over):
        def create_builder_config(self):
            return configured(self.own.create_builder_config())

        def build_serialized_network(self, network, config):
            config = getattr(config, "own", config)
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.SM86, 0)
            return self.own.build_serialized_network(network, config)

    changes["Builder"] = lambda logger: Builder(trt.Builder(logger))
    return Library(runtime="tensorrt", module=Over(trt, **changes), version=version)


@pytest.mark.parametrize(
    ("version", "precision", "flags", "is_typed"),
    [
        ("8.5.2", "fp16", ["FP16"], False),
        ("8.5.2", "int8", ["INT8"], False),
        ("8.6.1", "fp32", [], False),
        ("10.3.0", "fp16", [], True),
        ("11.0.0", "fp16", [], True),
    ],
)
def test_flags_are_for_weak_typing_only(tmp_path, version, precision, flags, is_typed):
    given = []
    library = proper(
        version,
        lambda config: Over(config, set_flag=given.append),
        BuilderFlag=Over(trt.BuilderFlag, FP16="FP16", INT8="INT8"),
        NetworkDefinitionCreationFlag=Over(
            None, __members__={"EXPLICIT_BATCH": 7, "STRONGLY_TYPED": 0}
        ),
    )
    assert _network_flags(library) == (1 << 0 if is_typed else 1 << 7)
    library = proper(
        version,
        lambda config: Over(config, set_flag=given.append),
        BuilderFlag=Over(trt.BuilderFlag, FP16="FP16", INT8="INT8"),
    )
    path = small(tmp_path / "m.onnx")
    built = build_engine(path, library, SM86, EngineOptions(precision=precision))
    assert given == flags
    assert built.information.kernels


def test_a_dla_core_that_is_not_here(tmp_path):
    given = []
    library = proper(
        "10.3.0",
        lambda config: Over(config, set_flag=given.append),
        BuilderFlag=Over(trt.BuilderFlag, FP16="FP16", INT8="INT8"),
    )
    asked = EngineOptions(precision="fp16", dla_core=0, gpu_fallback=True)
    with pytest.raises(MissingError, match="no DLA core 0 here") as caught:
        build_engine(small(tmp_path / "m.onnx"), library, SM86, asked)
    assert caught.value.exit_code == 3
    assert given == ["FP16"]  # a DLA is told by flags up to 10
    with pytest.raises(InputError, match="fp16 and int8 only"):
        check(library, EngineOptions(dla_core=0))


def test_a_timing_cache_is_read_and_written(tmp_path):
    seen = []

    def configured(config):
        return Over(
            config,
            create_timing_cache=lambda data: seen.append(data) or Over(None),
            set_timing_cache=lambda _, ignore_mismatch: not seen[-1].startswith(b"other"),
            get_timing_cache=lambda: Over(None, serialize=lambda: b"times"),
        )

    library = proper("10.3.0", configured)
    path, cache = small(tmp_path / "m.onnx"), tmp_path / "times.cache"
    asked = EngineOptions(timing_cache=cache)
    assert build_engine(path, library, SM86, asked).notes == ()
    assert cache.read_bytes() == b"times"
    build_engine(path, library, SM86, asked)
    assert seen == [b"", b"times"]
    cache.write_bytes(b"other device")
    (note,) = build_engine(path, library, SM86, asked).notes
    assert "another device or version" in note
    assert cache.read_bytes() == b"other device"
