"""Fixed linear maps of rows and columns: adaptive pools, pyramids, bands, and where none is."""

import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

from export_tests.lowering.graphs import TARGETS, Graph, lowered
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, randomise_

RULE = "linear-map"
LENGTH = 12


def _lines(record):
    return [one for one in record.rewrites if one.rule == RULE]


class Pools(nn.Module):
    """Pyramid pooling whose bins are no factors of the map."""

    def __init__(self, bins):
        super().__init__()
        self.stem, self.bins = nn.Conv2d(3, 6, 3, padding=1), bins
        self.layers = nn.ModuleList(nn.Conv2d(6, 4, 1) for _ in bins)

    def forward(self, x):
        x = self.stem(x).relu()
        pools = [F.adaptive_avg_pool2d(x, bin_) for bin_ in self.bins]
        maps = [one(pool) for one, pool in zip(self.layers, pools, strict=True)]
        return sum(one.mean((2, 3)) + one.amax((2, 3)) for one in maps)


@pytest.mark.parametrize("target", TARGETS)
def test_adaptive_pools_of_the_exporter(target):
    model = export(randomise_(Pools([(3, 5), 3])), (2, 3, 8, 13))
    double = as_double(model)
    after, record = lowered(double, target, must_pay=True)
    assert_equal64(double, after, [[2, 3, 8, 13]])
    assert len(_lines(record)) == 2
    left = ops(after)
    assert not {"GatherND", "Gather", "Where"} & set(left), left
    assert left.total() < 30 < ops(model).total()


def _rows(graph, x, start, end, axis=2):
    return graph.op("Slice", x, np.array([start]), np.array([end]), np.array([axis]))


def _pyramid(graph, x):
    """Overlapping means of rows, weighted, one below the other."""
    parts = [
        graph.op("Mul", graph.reduce("ReduceMean", _rows(graph, x, k, k + 4 + k % 2), [2]), w)
        for k, w in ((0, np.float32(0.5)), (3, np.float32(-2.0)), (7, np.float32(3.0)))
    ]
    return graph.op("Concat", *parts, axis=2)


def _band(graph, x):
    """A sliding sum of columns, with zeros outside."""
    x = graph.op("Pad", x, np.array([0, 0, 0, 1, 0, 0, 0, 1]))
    left, middle, right = (_rows(graph, x, k, k + LENGTH, 3) for k in range(3))
    return graph.op("Sub", graph.op("Add", left, graph.op("Mul", middle, 2.5)), right)


def _crops(graph, x):
    """Corners, each averaged, then joined along rows and columns."""
    corner = lambda a, b: graph.reduce("ReduceSum", _rows(graph, _rows(graph, x, *a), *b, 3), [3])  # noqa: E731
    top, low = (0, 5), (7, 12)
    pairs = [graph.op("Concat", corner(r, top), corner(r, low), axis=3) for r in (top, low)]
    return graph.op("Add", *pairs)


def _window(graph, x):
    """An average pool cut into pieces and joined in another order."""
    pooled = graph.op("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1])
    parts = [_rows(graph, pooled, *bounds) for bounds in ((6, 10), (2, 4))]
    return graph.op("Concat", *parts, axis=2)


MAPS = {"pyramid": _pyramid, "band": _band, "crops": _crops, "window": _window}


def _model(body):
    graph = Graph(batch=2, opset=18)
    x = graph.op("Relu", graph.conv(graph.input(3, LENGTH, LENGTH), 3, 5, 3))
    graph.output(graph.op("Sigmoid", body(graph, x)), rank=4)
    return graph.model()


@pytest.mark.parametrize("name", MAPS)
def test_maps_by_hand_are_exact(name):
    double = as_double(_model(MAPS[name]))
    for target in TARGETS:
        after, record = lowered(double, target, rules=[RULE], must_pay=False)
        assert len(_lines(record)) == 1, record.near_misses
        assert_equal64(double, after, [[2, 3, LENGTH, LENGTH]])
        assert ops(after)["MatMul"] in {1, 2}


def _mixed(graph, x):
    """Rows of one channel are added to another's: no map of rows and columns."""
    other = graph.op("Concat", _rows(graph, x, 1, 5, 1), _rows(graph, x, 0, 1, 1), axis=1)
    return graph.op("Add", _band(graph, x), other)


def _diagonal(graph, x):
    """A sum along diagonals does not come apart into rows and columns."""
    x = graph.op("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    parts = [_rows(graph, _rows(graph, x, k, k + 10), k, k + 10, 3) for k in range(3)]
    return graph.op("Sum", *parts)


def _offset(graph, x):
    return graph.op("Add", graph.op("Sub", _rows(graph, x, 0, 6), _rows(graph, x, 6, 12)), 1.0)


def _global(graph, x):
    mean = graph.reduce("ReduceMean", graph.reduce("ReduceMean", x, [3], 0), [2], 0)
    return graph.op("Unsqueeze", graph.op("Unsqueeze", mean, np.array([2])), np.array([3]))


def _slice(graph, x):
    return _rows(graph, _rows(graph, x, 2, 6), 1, 5, 3)


@pytest.mark.parametrize("body", [_mixed, _diagonal, _offset, _global, _slice])
def test_what_is_no_map_is_left(body):
    model = _model(body)
    for target in TARGETS:
        after, record = lowered(model, target, rules=[RULE], must_pay=False)
        assert not _lines(record)
        assert ops(after) == ops(model)
    misses = [miss for miss in record.near_misses if miss.rule == RULE]
    assert bool(misses) == (body in {_mixed, _diagonal})


def test_an_open_size_is_a_near_miss():
    graph = Graph(batch="n")
    x = graph.op("Relu", graph.conv(graph.input(3, LENGTH, LENGTH), 3, 5, 3))
    graph.output(graph.op("Sigmoid", _band(graph, x)), rank=4)
    _, record = lowered(graph.model(), rules=[RULE])
    assert [miss.reason for miss in record.near_misses] == ["its sizes are open"]


def test_a_large_product_does_not_pay():
    """Joined halves of a wide map are copies; a dense matrix for them is work."""
    graph = Graph(batch=1)
    x = graph.op("Relu", graph.conv(graph.input(3, 256, 256), 3, 4, 3))
    parts = [_rows(graph, x, *bounds) for bounds in ((128, 256), (0, 128))]
    turned = graph.op("Concat", *parts, axis=2)
    graph.output(graph.op("Sigmoid", graph.op("Sub", x, turned)), rank=4)
    _, record = lowered(graph.model(), "onnxruntime", rules=[RULE], must_pay=True)
    assert not record.rewrites
    assert "products would take" in record.near_misses[0].reason
