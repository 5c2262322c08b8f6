"""What each picture shows, of small traces whose sums are known."""

from __future__ import annotations

import pytest

from edgeattn.profiling.attribution import attribute
from edgeattn.report.bands import hidden_cost
from edgeattn.report.pictures import icicle, kinds, roofline
from export_tests.report.traces import kernel, node, plain, report, trace


def unowned():
    """A trace with a kernel that nobody is known to own."""
    known = trace()
    return trace(kernels=(*known.kernels, kernel("k-lost", "other", 40.0, [], traffic=None)))


def test_tiles_lie_inside_of_their_parents_beside_each_other():
    tiles = icicle(attribute(unowned()))
    assert tiles[0].time_us == pytest.approx(450)
    for place, tile in enumerate(tiles):
        inside = [one for one in tiles if one.parent == place]
        end = tile.start_us
        for one in inside:
            assert one.depth == tile.depth + 1
            assert one.start_us == pytest.approx(end)
            end += one.time_us
        assert end + tile.self_us == pytest.approx(tile.start_us + tile.time_us) or not inside


def test_tiles_know_what_is_a_site_and_what_is_not_known():
    tiles = {tile.path: tile for tile in icicle(attribute(unowned()))}
    assert tiles["layer1.0.attention"].is_site
    assert not tiles["layer1.0.conv"].is_site
    assert tiles["layer1.0.attention"].time_us == pytest.approx(55)
    assert tiles["unattributable"].time_us == pytest.approx(40)
    assert tiles["unattributable"].start_us == pytest.approx(410)


def test_a_number_is_named_with_what_it_counts():
    names = {tile.path: tile.name for tile in icicle(attribute(trace()))}
    assert names["layer1.0"] == "layer1.0"
    assert names["layer1.0.conv"] == "conv"


def test_a_site_without_macs_has_no_width_but_its_share_of_time():
    found = hidden_cost(attribute(trace()))
    tiers = {tier.measure: tier for tier in found.tiers}
    place = next(at for at, band in enumerate(found.bands) if band.name == "layer2.0.attention")
    macs, time = tiers["macs"].edges, tiers["time_us"].edges
    assert macs[place] == macs[place + 1]
    assert time[place + 1] - time[place] == pytest.approx(55 / 410)
    assert tiers["macs"].site_share == 0
    assert tiers["time_us"].site_share == pytest.approx(110 / 410)


def test_bands_are_the_whole_and_follow_the_stages():
    one = attribute(unowned())
    found = hidden_cost(one)
    assert [band.name for band in found.bands] == [
        "conv1", "layer1", "layer1.0.attention", "layer2", "layer2.0.attention", "unattributable",
    ]  # fmt: skip
    assert sum(band.time_us for band in found.bands) == pytest.approx(one.time_us)
    assert sum(band.macs for band in found.bands) == one.whole.macs
    assert sum(band.traffic_bytes for band in found.bands) == one.whole.traffic_bytes
    for tier in found.tiers:
        assert tier.edges[0] == 0
        assert tier.edges[-1] == pytest.approx(1)
        assert list(tier.edges) == sorted(tier.edges)


def test_a_measure_that_is_not_known_is_left_out():
    known = trace()
    nodes = tuple(one.model_copy(update={"macs": 0}) for one in known.nodes)
    tiers = hidden_cost(attribute(trace(nodes=nodes))).tiers
    assert [tier.measure for tier in tiers] == ["time_us", "traffic_bytes"]


def test_many_narrow_stages_become_one_band():
    known = plain()
    nodes = [node(f"Relu_{at}", "Relu") for at in range(40)]
    kernels = [kernel(f"k{at}", "pointwise", 1.0, [f"Relu_{at}"]) for at in range(40)]
    wide = trace(
        attended=False, nodes=(*known.nodes, *nodes), kernels=(*known.kernels, *kernels), sites=()
    )
    bands = hidden_cost(attribute(wide)).bands
    assert [band.name for band in bands] == ["conv1", "layer1", "layer2", "Relu_0 … Relu_39"]
    assert bands[-1].time_us == pytest.approx(40)


def test_kinds_are_the_whole_and_sites_come_last():
    groups = kinds(report(plain(), trace(), trace(predicted=True)))
    assert list(groups) == ["measured", "predicted"]
    assert [bar.place for bar in groups["measured"]] == [0, 1]
    bar = groups["measured"][1]
    assert [(part.kind, part.is_site, part.time_us) for part in bar.parts] == [
        ("matmul", False, 300), ("reduction", True, 40), ("pointwise", True, 60),
        ("shuffle", True, 10),
    ]  # fmt: skip
    assert bar.interval_us is None
    low, high = groups["predicted"][0].interval_us
    assert (low, high) == pytest.approx((0.8 * 410, 1.2 * 410))


def test_the_roofline_counts_what_flop_counters_skip():
    found = roofline(attribute(trace()))
    points = {point.owned.kernel.name: point for point in found.points}
    assert points["k-conv1"].intensity == pytest.approx(20)
    assert points["k-conv1"].gops == pytest.approx(20)
    gate = points["k-layer1-gate"]
    assert gate.owned.kernel.macs == 0
    assert (gate.operations, gate.intensity) == (8000, pytest.approx(0.08))
    copy = points["k-layer1-copy"]
    assert (copy.operations, copy.gops, copy.gbps) == (0, 0, pytest.approx(20))
    assert (found.gbps, found.gops, found.left_out) == (50, 1500, 0)


def test_the_roofline_leaves_out_whose_bytes_are_not_known():
    found = roofline(attribute(unowned()))
    assert found.left_out == 1
    assert "k-lost" not in {point.owned.kernel.name for point in found.points}


def test_operations_of_a_node_in_two_kernels_are_counted_once():
    known = trace()
    gates = tuple(
        one.model_copy(update={"name": f"{one.name}{half}"})
        for one in known.kernels
        if one.name == "k-layer1-gate"
        for half in "ab"
    )
    rest = tuple(one for one in known.kernels if one.name != "k-layer1-gate")
    points = roofline(attribute(trace(kernels=(*rest, *gates)))).points
    halves = [point.operations for point in points if "layer1-gate" in point.owned.kernel.name]
    assert halves == [4000, 4000]
