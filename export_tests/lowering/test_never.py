"""Nets without attention: lowering leaves them, or makes them no longer, and never wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from export_tests.lowering.graphs import TARGETS, lowered
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, randomise_

C = 12


def convolved(inside, outside, kernel=3, *, stride=1, groups=1, act=nn.ReLU):
    padding = kernel // 2
    conv = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), act())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = convolved(C, C), convolved(C, C, act=nn.Identity)
        self.down = convolved(C, 2 * C, 1, stride=2, act=nn.Identity)
        self.last = convolved(C, 2 * C, 3, stride=2, act=nn.Identity)

    def forward(self, x):
        x = F.relu(x + self.two(self.one(x)))
        return F.relu(self.down(x) + self.last(x))


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        wide = 2 * C
        self.body = nn.Sequential(
            convolved(C, wide, 1, act=nn.ReLU6),
            convolved(wide, wide, groups=wide, act=nn.Hardswish),
            convolved(wide, C, 1, act=nn.Identity),
        )

    def forward(self, x):
        return x + self.body(x)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(C, C, 7, padding=3, groups=C)
        self.norm = nn.LayerNorm(C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.scale = nn.Parameter(torch.ones(C))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.second = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.mlp = nn.Sequential(nn.Linear(C, 2 * C), nn.GELU(), nn.Linear(2 * C, C))
        self.position = nn.Parameter(torch.zeros(1, 35, C))

    def forward(self, x):
        shape = x.shape
        x = x.flatten(2).transpose(1, 2) + self.position
        n, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, length, 3, 3, C // 3).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (C // 3) ** -0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, length, C))
        x = x + self.mlp(self.second(x))
        return x.transpose(1, 2).reshape(shape)


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.one, self.two = nn.Conv2d(C, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1)
        self.norm, self.second = norm(), norm()

    def forward(self, x):
        return F.silu(x + self.second(self.two(F.relu(self.norm(self.one(x))))))


class Pyramid(nn.Module):
    """Pools, a nearest resize and a Concat, as detectors have them."""

    def __init__(self):
        super().__init__()
        self.one, self.last = convolved(C, C, stride=2), convolved(2 * C, C, 1, act=nn.SiLU)

    def forward(self, x):
        pools = [F.max_pool2d(x, k, 1, k // 2) for k in (3, 5)]
        y = torch.cat([pools[0] + pools[1], F.interpolate(self.one(x), x.shape[2:])], 1)
        return self.last(y)


class Inception(nn.Module):
    """Branches that are alike, over parts of the channels, with convolutions of their own."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(convolved(C // 3, C // 3, k) for k in (1, 3, 5))

    def forward(self, x):
        parts = zip(self.branches, x.chunk(3, 1), strict=True)
        return torch.cat([branch(part) for branch, part in parts], 1)


NETS = {
    "residual": Residual,
    "depthwise": Depthwise,
    "convnext": ConvNeXt,
    "transformer": Transformer,
    "instance norm": lambda: Normed(lambda: nn.InstanceNorm2d(C, affine=True)),
    "group norm": lambda: Normed(lambda: nn.GroupNorm(3, C)),
    "pyramid": Pyramid,
    "inception": Inception,
}


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, C, 3, padding=1), block
        self.fc = nn.Linear(2 * C if isinstance(block, Residual) else C, 5)

    def forward(self, x):
        return self.fc(self.block(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module", params=NETS)
def net(request):
    """Gives the name of a net, and its export with an open batch and without."""
    torch.manual_seed(5)
    module = randomise_(Net(NETS[request.param]()))
    closed = export(module, (1, 3, 7, 5), exporter="torchscript", opset=17)
    opened = export(module, (2, 3, 7, 5), opset=18, dynamic_batch=True)
    return request.param, (closed, opened)


@pytest.mark.parametrize("target", TARGETS)
def test_no_more_nodes(net, target):
    name, models = net
    if name == "instance norm" and target in {"tensorrt", "portable", "openvino"}:
        # TensorRT's operator writes its result out: moments are more nodes and less to move. And
        # OpenVINO reads the operator's affine as nodes of its own.
        return
    for model in models:
        after, record = lowered(model, target)
        assert ops(after).total() <= ops(model).total(), f"{ops(after) - ops(model)}: {record}"


@pytest.mark.parametrize("target", TARGETS)
def test_left(net, target):
    """What has neither a statistic of the map nor a shuffle is the same, operator for operator."""
    name, models = net
    if name == "instance norm":
        return  # a normalisation of one channel is a moment, which a target may write anew
    for model in models:
        after, _ = lowered(model, target)
        assert not ops(after) - ops(model)


@pytest.mark.parametrize("target", TARGETS)
def test_equal(net, target):
    for model in net[1]:
        double = as_double(model)
        after, _ = lowered(double, target)
        assert_equal64(double, after, batches=(1, 3))


def test_the_input_model_is_not_touched_by_a_copy():
    """`lowered` compares against what was given: a clone must not share what lowering changes."""
    module = randomise_(Net(Depthwise()))
    model = export(module, (1, 3, 7, 5))
    before = {name: np.copy(v.const_value.numpy()) for name, v in model.graph.initializers.items()}
    for target in TARGETS:
        lowered(model, target)
    for name, value in model.graph.initializers.items():
        np.testing.assert_array_equal(value.const_value.numpy(), before[name])
