"""The forms for ONNX Runtime: where each is written, where not, and that all of them are equal."""

import functools

import numpy as np
import onnx_ir as ir
import pytest
from torch import nn

from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.targets.onnxruntime import ONNXRuntimeWriter
from edgeattn.lowering.targets.polyphase import phases
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

BLOCKED = 32
SHAPE = (1, 3, 56, 56)  # 28x28 at the site
SITES = ("se-linear-view", "eca-views", "simam-var", "sa-by-hand", "cbam-views", "ulsam-expanded")


class Taken(dict):
    """The same forms for every kind of region."""

    def get(self, _, default=None):
        return {**dict(self)} or default


@functools.cache
def net(name, channels=BLOCKED, shape=SHAPE, **options):
    options = {"exporter": "torchscript", **options}  # it takes a tenth of the time
    return export(tiny_net(SPELLINGS[name], channels), shape, **options)


def lowered(model, **forms):
    """Lowers for ONNX Runtime, and checks against the model in float64."""
    double = as_double(model)
    exact = double.clone()
    lower(exact, target="onnxruntime", forms=Taken(forms) if forms else None, must_pay=False)
    assert_equal64(double, exact, batches=(3,))
    made = model.clone()
    record = lower(
        made, target="onnxruntime", forms=Taken(forms) if forms else None, must_pay=False
    )
    assert record.rewrites
    return made


def weights(model):
    """Gives the shapes of the weights of a model's convolutions, and their groups."""
    found = []
    for node in model.graph:
        if node.op_type == "Conv":
            group = node.attributes.get("group")
            weight = list(node.inputs[1].const_value.shape)
            found.append((weight, 1 if group is None else group.as_int()))
    return found


def choices():
    for family, forms in ONNXRuntimeWriter.forms.items():
        for form in forms[1:]:
            yield family, form.name


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize(("family", "form"), choices(), ids=lambda part: part)
def test_every_form_is_exact(name, family, form):
    lowered(net(name, shape=(1, 3, 28, 20)), **{family: form})


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("channels", [24, pytest.param(32, marks=pytest.mark.slow)])
def test_default_is_exact_with_an_open_batch(name, channels):
    model = net(name, channels, (2, 3, 28, 20), dynamic_batch=True)
    lowered(model)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("opset", [13, pytest.param(17, marks=pytest.mark.slow)])
def test_default_is_exact_at_older_opsets(name, opset):
    lowered(net(name, exporter="torchscript", opset=opset))


class TestHidden:
    def test_is_a_block_wide(self):
        made = weights(lowered(net("se-linear-view")))
        assert ([16, BLOCKED, 1, 1], 1) in made
        assert ([BLOCKED, 16, 1, 1], 1) in made

    def test_keeps_its_own_width_if_told(self):
        made = weights(lowered(net("se-linear-view"), hidden="own"))
        assert not any(16 in shape for shape, _ in made)


class TestGate:
    def test_is_resized_where_channels_fill_blocks(self):
        count = ops(lowered(net("se-linear-view")))
        assert count["Resize"] == 1
        assert count["GlobalAveragePool"] == 1

    def test_is_broadcast_where_they_do_not(self):
        count = ops(lowered(net("se-linear-view", 24)))
        assert count["Resize"] == 0
        assert count["GlobalAveragePool"] == 0

    def test_is_multiplied_once_where_a_part_of_the_product_is_known(self):
        # x * channel gate is needed for the statistics; the spatial gate is put on it.
        count = ops(lowered(net("cbam-views")))
        assert count["Mul"] == 2


class TestBand:
    def test_is_dense_over_few_channels(self):
        made = lowered(net("eca-views"))
        assert ([BLOCKED, BLOCKED, 1, 1], 1) in weights(made)
        assert not any(len(shape) == 3 for shape, _ in weights(made))

    def test_slides_over_many(self):
        made = lowered(net("eca-views", 272, (1, 3, 8, 6)))
        assert ([272, 272, 1, 1], 1) not in weights(made)
        # It enters the blocked layout by the convolution that its Sigmoid is fused with.
        assert ([272, 1, 1, 1], 272) in weights(made)


class TestSum:
    ONES = ([BLOCKED, 1, 1, 1], BLOCKED)

    def test_is_taken_in_by_a_convolution_of_ones(self):
        assert self.ONES in weights(lowered(net("se-linear-view")))

    def test_is_left_outside_the_blocks(self):
        assert self.ONES not in weights(lowered(net("simam-var")))

    def test_is_left_beside_another_convolution(self):
        module = tiny_net(SPELLINGS["se-linear-view"], BLOCKED)
        module.stem[2] = nn.Identity()
        assert self.ONES not in weights(lowered(export(module, SHAPE)))

    def test_is_left_without_an_activation(self):
        module = tiny_net(SPELLINGS["se-linear-view"], BLOCKED)
        module.act = nn.Identity()
        assert self.ONES not in weights(lowered(export(module, SHAPE)))


def convolution(shape, sizes, **attributes):
    x = ir.val("x", ir.DataType.FLOAT, [1, shape[1], *sizes])
    array = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    weight = ir.val("w", const_value=ir.tensor(array, name="w"))
    attributes = {"pads": [shape[2] // 2, shape[3] // 2] * 2, **attributes}
    node = ir.node("Conv", [x, weight], attributes)
    node.outputs[0].shape = ir.Shape([1, shape[0], *sizes])
    return node


class TestPhases:
    @pytest.mark.parametrize(("size", "step"), [(28, 4), (56, 4), (30, 2)])
    def test_has_as_many_as_divide_the_map(self, size, step):
        weight, bias, pads, found = phases(convolution((1, 2, 7, 7), (size, size)))
        assert found == step
        assert weight.shape == (step * step, 2, 6 + step, 6 + step)
        assert bias.shape == (step * step,)
        assert pads == [3, 3, 3, 3]

    @pytest.mark.parametrize(
        "node",
        [
            convolution((1, 2, 7, 7), (14, 14)),  # too small to pay
            convolution((1, 2, 7, 7), (29, 29)),
            convolution((2, 2, 7, 7), (28, 28)),
            convolution((1, 2, 7, 7), (28, 28), pads=[0, 0, 6, 6]),
            convolution((1, 2, 7, 7), (28, 28), dilations=[2, 2]),
            convolution((1, 64, 3, 3), (28, 28)),
            convolution((1, 2, 1, 1), (28, 28)),
        ],
    )
    def test_is_left(self, node):
        assert phases(node) is None

    def test_is_written_in_cbam(self):
        made = lowered(net("cbam-views"))
        assert ops(made)["DepthToSpace"] == 1
        assert any(shape[:2] == [16, 2] for shape, _ in weights(made))
        assert ops(lowered(net("cbam-views", shape=(1, 3, 26, 26))))["DepthToSpace"] == 0


def test_repeats_groups_with_the_one_as_bias():
    made = lowered(net("ulsam-expanded"))
    conv = next(
        n
        for n in made.graph
        if n.op_type == "Conv" and n.outputs[0].consumers()[0].op_type == "Mul"
    )
    np.testing.assert_array_equal(conv.inputs[2].const_value.numpy(), np.ones(BLOCKED))
    assert ops(made)["Add"] <= 1  # the residual sum only
