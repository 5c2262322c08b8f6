"""The forms for OpenVINO: that all of them are equal, what is written, and what stays as it is."""

import functools
from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn

from edgeattn.attention.cam import CAM
from edgeattn.attention.cbam import CBAM
from edgeattn.attention.se import SE
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.targets.openvino import OpenVINOWriter
from export_tests.lowering.kit import as_double, assert_equal64, export, randomise_
from export_tests.lowering.spellings.table import SPELLINGS
from export_tests.lowering.targets.test_onnxruntime import Taken

SITES = ("se-linear-view", "eca-views", "cbam-views")


class Bottleneck(nn.Module):
    """Attention behind a convolution that widens, with the residual sum of a block."""

    def __init__(self, attention, width=8, channels=32):
        super().__init__()
        self.narrow = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(width, channels, 1)
        self.attention = attention(channels)
        self.side = nn.Conv2d(3, channels, 1, stride=2)

    def forward(self, x):
        made = self.attention(self.wide(torch.relu(self.narrow(x))))
        return torch.relu(made + self.side(x))


@functools.cache
def net(name, shape=(1, 3, 56, 56)):
    torch.manual_seed(5)
    return export(randomise_(Bottleneck(SPELLINGS[name])), shape, exporter="torchscript")


def lowered(model, **forms):
    """Lowers for OpenVINO, and checks against the model in float64."""
    forms = Taken(forms) if forms else None
    double = as_double(model)
    exact = double.clone()
    lower(exact, target="openvino", forms=forms, must_pay=False)
    assert_equal64(double, exact, batches=(1,))
    made = model.clone()
    record = lower(made, target="openvino", forms=forms, must_pay=False)
    assert record.rewrites
    return made, Counter(node.op_type for node in made.graph)


def channels_averaged(model):
    means = [node.inputs[0].shape for node in model.graph if node.op_type == "ReduceMean"]
    return [shape[1] for shape in means]


def choices():
    for name in SITES:
        yield name, {}
    for family, site in (
        ("squeeze", "eca-views"),
        ("product", "cbam-views"),
        ("single-channel", "cbam-views"),
    ):
        for form in OpenVINOWriter.forms[family][1:]:
            yield site, {family: form.name}


@pytest.mark.parametrize(("name", "forms"), choices())
def test_every_form_is_exact(name, forms):
    lowered(net(name, shape=(1, 3, 64, 56)), **forms)


@pytest.mark.parametrize("name", SITES)
def test_mean_is_taken_before_the_convolution_that_widens(name):
    """Beside a maximum over the map, too: each reduction is a kernel of its own."""
    as_it_is, _ = lowered(net(name), squeeze="map")
    cheaper, _ = lowered(net(name))
    assert channels_averaged(as_it_is)[0] == 32
    assert channels_averaged(cheaper)[0] == 8


def test_mlp_that_two_roots_read_is_written_once():
    _, apart = lowered(net("cbam-views"), squeeze="map")
    _, made = lowered(net("cbam-views"))
    assert made["Sigmoid"] == apart["Sigmoid"]
    assert made["Conv"] == apart["Conv"]


def test_map_that_was_gated_once_is_gated_again():
    """The second gate multiplies what the first one gave, which is in cache."""
    _, apart = lowered(net("cbam-views"), product="apart")
    _, shared = lowered(net("cbam-views"))
    assert shared["Mul"] == apart["Mul"] - 1


def test_convolution_to_one_channel_is_written_by_phases():
    _, made = lowered(net("cbam-views"))
    assert made["DepthToSpace"] == 1
    _, made = lowered(net("cbam-views", shape=(1, 3, 44, 44)))
    assert made["DepthToSpace"] == 0


def hidden_of_one(gated, shape=(1, 3, 16, 12)):
    torch.manual_seed(5)
    module = randomise_(Bottleneck(gated, channels=16))
    return export(module, shape, exporter="torchscript")


@pytest.mark.parametrize("target", ["openvino", "portable"])
@pytest.mark.parametrize(
    "gated",
    [partial(SE, reduction=16), partial(CBAM, reduction=16), partial(CAM, reduction=16)],
    ids=["se", "cbam", "cam"],
)
def test_layer_on_one_channel_stays_a_convolution(gated, target):
    """As a product, it is part of the chain on the map, and done for each of its positions."""
    model = hidden_of_one(gated)
    exact, double = as_double(model), as_double(model)
    lower(exact, target=target, must_pay=False)
    assert_equal64(double, exact, batches=(1,))
    lower(model, target=target, must_pay=False)
    for node in model.graph:
        if node.op_type in {"Add", "Mul"}:
            assert not any(x.const_value is not None for x in node.inputs)


def test_convolution_that_only_a_region_needed_counts_as_gone():
    """Its phases would be counted beside it, and be dearer than it."""
    model = hidden_of_one(partial(CBAM, reduction=16), shape=(1, 3, 224, 224))
    record = lower(model, target="openvino")
    assert not record.near_misses
    assert sum(node.op_type == "DepthToSpace" for node in model.graph) == 1


def test_band_takes_its_gate_before_it_is_a_map():
    model = net("eca-views").clone()
    lower(model, target="openvino", must_pay=False)
    gates = [node for node in model.graph if node.op_type == "Sigmoid"]
    assert [gate.inputs[0].producer().op_type for gate in gates] == ["Conv"]


def test_hard_swish_before_a_gate_stays_one_operator():
    """A convolution takes it in; as a gate of its own map it is two kernels (MobileNetV3: 10 %)."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 16, 3, padding=1)
            self.attention = SPELLINGS["se-linear-view"](16)

        def forward(self, x):
            return self.attention(nn.functional.hardswish(self.layer(x)))

    _, made = lowered(export(randomise_(Net()), (1, 3, 12, 12), opset=18))
    assert made["HardSwish"] == 1
    assert made["HardSigmoid"] == 0
