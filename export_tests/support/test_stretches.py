"""Where a graph changes between DLA and GPU, against every way to place its unknown nodes."""

from __future__ import annotations

from itertools import product

import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.graph import shapes
from edgeattn.support.dla import DLA
from edgeattn.support.stretches import _crossings, _Ways, entries, stretches

ORIN = DLA("orin", "10.3", "fp16")


def network(makers):
    """Return a graph in which node i sums what nodes makers[i] give; none reads the input."""
    x = ir.val("x", ir.DataType.FLOAT, [1, 2, 1, 1])
    nodes = []
    for place, read in enumerate(makers):
        sizes = [1, 2 ** (place % 4), 1, 1]
        output = ir.val(f"v{place}", ir.DataType.FLOAT, sizes)
        inputs = [nodes[one].outputs[0] for one in read] or [x]
        nodes.append(ir.Node("", "Sum", inputs, outputs=[output], name=str(place)))
    last = [node.outputs[0] for node in nodes[-1:]]
    return ir.Graph([x], last, nodes=nodes, opset_imports={"": 17})


@st.composite
def networks(draw, *, most=7):
    count = draw(st.integers(1, most))
    makers = [[]] + [
        sorted(draw(st.sets(st.integers(0, place - 1), min_size=1, max_size=3)))
        for place in range(1, count)
    ]
    sides = draw(
        st.lists(
            st.sampled_from(["yes", "no", "unknown"]),
            min_size=len(makers),
            max_size=len(makers),
        )
    )
    return makers, sides


def placed(makers, there):
    """Return the changes and the bytes of one placement."""
    crossed = [
        place
        for place in range(len(makers))
        if any(place in read and there[i] != there[place] for i, read in enumerate(makers))
    ]
    return len(crossed), sum(2 * 2 ** (place % 4) for place in crossed)


@given(networks())
def test_entries_are_where_values_change_or_may(drawn):
    makers, sides = drawn
    graph = network(makers)
    verdicts = dict(zip(graph, sides, strict=True))
    found = entries(graph, verdicts)
    sure, may = (sum(one[place] for one in found.values()) for place in (0, 1))
    least, most = stretches(graph, verdicts).changes
    assert sure <= least <= most <= sure + may
    assert "unknown" in sides or (may == 0 and sure == least == most)


@given(networks())
def test_changes_are_the_least_and_the_most_of_all_placements(drawn):
    makers, sides = drawn
    graph = network(makers)
    found = stretches(graph, dict(zip(graph, sides, strict=True)))
    options = [{"yes": [True], "no": [False]}.get(side, [True, False]) for side in sides]
    all_of_them = [placed(makers, there) for there in product(*options)]
    assert found.changes == (min(c for c, _ in all_of_them), max(c for c, _ in all_of_them))
    assert found.copied_bytes == (min(b for _, b in all_of_them), max(b for _, b in all_of_them))


def leads(makers, start, end, through):
    """Return whether a way leads from a node to another through some."""
    return any(
        one == start or (one in through and leads(makers, start, one, through))
        for one in makers[end]
    )


def is_whole(makers, part):
    outside = set(range(len(makers))) - part
    return not any(
        leads(makers, start, over, outside) and leads(makers, over, end, outside)
        for start in part
        for end in part
        for over in outside
    )


@given(networks())
def test_parts_are_whole_and_none_could_be_larger(drawn):
    makers, sides = drawn
    graph = network(makers)
    nodes = list(graph)
    ways = _Ways(nodes, list(_crossings(nodes, 2)))
    there = [node for node, side in zip(nodes, sides, strict=True) if side == "yes"]
    parts = [{int(node.name) for node in part.nodes} for part in ways.parts(there)]
    assert sorted(one for part in parts for one in part) == [int(node.name) for node in there]
    for part in parts:
        assert is_whole(makers, part)
        for other in parts:
            touch = any({*makers[one]} & part for one in other)
            assert part is other or not touch or not is_whole(makers, part | other)


@given(networks(most=6))
def test_loadables_are_those_of_all_placements(drawn):
    makers, sides = drawn
    graph = network(makers)
    nodes = list(graph)
    ways = _Ways(nodes, list(_crossings(nodes, 2)))
    options = [{"yes": [True], "no": [False]}.get(side, [True, False]) for side in sides]
    counts = [
        len(ways.parts([node for node, is_there in zip(nodes, there, strict=True) if is_there]))
        for there in product(*options)
    ]
    found = stretches(graph, dict(zip(nodes, sides, strict=True)))
    assert found.loadables == (min(counts), max(counts))


def test_many_unknown_nodes_give_bounds():
    graph = network([[], *([one] for one in range(29))])
    nodes = list(graph)
    found = stretches(graph, dict(zip(nodes, ["yes", *["unknown"] * 28, "no"], strict=True)))
    assert found.changes == (0, 29)
    assert found.loadables[0] == 1
    assert found.loadables[1] >= 15


def whole(body, opset=17):
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,8,14,14] x) => (y) {{ {body} }}'
    )
    shapes.find(model)
    return model.graph


def found(body):
    graph = whole(body)
    return stretches(graph, {node: ORIN.takes(node).verdict for node in graph})


def test_a_gate_whose_mean_is_on_the_gpu_changes_twice():
    said = found("a = Relu(x) m = GlobalAveragePool(a) g = Sigmoid(m) y = Mul(a, g)")
    # The map goes to the mean, and the mean comes back: as much as they take in fp16.
    assert (said.changes, said.copied_bytes) == ((2, 2), (2 * (8 * 14 * 14 + 8),) * 2)
    assert said.loadables == (2, 2)


def test_a_network_that_stays_changes_nowhere():
    said = found("a = Relu(x) m = MaxPool <kernel_shape=[7,7]> (a) y = Sigmoid(m)")
    assert (said.changes, said.loadables, said.copied_bytes) == ((0, 0), (1, 1), (0, 0))


def test_what_gives_the_output_its_shape_is_no_change():
    pooled = "a = MaxPool <kernel_shape=[7,7], strides=[7,7]> (x) "
    assert found(f"{pooled} y = Flatten(a)").changes == (0, 0)
    assert found(f"{pooled} b = Flatten(a) y = Cast <to=10> (b)").changes == (0, 0)
    assert found(f"{pooled} b = Flatten(a) y = Exp(b)").changes == (1, 1)
    assert found("a = Identity(x) y = Relu(a)").changes == (0, 0)


def test_what_is_left_out_or_computed_at_build_is_on_no_side():
    assert found("m = GlobalAveragePool(x) d = Dropout(m) y = Exp(d)").changes == (0, 0)
    assert found("a = Relu(x) d = Dropout(a) y = Exp(d)").changes == (1, 1)
    body = "a = Relu(x) s = Shape(x) f = Cast <to=1> (s) b = Sqrt(f) c = ReduceMax <keepdims=0> (b)"
    assert found(f"{body} y = Mul(a, c)").changes == (0, 0)


def test_a_body_reads_what_lies_around_it():
    body = (
        "a = Relu(x) c = Constant <value = bool {1}>()"
        " y = If (c) <then_branch = t () => (p) { p = Sigmoid(a) },"
        " else_branch = e () => (q) { q = Tanh(a) }>"
    )
    assert found(body).changes == (1, 1)


def test_an_empty_graph():
    assert found("y = Identity(x)").changes == (0, 0)
