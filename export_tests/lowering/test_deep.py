"""Long regions without a convolution: chains, residual streams and trees of thousands of nodes."""

import pytest

from export_tests.lowering.graphs import TARGETS, Graph, gated, lowered
from export_tests.lowering.kit import as_double, assert_equal64

SHAPE = (6, 3, 2)


def _chain(graph, x, count):
    for place in range(count):
        op_type = ("Add", "Sigmoid", "Mul", "LeakyRelu")[place % 4]
        inputs = [x, graph.random(6, 1, 1)] if op_type in {"Add", "Mul"} else [x]
        x = graph.op(op_type, *inputs)
    return x


def _residual(graph, x, count):
    for _ in range(count // 3):
        x = graph.op("Add", x, graph.op("Mul", graph.op("Sigmoid", x), graph.random(6, 1, 1)))
    return x


def _products(graph, x, count):
    for _ in range(count // 2):
        x = graph.op("Mul", x, graph.op("Sigmoid", x))
    return x


def _differences(graph, x, count):
    for _ in range(count // 3):
        x = graph.op("Neg", graph.op("Add", x, graph.op("Tanh", x)))
    return x


def _tree(graph, x, count):
    leaves = [graph.op("Mul", x, graph.random(6, 1, 1)) for _ in range(count // 3)]
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=False)
        leaves = [graph.op("Max", *pair) for pair in pairs] + leaves[len(leaves) & ~1 :]
    return leaves[0]


def _concats(graph, x, count):
    whole = x
    for _ in range(count // 4):
        parts = graph.split(whole, [3, 3])
        whole = graph.op("Concat", *(graph.op("Sigmoid", part) for part in parts), axis=1)
    return whole


BODIES = {f.__name__[1:]: f for f in (_chain, _residual, _products, _differences, _tree, _concats)}


def _model(name, count):
    graph = Graph(batch=1)
    x = graph.input(*SHAPE)
    squeezed = gated(lambda graph, x: graph.reduce("ReduceMean", x, [2, 3]))(graph, x)
    graph.output(BODIES[name](graph, squeezed, count), rank=4)
    return graph.model()


@pytest.mark.parametrize("name", BODIES)
def test_deep_regions_are_exact(name):
    double = as_double(_model(name, 400))
    for target in TARGETS:
        after, record = lowered(double, target)
        assert_equal64(double, after, [[1, *SHAPE]], rel=1e-9)
        assert record.rewrites


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_thousands_of_nodes(name):
    for target in TARGETS:
        _, record = lowered(_model(name, 5_000), target)
        assert record.rewrites
