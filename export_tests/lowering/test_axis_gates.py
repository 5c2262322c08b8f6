"""Gates by rows, by columns and by planes: lines, slides, permuted branches, perceptrons."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.ca import CA
from edgeattn.attention.ela import ELA
from edgeattn.attention.gam import GAM
from edgeattn.attention.triplet import Triplet
from edgeattn.lowering.pipeline import lower
from export_tests.lowering.graphs import TARGETS, between, check, lowered
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, tiny_net

C = 24
FIRST = [0, 3, 1, 2]


class CoordByHand(nn.Module):
    """As the published code has it: pools, slices, and the hard swish of relu6."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(channels, 8, 1), nn.BatchNorm2d(8)
        self.conv_h, self.conv_w = nn.Conv2d(8, channels, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x):
        h, w = x.shape[2:]
        rows, columns = F.avg_pool2d(x, (1, w)), F.avg_pool2d(x, (h, 1)).permute(0, 1, 3, 2)
        y = self.bn(self.conv1(torch.cat([rows, columns], dim=2)))
        y = y * (F.relu6(y + 3) / 6)
        by_row = self.conv_h(y[:, :, :h]).sigmoid()
        by_column = self.conv_w(y[:, :, h:].permute(0, 1, 3, 2)).sigmoid()
        return x * by_column.expand_as(x) * by_row.expand_as(x)


class StripGate(nn.Module):
    """One axis only, its maximum, and a layer that widens."""

    def __init__(self, channels):
        super().__init__()
        self.up, self.down = nn.Conv2d(channels, 30, 1), nn.Conv2d(30, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.down(F.relu(self.up(x.amax(3, keepdim=True)))))


class LocalByConv2d(nn.Module):
    """Efficient local attention with 2-D convolutions, one norm group, an even layer before."""

    def __init__(self, channels):
        super().__init__()
        self.h = nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), groups=channels)
        self.w = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x):
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        gates = self.norm(self.h(rows)).sigmoid(), F.silu(self.norm(self.w(columns))).sigmoid()
        return x * gates[0] * gates[1]


