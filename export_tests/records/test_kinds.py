"""The kinds of operators, and what a node's name says of its own."""

from __future__ import annotations

import pytest

from edgeattn.graph.cost_rules import RULES
from edgeattn.records import kinds


def test_every_operator_that_is_counted_has_the_kind_that_its_cost_suggests():
    moving = {name for name, rule in RULES.items() if kinds.kind_of(name) == "shuffle"}
    assert {"Transpose", "Reshape", "Concat", "Slice", "Gather", "Expand", "Pad"} <= moving
    products = {name for name in RULES if kinds.kind_of(name) == "matmul"}
    assert {"Conv", "Gemm", "MatMul", "Einsum", "ConvTranspose", "QLinearConv"} <= products
    assert not products & {"Add", "Mul", "Sigmoid", "Relu", "ReduceMean"}


@pytest.mark.parametrize(
    ("op_type", "kind"),
    [
        ("GlobalAveragePool", "reduction"),
        ("ReduceMean", "reduction"),
        ("Softmax", "reduction"),
        ("MaxPool", "pooling"),
        ("InstanceNormalization", "normalisation"),
        ("BatchNormalization", "pointwise"),
        ("ReorderInput", "shuffle"),
        ("QuickGelu", "pointwise"),
        ("SomethingOfSomebody", "pointwise"),
        ("Resize", "other"),
    ],
)
def test_kind(op_type, kind):
    assert kinds.kind_of(op_type) == kind


def test_a_convolution_decides_what_a_fused_kernel_is():
    assert kinds.strongest(["pointwise", "shuffle", "matmul", "reduction"]) == "matmul"
    assert kinds.strongest(["shuffle", "pointwise"]) == "pointwise"
    assert kinds.strongest([]) is None


@pytest.mark.parametrize(
    ("name", "op_type"),
    [
        ("layer1.0.conv1/Conv", "Conv"),
        ("layer1.0.attention/ReduceMean_12", "ReduceMean"),
        ("/layer1/layer1.0/conv1/Conv_3", "Conv"),
        ("Conv_0", "Conv"),
        ("GlobalAveragePool_46", "GlobalAveragePool"),
        ("resnet50/conv1_conv/Conv2D", "Conv"),
        ("resnet50/conv1_relu/Relu:0", "Relu"),
        ("resnet50/avg_pool/Mean", "ReduceMean"),
    ],
)
def test_the_operator_in_a_name(name, op_type):
    assert kinds.guessed_op_type(name) == op_type
