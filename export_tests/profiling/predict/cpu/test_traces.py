"""ONNX Runtime, predicted on a CPU's profile: small networks, of which the graph alone is real."""

from __future__ import annotations

import pytest

from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.workflows.profile import profile
from export_tests.profiling.nets import residual

OPTIONS = ProfileOptions(device="raspberry-pi-5")


def item(path):
    return Item(path=path, name=path.stem)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    paths = [residual(folder / f"{name}.onnx", name) for name in ("none", "simam")]
    stages = []
    found = profile([item(path) for path in paths], OPTIONS, on_stage=stages.append)
    return [one.row for one in found], stages


def test_the_trace(rows):
    (plain, attended), stages = rows
    trace = attended.trace
    assert (trace.evidence, trace.runtime) == ("predicted", "onnxruntime")
    assert (trace.machine.device, trace.machine.threads) == ("raspberry-pi-5", 4)
    assert trace.machine.title == "Raspberry Pi 5, 4 threads"
    assert trace.latency_ms.samples == ()
    low, high = trace.interval_ms
    assert 0 < low < trace.latency_ms.p50 < high
    # Nobody measured that device.
    assert high > 1.5 * trace.latency_ms.p50
    assert "guesses" in trace.machine.facts
    assert plain.trace.sites == ()
    assert [site.attention for site in trace.sites] == ["simam", "simam"]
    assert stages == [
        "read", "kernels of none 1/2", "kernels of simam 2/2", "simam without its sites",
    ]  # fmt: skip


def test_its_kernels(rows):
    trace = rows[0][1].trace
    floor = find("raspberry-pi-5").kernel_floor_us
    for one in trace.kernels:
        low, high = one.interval_us
        assert 0 < low < one.time_us < high
        assert one.time_us >= floor
        assert one.bound in {"compute", "traffic", "floor"}
    total = sum(one.time_us for one in trace.kernels)
    assert total == pytest.approx(1e3 * trace.latency_ms.p50)
    assert trace.end_to_end.latency_us == pytest.approx(total)
    assert sum(one.macs for one in trace.kernels) == sum(node.macs for node in trace.nodes)
    assert any(one.op == "ReorderOutput" for one in trace.kernels)


def test_what_the_sites_cost(rows):
    (plain, attended), _ = rows
    above = attended.difference
    assert above.ci95 is None
    assert above.p50_ms > 0
    identity = attended.trace.identity
    assert identity.replaced == ("layer1.0.attention", "layer2.0.attention")
    assert identity.difference.p50_ms == pytest.approx(above.p50_ms, rel=0.05)
    assert plain.trace.identity is None
    found = attribute(attended.trace)
    assert found.coverage_us["owned"] >= 0.95 * found.time_us
    assert all(one.cost.marginal_us > 0 for one in found.sites)


def test_fewer_threads_take_longer(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    both = [
        profile([item(path)], ProfileOptions(device="raspberry-pi-5", threads=threads))[0].row.trace
        for threads in (1, 4)
    ]
    assert both[0].latency_ms.p50 > both[1].latency_ms.p50
    assert both[0].machine.threads == 1


def test_without_identity(tmp_path):
    path = residual(tmp_path / "a.onnx")
    (row,) = profile([item(path)], ProfileOptions(device="rk3588", marginal=False))
    assert row.row.trace.identity is None


def test_more_threads_than_cores(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    with pytest.raises(InputError, match="are of 4 threads"):
        profile([item(path)], ProfileOptions(device="rk3588", threads=8))