class RowPerceptron(nn.Module):
    """A perceptron over flattened positions, with a gate behind it."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = nn.Linear(channels, 6), nn.Linear(6, channels, bias=False)

    def forward(self, x):
        n, c, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        y = self.second(F.relu(self.first(rows))).reshape(n, h, w, c)
        return x * y.permute(0, 3, 1, 2).sigmoid()


NETS = {
    "ca": functools.partial(CA, reduction=4),
    "ela": ELA,
    "ela-small": functools.partial(ELA, version="small"),
    "triplet": Triplet,
    "triplet-3": functools.partial(Triplet, kernel_size=3, spatial=False),
    "gam": functools.partial(GAM, reduction=2, groups=2),
    "ca-by-hand": CoordByHand,
    "strip": StripGate,
    "ela-conv2d": LocalByConv2d,
    "rows": RowPerceptron,
}
# By net, what is gone from the file for TensorRT, and the rules that did it.
GONE = {
    "ca": ({"Concat", "Split"}, {"joined-lines", "global-mean"}),
    "ca-by-hand": ({"Concat", "AveragePool"}, {"joined-lines", "global-mean"}),
    "ela": ({"InstanceNormalization"}, {"moments"}),
    "ela-conv2d": ({"InstanceNormalization", "GroupNormalization"}, {"moments"}),
    "triplet": ({"Concat"}, {"permuted-branch", "grouped-branches"}),
    "triplet-3": ({"Concat"}, {"permuted-branch"}),
    "gam": ({"Transpose"}, {"perceptron"}),
    "rows": ({"Transpose"}, {"perceptron"}),
}


slow = functools.partial(pytest.param, marks=pytest.mark.slow)

# The other nets and targets take -m "".
_BY_DEFAULT = {"ca-by-hand", "ela-conv2d", "triplet-3"}


def cases(names, targets=("tensorrt",)):
    """Gives each name with each target; those of TensorRT that tell most are run by default."""
    return [
        pytest.param(name, target, id=f"{name}-{target}", marks=[] if is_fast else pytest.mark.slow)
        for name in names
        for target in targets
        for is_fast in [name in _BY_DEFAULT and target == "tensorrt"]
    ]


@functools.cache
def net(name, shape=(2, 3, 10, 14), **options):
    torch.manual_seed(3)
    return export(tiny_net(NETS[name], C), shape, **options)


@pytest.mark.parametrize(("name", "target"), cases(NETS, TARGETS))
def test_the_same_in_float64(name, target):
    for must_pay in (True, False):
        double = as_double(net(name))
        exact = double.clone()
        lower(exact, target=target, must_pay=must_pay)
        assert_equal64(double, exact, batches=(2,))


@pytest.mark.parametrize(("name", "target"), cases(GONE))
def test_forms_of_tensorrt(name, target):
    model = net(name).clone()
    record = lower(model, target=target, must_pay=False)
    gone, rules = GONE[name]
    assert not gone & set(ops(model))
    assert rules <= {one.rule for one in record.rewrites}
    assert name == "gam" or not [one for one in record.near_misses if "shuffle" in one.rule]


@pytest.mark.slow
def test_an_open_batch():
    model = net("ca", dynamic_batch=True)
    double = as_double(model)
    exact = double.clone()
    assert lower(exact, target="tensorrt", must_pay=False).rewrites
    assert_equal64(double, exact, batches=(1, 3))


def joined(graph, x, *, at=7, other=None, tap=False):
    """Means over rows and columns, a layer over both, and a Split after `at` positions."""
    rows, columns = graph.reduce("ReduceMean", x, [3]), graph.reduce("ReduceMean", x, [2])
    columns = graph.op("Transpose", columns, perm=[0, 1, 3, 2])
    both = graph.op("Concat", rows, columns, axis=2)
    hidden = graph.conv(both, C, 4) if other is None else other(graph, both)
    first, second = graph.split(hidden, [at, 12 - at], axis=2)
    if tap:
        graph.output(hidden)
    gate = graph.op("Sigmoid", graph.conv(first, 4 if other is None else C, C))
    total = graph.op("ReduceMean", graph.op("Relu", second), keepdims=1)
    return graph.op("Mul", graph.op("Mul", x, gate) if at == 7 else x, total)


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ({}, True),
        slow({"other": lambda graph, x: graph.op("Mul", x, graph.random(1, C, 1, 1))}, True),
        ({"at": 5}, False),
        slow({"tap": True}, False),
        ({"other": lambda graph, x: graph.op("Mul", x, graph.random(1, C, 12, 1))}, False),
        slow({"other": lambda graph, x: graph.conv(x, C, C, 3)}, False),
        slow({"other": lambda graph, x: graph.op("Softmax", x, axis=2)}, False),
    ],
    ids=["layer", "scale", "elsewhere", "read", "by-position", "wide", "softmax"],
)  # fmt: skip
def test_lines_are_parted_only_where_nothing_crosses(how, parts):
    model = between(functools.partial(joined, **how), channels=C)
    check(model, fires=None)
    made, record = lowered(model)
    assert ("joined-lines" in {one.rule for one in record.rewrites}) is parts
    assert ("Concat" in ops(made)) is not parts
    assert not [one for one in record.near_misses if one.rule == "channel-shuffle"]


@pytest.mark.parametrize(
    ("middle", "is_taken"),
    [
        slow(lambda graph, x: graph.op("Relu", x), True),
        (lambda graph, x: graph.op("Mul", x, graph.random(6)), True),
        slow(lambda graph, x: graph.op("Mul", x, graph.random(5, 6)), False),
        (lambda graph, x: graph.op("LayerNormalization", x, graph.random(6)), False),
        slow(lambda graph, x: graph.op("Softmax", x, axis=-1), False),
    ],
    ids=["activation", "scale", "by-column", "norm", "softmax"],
)
def test_perceptrons_have_nothing_between_that_needs_the_layout(middle, is_taken):
    def body(graph, x):
        rows = graph.op("Transpose", x, perm=[0, 2, 3, 1])
        hidden = middle(graph, graph.op("MatMul", rows, graph.random(C, 6)))
        out = graph.op("MatMul", hidden, graph.random(6, C))
        return graph.op("Transpose", out, perm=FIRST)

    model = between(body, channels=C)
    check(model, fires=None)
    made, _ = lowered(model)
    assert ("MatMul" not in ops(made)) is is_taken


def test_a_perceptron_behind_a_layer_that_widens_reads_what_that_reads():
    def body(graph, x):
        wide = graph.conv(x, C, 2 * C)
        rows = graph.op("Transpose", wide, perm=[0, 2, 3, 1])
        hidden = graph.op("Relu", graph.op("MatMul", rows, graph.random(2 * C, 6)))
        gate = graph.op("Transpose", graph.op("MatMul", hidden, graph.random(6, 2 * C)), perm=FIRST)
        return graph.op("Mul", wide, gate)

    model = between(body, channels=C, out=2 * C)
    check(model, fires=None)
    made, _ = lowered(model)
    weights = [list(node.inputs[1].shape) for node in made.graph if node.op_type == "Conv"]
    assert [6, C, 1, 1] in weights


def test_a_map_under_several_gates_is_read_once():
    def body(graph, x):
        by_channel = graph.op("Sigmoid", graph.reduce("ReduceMean", x, [2, 3]))
        by_row = graph.op("Sigmoid", graph.reduce("ReduceMax", x, [3]))
        return graph.op("Add", graph.op("Mul", x, by_channel), graph.op("Mul", by_row, x))

    model = between(body, channels=C)
    check(model, fires=None)
    made, _ = lowered(model)
    assert ops(made)["Mul"] == 1
