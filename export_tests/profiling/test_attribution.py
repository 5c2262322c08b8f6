"""The attribution adds up, whatever the trace; and its figures are what their names say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling.attribution import STATUSES, attribute
from edgeattn.records.trace import EndToEnd, Identity, Site
from export_tests.profiling.traces import kernel, node, trace

SITE = "layer1.0.attention"
NODES = [
    node("conv1/Conv", "Conv", macs=4000, element_ops=0),
    node("layer1.0.conv2/Conv", "Conv", macs=6000),
    node("layer1.0.act/Relu", "Relu", element_ops=10),
    node(f"{SITE}/ReduceMean", "ReduceMean", site=SITE, element_ops=50),
    node(f"{SITE}.fc/Conv", "Conv", site=SITE, macs=100),
    node(f"{SITE}/Mul", "Mul", site=SITE, element_ops=50),
    node("layer2.0.conv1/Conv", "Conv", macs=10_000),
]
KERNELS = [
    kernel("a", ["conv1/Conv"], kind="matmul", time_us=10, macs=4000, traffic_bytes=1000),
    kernel("b", ["layer1.0.conv2/Conv"], kind="matmul", time_us=30, macs=6000),
    kernel("c", [f"{SITE}/ReduceMean"], kind="reduction", time_us=6, traffic_bytes=20_000),
    kernel("d", [f"{SITE}.fc/Conv"], kind="matmul", time_us=4, macs=100),
    kernel("e", [f"{SITE}/Mul", "layer1.0.act/Relu"], time_us=10, traffic_bytes=40_000),
    kernel("f", ["layer2.0.conv1/Conv"], kind="matmul", time_us=40, macs=10_000),
    kernel("g", time_us=1),
]


def drawn_up(**more):
    sites = [Site(path=SITE, attention="se", shape=(8, 4, 4), params=12)]
    return attribute(trace(KERNELS, NODES, sites, **more))


def test_a_site():
    (found,) = drawn_up().sites
    cost = found.cost
    assert cost.time_us == 20
    assert (cost.params, cost.macs, cost.element_ops, cost.launches) == (12, 100, 100, 3)
    assert cost.traffic_bytes == 60_100
    assert cost.floor_us == pytest.approx(6.01)  # at 10 GB/s
    # The backbone's convolutions: 20,000 MACs in 80 µs.
    assert cost.flops_predicted_us == pytest.approx(0.4)
    assert cost.hidden_cost_factor == pytest.approx(50)
    assert cost.marginal_us is None
    assert cost.broken_fusion_us is None


def test_bytes_that_no_kernel_tells_are_not_known():
    silent = [one.model_copy(update={"traffic_bytes": None}) for one in KERNELS]
    sites = [Site(path=SITE, attention="se", shape=(8, 4, 4), params=12)]
    found = attribute(trace(silent, NODES, sites))
    assert {found.whole.traffic_bytes, found.whole.floor_us} == {None}
    assert {one.traffic_bytes for one in (*found.kinds, *found.stages)} == {None}
    first = silent[0].model_copy(update={"traffic_bytes": 0})
    assert attribute(trace([first, *silent[1:]], NODES, sites)).whole.traffic_bytes == 0


def test_all_sites_and_the_whole():
    found = drawn_up(params=5000)
    assert found.attention.time_us == 20
    assert found.attention_share == pytest.approx(20 / 101)
    assert found.whole.macs == 20_100
    assert found.whole.params == 5000
    assert found.whole.launches == 7
    assert found.conv_macs_per_us == pytest.approx(250)


def test_a_site_without_macs_has_an_infinite_ratio():
    site = Site(path=SITE, attention="simam", params=0)
    nodes = [n.model_copy(update={"macs": 0}) if n.site else n for n in NODES]
    (found,) = attribute(trace(KERNELS, nodes, [site])).sites
    assert found.cost.flops_predicted_us == 0
    assert found.cost.hidden_cost_factor is None


def test_kinds_and_stages():
    found = drawn_up()
    kinds = {one.name: one.time_us for one in found.kinds}
    assert kinds == {"matmul": 84, "reduction": 6, "pointwise": 11}
    assert {one.name: one.time_us for one in found.site_kinds} == {
        "matmul": 4, "reduction": 6, "pointwise": 10,
    }  # fmt: skip
    assert {one.name: one.time_us for one in found.stages} == {
        "conv1": 10, "layer1": 50, "layer2": 40,
    }  # fmt: skip


def test_a_container_that_holds_most_gives_its_children_as_stages():
    nodes = [node(f"features.{place}/Conv", "Conv") for place in range(3)]
    kernels = [kernel(f"k{n}", [one.name], time_us=1.0) for n, one in enumerate(nodes)]
    found = attribute(trace(kernels, nodes))
    assert [one.name for one in found.stages] == ["features.0", "features.1", "features.2"]


def test_the_tree():
    tree = {one.path: one for one in drawn_up().modules}
    assert tree["layer1"].time_us == tree["layer1.0"].time_us == 50
    assert tree["layer1"].self_us == 0
    assert tree[SITE].time_us == 20
    assert tree[SITE].self_us == 16
    assert tree[SITE].site == tree[f"{SITE}.fc"].site == SITE
    assert tree["layer1.0"].site == ""


def test_coverage_is_of_all():
    found = drawn_up()
    assert found.coverage_us == {"owned": 100, "shared": 0, "unattributable": 1}
    assert sum(found.coverage_bytes.values()) == found.whole.traffic_bytes


def test_marginals_come_of_the_model_without_its_sites():
    plain = [
        KERNELS[0],
        kernel("b", ["layer1.0.conv2/Conv", "layer1.0.act/Relu"], kind="matmul", time_us=33),
        KERNELS[5],
        KERNELS[6],
    ]
    identity = Identity(kernels=tuple(plain), difference=None, replaced=(SITE,), kept={})
    found = drawn_up(identity=identity)
    cost = found.sites[0].cost
    assert cost.marginal_us == pytest.approx(30 + 20 - 33)
    assert cost.broken_fusion_us == pytest.approx(17 - 20)
    assert found.attention.marginal_us == cost.marginal_us


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ({"latency_us": 90}, "Profiling adds to kernels: 1.6 µs at each of 7 kernels."),
        ({"latency_us": 90, "streams": 2}, "2 streams overlap, and profiling adds"),
        ({"latency_us": 120}, "the runtime itself and its threads' waking up: 2.7 µs"),
        ({"latency_us": 120, "enqueue_us": 110}, "The host: enqueuing takes 110 µs"),
    ],
)
def test_reconciliation_of_a_measurement(end, cause):
    found = drawn_up(end_to_end=EndToEnd(**end)).reconciliation
    assert found.sum_us == 101
    assert found.gap_us == end["latency_us"] - 101
    assert cause in found.cause


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ({"latency_us": 101}, "No gap"),
        ({"latency_us": 90, "streams": 2}, "2 streams: kernels on them overlap."),
    ],
)
def test_reconciliation_of_a_prediction(end, cause):
    found = drawn_up(evidence="predicted", end_to_end=EndToEnd(**end))
    assert cause in found.reconciliation.cause


def test_an_empty_trace():
    found = attribute(trace([]))
    assert found.time_us == 0
    assert found.attention is None
    assert found.conv_macs_per_us is None


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([one.name for one in NODES]), max_size=4),
            st.floats(0, 1e4),
            st.one_of(st.none(), st.integers(0, 10**9)),
        ),
        max_size=12,
    )
)
def test_all_of_it_adds_up(drawn):
    kernels = [
        kernel(f"k{place}", names, time_us=time_us, traffic_bytes=traffic)
        for place, (names, time_us, traffic) in enumerate(drawn)
    ]
    found = attribute(trace(kernels, NODES, [SITE]))
    total = sum(one.time_us for one in kernels)
    attributed = total - found.coverage_us["unattributable"]
    assert sum(found.coverage_us[status] for status in STATUSES) == pytest.approx(total)
    assert sum(one.time_us for one in found.kinds) == pytest.approx(total)
    assert sum(one.time_us for one in found.stages) == pytest.approx(attributed)
    assert sum(one.self_us for one in found.modules) == pytest.approx(attributed)
    assert found.attention.time_us <= total * (1 + 1e-9)
