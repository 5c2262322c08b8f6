"""Two engines side by side: every kernel in one group, matched by what both still know."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.engine.diff import diff
from edgeattn.engine.inspect import Row, traffic_of
from edgeattn.records.layers import Kernel, KernelTensor


def tensor(name, shape=(1, 8, 4, 4), dtype="fp32"):
    return KernelTensor(name=name, shape=shape, strides=(), dtype=dtype, layout="")


def kernel(nodes="", reads=("x",), writes=("y",), *, kind="kgen", shape=(1, 8, 4, 4), name=""):
    """A kernel; nodes with spaces between them."""
    return Kernel(
        name=name or f"k_{nodes}",
        kind=kind,
        inputs=tuple(tensor(one, shape) for one in reads),
        constants=(),
        outputs=tuple(tensor(one, shape) for one in writes),
        tactic="",
        stream=0,
        nodes=tuple(nodes.split()),
    )


def engine(*kernels):
    return tuple(
        Row(index=i, kernel=one, precision="fp32", traffic_bytes=one.traffic_bytes)
        for i, one in enumerate(kernels)
    )


def sides(groups):
    """The groups as numbers of kernels: A's and B's."""
    return [([row.index for row in group.a], [row.index for row in group.b]) for group in groups]


def test_one_kernel_against_three():
    a = engine(kernel("c/Conv"), kernel("s/Add s/Sigmoid s/Mul"), kernel("d/Conv"))
    b = engine(
        kernel("c/Conv"), kernel("s/Sigmoid"), kernel("s/Mul"), kernel("s/Add"), kernel("d/Conv")
    )
    before, group, after = diff(a, b)
    assert sides([before, group, after]) == [([0], [0]), ([1], [1, 2, 3]), ([2], [4])]
    assert before.is_equal
    assert after.is_equal
    assert not group.is_equal
    (fusion,) = group.fused_in_a
    assert (fusion.nodes, fusion.kernel, fusion.kernels) == (
        ("s/Sigmoid", "s/Mul", "s/Add"), 1, 3,
    )  # fmt: skip
    assert group.fused_in_b == ()
    assert (group.place, group.matched_by) == ("s", "nodes")
    assert group.delta_bytes == 2 * group.a[0].traffic_bytes
    (_, mirrored, _) = diff(b, a)
    assert mirrored.fused_in_b == (fusion,)
    assert mirrored.fused_in_a == ()


def test_fusions_that_overlap_are_one_group():
    a = engine(kernel("m/1 m/2"), kernel("m/3 m/4"))
    b = engine(kernel("m/1"), kernel("m/2 m/3"), kernel("m/4"))
    (group,) = diff(a, b)
    assert [one.nodes for one in group.fused_in_a] == [("m/1", "m/2"), ("m/3", "m/4")]
    assert [one.nodes for one in group.fused_in_b] == [("m/2", "m/3")]


def test_a_node_in_several_kernels_is_fused_where_one_of_them_has_all():
    a = engine(kernel("m/1 m/2"), kernel("m/1"))
    b = engine(kernel("m/1"), kernel("m/2 m/1"))
    (group,) = diff(a, b)
    assert group.fused_in_a == group.fused_in_b == ()
    assert group.is_equal


def test_a_node_of_one_engine_alone_ties_nothing():
    a = engine(kernel("m/1 m/Quantize"), kernel("n/2 m/Quantize"))
    b = engine(kernel("m/1"), kernel("n/2"))
    assert sides(diff(a, b)) == [([0], [0]), ([1], [1])]


def test_copies_go_to_the_kernel_that_reads_what_they_write():
    a = engine(
        kernel("c/Conv", ["x"], ["c"]),
        kernel("", ["c"], ["c1"]),
        kernel("", ["c1"], ["c2"]),
        kernel("p/Pool", ["c"], ["p"]),
        kernel("r/Mean", ["c2"], ["r"]),
        kernel("", ["r"], ["r1"]),
        kernel("", ["r1"], ["out"]),
    )
    b = engine(kernel("c/Conv"), kernel("p/Pool"), kernel("r/Mean"))
    assert sides(diff(a, b)) == [([0], [0]), ([1, 2, 4, 5, 6], [2]), ([3], [1])]


def test_a_name_that_is_used_again_is_read_after_it_is_written():
    a = engine(
        kernel("a/A", ["t"], ["u"]),
        kernel("", ["u"], ["t"]),
        kernel("b/B", ["t"], ["v"]),
    )
    assert sides(diff(a, engine(kernel("a/A"), kernel("b/B")))) == [([0], [0]), ([1, 2], [1])]


def test_copies_that_nothing_reads_or_writes_are_matched_by_shapes():
    a = engine(kernel("", ["x"], ["y"], shape=(2, 3)), kernel("", ["p"], ["q"], shape=(5,)))
    b = engine(kernel("", ["v"], ["w"], shape=(2, 3)))
    groups = diff(a, b)
    assert sides(groups) == [([0], [0]), ([1], [])]
    assert [group.matched_by for group in groups] == ["shapes", "nothing"]
    assert groups[0].is_equal


def test_what_was_lowered_is_found_by_its_module():
    a = engine(
        kernel("l.0.conv/Conv"),
        kernel("l.0.attention/Mean"),
        kernel("l.0.attention/Sub l.0.attention/Pow"),
        kernel("l.0.attention/Sigmoid l.0/Add"),
    )
    b = engine(
        kernel("l.0.conv/Conv"),
        kernel("l.0.attention/Mean_1 l.0.attention/Mul_3"),
        kernel("l.0.attention/Sigmoid_1 l.0/Add"),
    )
    same, group = diff(a, b)
    assert sides([same, group]) == [([0], [0]), ([1, 2, 3], [1, 2])]
    assert (group.place, group.matched_by) == ("l.0.attention", "module")
    assert group.nodes_only_in_a == tuple(
        f"l.0.attention/{name}" for name in ("Mean", "Sub", "Pow", "Sigmoid")
    )
    assert len(group.nodes_only_in_b) == 3


def test_the_nearest_module_around_it_will_do():
    a = engine(kernel("l.0.attention.fc1/Conv"), kernel("l.1.attention.fc1/Conv"))
    b = engine(kernel("l.1.attention/Conv"), kernel("l.0.attention/Conv"))
    groups = diff(a, b)
    assert sides(groups) == [([0], [1]), ([1], [0])]
    assert {group.matched_by for group in groups} == {"module"}


def test_a_module_that_the_other_has_not_is_no_match():
    a = engine(kernel("conv/Conv"), kernel("attention/Mean", shape=(9,)))
    b = engine(kernel("conv/Conv"))
    assert sides(diff(a, b)) == [([0], [0]), ([1], [])]


def test_kernels_of_a_module_that_share_all_nodes_stay_apart():
    a = engine(kernel("m/1"), kernel("m/2"), kernel("m/old"))
    b = engine(kernel("m/1"), kernel("m/2"), kernel("m/new"))
    assert sides(diff(a, b)) == [([0], [0]), ([1], [1]), ([2], [2])]


def test_the_names_of_torchs_older_exporter():
    a = engine(
        kernel("/layer1/layer1.0/conv2/Conv /layer1/layer1.0/Add /layer1/layer1.0/act/Relu"),
        kernel("/layer1/layer1.1/conv2/Conv"),
        kernel("/layer1/layer1.1/downsample/downsample.0/Conv"),
        kernel("/Add /fc/Gemm"),
    )
    b = engine(
        kernel("layer1.1.downsample.0/Conv"),
        kernel("/Add fc/Gemm"),
        kernel("layer1.1.conv2/Conv"),
        kernel("layer1.0.conv2/Conv"),
        kernel("layer1.0/Add layer1.0.act/Relu"),
    )
    groups = diff(a, b)
    assert sides(groups) == [([0], [3, 4]), ([1], [2]), ([2], [0]), ([3], [1])]
    assert groups[0].fused_in_a[0].nodes == (
        "layer1.0.conv2/Conv", "layer1.0/Add", "layer1.0.act/Relu",
    )  # fmt: skip
    assert all(not (one.nodes_only_in_a or one.nodes_only_in_b) for one in groups)


def test_without_names_by_kind_and_shapes_then_by_shapes():
    a = engine(
        kernel("Conv_0", kind="conv", shape=(4,)),
        kernel("Relu_1", kind="pointwise", shape=(4,)),
        kernel("Conv_2", kind="conv", shape=(4,)),
        kernel("Pool_3", kind="tiled", shape=(7,)),
        kernel("Gemm_4", kind="gemm", shape=(1,)),
    )
    b = engine(
        kernel("c", kind="pointwise", shape=(4,)),
        kernel("d", kind="conv", shape=(4,)),
        kernel("e", kind="conv", shape=(4,)),
        kernel("f", kind="cuda", shape=(7,)),
        kernel("g", kind="gemm", shape=(2,)),
    )
    groups = diff(a, b)
    assert sides(groups) == [
        ([0], [1]), ([1], [0]), ([2], [2]), ([3], [3]), ([], [4]), ([4], []),
    ]  # fmt: skip
    assert [one.matched_by for one in groups] == ["shapes"] * 4 + ["nothing"] * 2


def test_what_only_the_second_has_stands_behind_what_precedes_it():
    a = engine(kernel("m/1"), kernel("m/3"))
    b = engine(kernel("n/0", shape=(3,)), kernel("m/1"), kernel("n/2", shape=(2,)), kernel("m/3"))
    assert sides(diff(a, b)) == [([], [0]), ([0], [1]), ([], [2]), ([1], [3])]


def test_open_shapes_have_no_difference():
    (row,) = engine(kernel("m/1"))
    unknown = Row(index=0, kernel=row.kernel, precision="fp32", traffic_bytes=None)
    (group,) = diff([unknown], [row])
    assert group.delta_bytes is None
    assert not group.is_equal
    (group,) = diff([unknown], [unknown])
    assert group.is_equal


@pytest.mark.parametrize(("a", "b"), [((), ()), (engine(kernel("m/1")), ())])
def test_an_engine_without_kernels(a, b):
    assert sides(diff(a, b)) == [([row.index], []) for row in a]


NODES = st.lists(
    st.sampled_from([f"{m}/{k}" for m in ("a", "a.b", "c", "") for k in range(3)]), max_size=3
)
NAMES = st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=2)
KERNELS = st.builds(
    lambda nodes, reads, writes, kind, size: kernel(
        " ".join(nodes), reads, writes, kind=kind, shape=(size,)
    ),
    NODES, NAMES, NAMES, st.sampled_from(["kgen", "gemm"]), st.integers(1, 3),
)  # fmt: skip
ENGINES = st.lists(KERNELS, max_size=12).map(lambda kernels: engine(*kernels))


@given(a=ENGINES, b=ENGINES)
def test_every_kernel_is_in_one_group_and_the_sums_are_the_engines(a, b):
    groups = diff(a, b)
    assert sorted(row.index for group in groups for row in group.a) == list(range(len(a)))
    assert sorted(row.index for group in groups for row in group.b) == list(range(len(b)))
    assert sum(traffic_of(group.a) for group in groups) == traffic_of(a)
    assert sum(traffic_of(group.b) for group in groups) == traffic_of(b)
    assert sum(group.delta_bytes for group in groups) == traffic_of(b) - traffic_of(a)
    for group in groups:
        assert (group.matched_by == "nothing") == (not group.a or not group.b)
        for fusion in (*group.fused_in_a, *group.fused_in_b):
            assert fusion.kernels >= 2
            assert len(fusion.nodes) >= 2


@given(a=ENGINES, b=ENGINES)
def test_the_other_way_round_is_the_same(a, b):
    there = {(tuple(ours), tuple(theirs)) for ours, theirs in sides(diff(a, b))}
    back = {(tuple(theirs), tuple(ours)) for ours, theirs in sides(diff(b, a))}
    assert there == back


@given(a=ENGINES)
def test_an_engine_is_equal_to_itself(a):
    groups = diff(a, a)
    assert all(group.is_equal for group in groups)
    assert all(ours == theirs for ours, theirs in sides(groups))


def chain(count, nodes):
    return engine(*(kernel(nodes(i), [f"t{i}"], [f"t{i + 1}"]) for i in range(count)))


@pytest.mark.parametrize(
    ("in_a", "in_b"),
    [
        (lambda i: f"m{i}/a m{i}/b", lambda i: f"m{i // 2}/{'ab'[i % 2]}"),
        (lambda i: f"m/{i} m/{i + 1}", lambda i: f"m/{i} m/{i + 1}"),
        (lambda i: f"m/a{i}", lambda i: f"m/b{i}"),
        (lambda i: f"m/a{i} m/all", lambda i: f"m/b{i} m/all"),
        (lambda _: "", lambda _: ""),
        (lambda i: f"a{i}", lambda i: f"b{i}"),
    ],
)
def test_time_grows_with_the_kernels(in_a, in_b):
    a, b = chain(5000, in_a), chain(5000, in_b)
    start = time.process_time()
    diff(a, b)
    assert time.process_time() - start < 5  # about 0.3; what is quadratic takes minutes
