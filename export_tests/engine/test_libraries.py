"""What the two libraries differ in: said before it is asked, with the version and the reason."""

from __future__ import annotations

import types

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine.libraries import FEATURES, RUNTIMES, Library, check_runtime, load


def library(runtime, version):
    return Library(runtime=runtime, module=types.SimpleNamespace(), version=version)


@pytest.mark.parametrize(
    ("runtime", "version", "has", "has_not"),
    [
        ("tensorrt", "8.2.1.8", {"weak typing", "--dla", "--timing-cache"},
         {"strong typing", "--workspace", "--optimization-level", "building for another GPU"}),
        ("tensorrt", "8.6.1", {"weak typing", "--workspace", "--version-compatible"},
         {"strong typing"}),
        ("tensorrt", "10.3.0.26", {"strong typing", "weak typing", "--hardware-compatible"},
         {"building for another GPU"}),
        ("tensorrt", "11.0.0", {"strong typing", "--dla"}, {"weak typing"}),
        ("tensorrt-rtx", "1.7.1.116", {"strong typing", "building for another GPU", "--workspace"},
         {"weak typing", "--dla", "--timing-cache", "--version-compatible"}),
    ],
)  # fmt: skip
def test_the_table(runtime, version, has, has_not):
    found = library(runtime, version)
    assert {feature for feature in FEATURES if found.has(feature)} >= has
    assert not {feature for feature in has_not if found.has(feature)}
    for feature in has_not:
        with pytest.raises(InputError) as caught:
            found.require(feature)
        assert version in caught.value.fact
        assert feature in caught.value.fact


@pytest.mark.parametrize(
    ("version", "on_gpu", "on_dla"),
    [("8.5.2", False, False), ("10.3", True, False), ("11.4.1", True, True)],
)
def test_a_network_has_types_of_its_own(version, on_gpu, on_dla):
    found = library("tensorrt", version)
    assert (found.is_typed(on_dla=False), found.is_typed(on_dla=True)) == (on_gpu, on_dla)


@pytest.mark.parametrize(
    ("runtime", "version", "feature", "reason"),
    [
        ("tensorrt", "8.2.1", "--optimization-level", "it came with 8.6"),
        ("tensorrt", "11.1", "weak typing", "it was removed in 11.0"),
        ("tensorrt-rtx", "1.7", "weak typing", "it never had it"),
        ("tensorrt-rtx", "1.7", "--dla", "GPUs only"),
    ],
)
def test_the_reason_is_said(runtime, version, feature, reason):
    with pytest.raises(InputError, match=reason):
        library(runtime, version).require(feature)


def test_tensorrt_rtx_builds_for_what_its_own_module_names():
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    found = load("tensorrt-rtx")
    assert found.version == trt.__version__
    assert list(found.capabilities()) == sorted(found.capabilities())
    assert {(7, 5), (8, 0), (8, 6), (8, 9), (12, 0)} <= set(found.capabilities())
    assert (8, 7) not in found.capabilities()
    assert library("tensorrt", "10.3").capabilities() == {}


def test_a_library_that_does_not_load(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(MissingError, match="TensorRT does not load") as caught:
        load("tensorrt")
    assert "JetPack" in caught.value.mend


def test_a_runtime_that_there_is_not():
    assert [check_runtime(name) for name in RUNTIMES] == list(RUNTIMES)
    with pytest.raises(InputError, match="tensorrt and tensorrt-rtx"):
        check_runtime("trt")
