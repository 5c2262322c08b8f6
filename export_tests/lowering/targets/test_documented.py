"""TensorRT before TensorRT-RTX's generation: what is taken and left out, and that it is exact."""

import functools

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.base.errors import InputError
from edgeattn.graph.shapes import infer
from edgeattn.lowering.measures import Figures
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.target import check_version, is_rtx_generation
from edgeattn.lowering.targets.documented import FUSIONS, DocumentedWriter
from edgeattn.lowering.targets.tensorrt import TensorRTWriter
from export_tests.lowering.graphs import Graph
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

#: The forms that stay for TensorRT 8.5, by family, and those of TensorRT-RTX's that do not.
STAY = {
    "se-linear-view": ({"statistics": "channels-first"}, "statistics channels-last"),
    "eca-views": (
        {"band": "convolution", "statistics": "channels-first"},
        "band slices, statistics channels-last",
    ),
    "cbam-views": (
        {"paired-layers": "convolutions", "stack": "concat", "statistics": "channels-first"},
        "paired-layers sums, stack where, statistics channels-last",
    ),
    "sa-by-hand": (
        {"gate": "plain", "statistics": "channels-first"},
        "gate negated, statistics channels-last",
    ),
    "ulsam-expanded": (
        {"groups": "grouped", "pool": "operator", "repeat": "gather"},
        "groups dense, pool slices, repeat axes",
    ),
    # As torch writes it, it is no more than documented fusions make of any form.
    "simam-sum": (None, "gate negated, statistics channels-last"),
}


@functools.cache
def net(name):
    return export(tiny_net(SPELLINGS[name], 24), (1, 3, 13, 9), exporter="torchscript")


@pytest.mark.parametrize("name", STAY)
def test_what_stays_is_exact_and_what_does_not_is_said(name):
    forms, left_out = STAY[name]
    before = as_double(net(name))
    after = before.clone()
    record = lower(after, tensorrt="8.5")
    assert_equal64(before, after)
    rewrites = [one for one in record.rewrites if one.kind]
    assert [dict(one.forms) for one in rewrites] == ([] if forms is None else [forms])
    (reason,) = [one.reason for one in record.near_misses]
    assert reason.endswith(
        f"no fusion that TensorRT documents makes these pay, and they are left out: {left_out}"
    )
    assert ", ".join(record.left_out) == left_out
    assert not {"Where", "Neg", "Pad"} & set(ops(after))


@pytest.mark.parametrize("name", STAY)
def test_in_the_generation_of_tensorrt_rtx_nothing_changes(name):
    plain, newer = net(name).clone(), net(name).clone()
    assert lower(plain) == lower(newer, tensorrt="10.13.3")
    assert ir.to_proto(plain).SerializeToString() == ir.to_proto(newer).SerializeToString()


def test_every_family_has_a_form_that_rests_on_something_known():
    for family, forms in TensorRTWriter.forms.items():
        assert DocumentedWriter.default(family)
        assert {form.rests_on for form in forms} <= {"", *FUSIONS}


def test_measured_forms_are_taken_all_the_same():
    model = net("eca-views").clone()
    (rewrite,) = lower(net("eca-views").clone(), tensorrt="8.5").rewrites
    record = lower(model, tensorrt="8.5", forms={rewrite.kind: {"band": "slices"}}, must_pay=False)
    assert dict(record.rewrites[0].forms)["band"] == "slices"
    assert record.left_out == ("statistics channels-last",)


@pytest.mark.parametrize(
    ("version", "is_rtx"),
    [(None, True), ("8", False), ("8.6.2", False), ("10.3", False), ("10.11.9", False),
     ("10.12", True), ("10.16.2", True), ("11.1", True)],
)  # fmt: skip
def test_generations(version, is_rtx):
    assert is_rtx_generation(version) == is_rtx


@pytest.mark.parametrize("text", ["85", "7.2", "8.x", "", "8.5 ", "rtx", "8..5", "-8"])
def test_what_is_no_version(text):
    with pytest.raises(InputError, match="is no version of TensorRT"):
        check_version("tensorrt", text)
    with pytest.raises(InputError, match="the target is onnxruntime"):
        check_version("onnxruntime", "8.5")


def kernels(body):
    """Counts the kernels of what `body(graph, x: [1, 8, 4, 4])` adds behind a pool."""
    g = Graph(batch=1)
    x = g.op("MaxPool", g.input(8, 4, 4), kernel_shape=[1, 1])
    g.output(body(g, x, g.op("MaxPool", x, kernel_shape=[1, 1])))
    model = g.model()
    infer(model)
    nodes = [node for node in model.graph if node.op_type != "MaxPool"]
    return DocumentedWriter.measure(nodes, []).kernels


def chain(g, x, *op_types):
    for op_type in op_types:
        x = g.op(op_type, x)
    return x


def swish(g, x):
    return g.op("Mul", x, g.op("Sigmoid", x))


def read_twice(g, x):
    return g.op("Add", x, g.reduce("ReduceMax", x, [1]))


def turned(g, x):
    return g.op("Transpose", x, perm=[0, 2, 3, 1])


def part(g, x):
    return g.op("Slice", x, np.array([0]), np.array([4]), np.array([1]))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (lambda g, x, _: chain(g, g.conv(x, 8, 8), "Relu"), 1),
        (lambda g, x, s: chain(g, g.op("Add", g.conv(x, 8, 8), s), "Relu"), 1),
        # A sum that broadcasts, and a product, are no part of a convolution.
        (lambda g, x, s: g.op("Add", g.conv(x, 8, 8), g.reduce("ReduceMean", s, [2, 3])), 3),
        (lambda g, x, s: g.op("Mul", g.conv(x, 8, 8), s), 2),
        # What has one input and one output is, however many layers it has.
        (lambda g, x, _: swish(g, g.conv(x, 8, 8)), 1),
        (lambda g, x, s: chain(g, g.op("Mul", g.op("Sigmoid", x), s), "Tanh", "Neg"), 1),
        # What two kernels read is written.
        (lambda g, x, _: read_twice(g, g.op("Exp", x)), 3),
        (lambda g, x, _: g.reduce("ReduceMean", turned(g, x), [1, 2]), 1),
        (lambda g, x, _: g.reduce("ReduceMean", turned(g, x), [1, 2], 0), 2),
        (lambda g, x, _: turned(g, turned(g, x)), 1),
        (lambda g, x, _: g.op("Mul", part(g, x), np.array(2.0)), 2),
    ],
)
def test_kernels_are_those_of_documented_fusions(body, count):
    assert kernels(body) == count


def test_a_convolution_outside_computes_what_follows_it():
    g = Graph(batch=1)
    x = g.conv(g.input(8, 4, 4), 8, 8)
    g.output(g.op("Relu", x))
    model = g.model()
    infer(model)
    relu = list(model.graph)[-1]
    assert DocumentedWriter.measure([relu], []) == Figures(kernels=0, traffic_bytes=0)
