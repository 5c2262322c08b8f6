"""What is built for, and by which library; what cannot be built here, and the ways out."""

from __future__ import annotations

import sys
import types

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine import target as targets
from edgeattn.engine.gpu import Gpu
from edgeattn.engine.libraries import dotted
from edgeattn.engine.target import choose, parse_capability

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")


def chosen(device=None, capability=None, runtime=None, as_plan=False):
    return choose(device=device, capability=capability, runtime=runtime, as_plan=as_plan)


@pytest.fixture
def gpu(monkeypatch):
    """Says which GPU is here; None by default, whatever the machine has."""

    def put(name=None, capability=None):
        found = None if name is None else Gpu(name=name, compute_capability=capability)
        monkeypatch.setattr(targets, "local_gpu", lambda: found)

    put()
    return put


@pytest.fixture
def tensorrt(monkeypatch):
    """Installs a TensorRT that says its version, and no more: the choice asks nothing else."""

    def put(version):
        monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__=version))

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    return put


@pytest.mark.parametrize("text", ["8.6", "sm_86", "sm86", "86", " SM_86 "])
def test_a_compute_capability_is_read(text):
    assert parse_capability(text) == (8, 6)


def test_a_compute_capability_of_two_digits():
    assert parse_capability("12.0") == parse_capability("sm_120") == (12, 0)
    assert dotted((12, 0)) == "12.0"


@pytest.mark.parametrize("text", ["", "8", "8.6.1", "x", "-8.6", "8,6"])
def test_what_is_none_is_refused(text):
    with pytest.raises(InputError, match="no compute capability"):
        parse_capability(text)


def test_without_a_gpu_tensorrt_rtx_builds(gpu, tensorrt):
    found = chosen()
    assert (found.library.runtime, found.compute_capability) == ("tensorrt-rtx", (8, 6))
    assert found.plan_for is None
    assert "no GPU is here" in found.reason
    assert chosen(device="rtx-4090").compute_capability == (8, 9)
    assert chosen(capability="7.5").compute_capability == (7, 5)


def test_tensorrt_serves_its_own_gpu_and_no_other(gpu, tensorrt):
    tensorrt("10.3.0")
    assert chosen(capability="8.6").library.runtime == "tensorrt-rtx"  # no GPU is here
    gpu("Orin", (8, 7))
    found = chosen(device="jetson")
    assert (found.library.runtime, found.compute_capability) == ("tensorrt", (8, 7))
    assert chosen().library.runtime == "tensorrt"
    assert chosen(capability="8.6").library.runtime == "tensorrt-rtx"
    with pytest.raises(MissingError, match="builds for the Orin"):
        chosen(capability="8.6", runtime="tensorrt")


def test_a_jetson_is_refused_with_two_ways_out(gpu, tensorrt):
    with pytest.raises(MissingError, match="jetson-orin-nano-8gb") as caught:
        chosen(device="jetson")
    assert caught.value.exit_code == 3
    assert "trtexec --onnx" in caught.value.mend
    assert "--stronglyTyped" in caught.value.mend
    assert "--device jetson-orin-nano-8gb --plan" in caught.value.mend
    with pytest.raises(MissingError) as caught:
        chosen(device="jetson-nano")  # TensorRT 8 knows no strong typing
    assert "--stronglyTyped" not in caught.value.mend


@pytest.mark.parametrize(
    ("device", "nearest"),
    [("jetson", (8, 6)), ("jetson-agx-xavier", (7, 5)), ("jetson-agx-thor-t5000", (12, 0))],
)
def test_a_plan_is_stamped(gpu, tensorrt, device, nearest):
    found = chosen(device=device, as_plan=True)
    assert found.compute_capability == nearest
    assert found.plan_for == found.device.name
    assert dotted(nearest) in found.reason


def test_a_plan_of_what_can_be_built_is_an_engine(gpu, tensorrt):
    assert chosen(device="rtx-3090", as_plan=True).plan_for is None
    assert chosen(capability="8.7", as_plan=True).plan_for == "compute capability 8.7"


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"device": "jetson", "capability": "8.7"}, "is another"),
        ({"device": "jetsn"}, "no device"),
        ({"device": "raspberry-pi-5"}, "no GPU"),
        ({"runtime": "trt"}, "no runtime"),
        ({"capability": "Orin"}, "no compute capability"),
    ],
)
def test_what_cannot_be_meant_is_refused(gpu, tensorrt, asked, fact):
    with pytest.raises(InputError, match=fact):
        chosen(**asked)


def test_a_plan_by_tensorrt_is_refused(gpu, tensorrt):
    with pytest.raises(MissingError):
        chosen(device="jetson", runtime="tensorrt", as_plan=True)
