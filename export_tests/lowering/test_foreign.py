"""Other people's code for our modules, through both of torch's exporters, lowered.

`test_exact` is what must always hold. `test_lowered` is how far the recognisers reach: `GONE` says
what must not be left of a spelling.
"""

import math
import re

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import checker

from edgeattn.graph import shapes
from edgeattn.legalise import legalise
from edgeattn.lowering.pipeline import lower
from export_tests.lowering.graphs import TARGETS
from export_tests.lowering.kit import as_double, assert_equal64, evaluate64, export, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

CHANNELS = 24
MAP = CHANNELS * 7 * 5  # values at the site, per image
LOWEST = 13  # lowering's own; older graphs are raised first, as `edgeattn optimize` does

# What torch's TorchScript exporter cannot write: from which opset on it can.
WRITABLE_FROM = {
    "se-einsum": 12,
    "sge-five-dimensions": 12,
    "gc-einsum": 12,
    "shuffle-flattened": 13,
    "shuffle-operator": 99,
    "ema-by-sizes": 99,  # adaptive pools of a map whose sizes it computes
}
# While dynamo decomposes the batch norm of these, torch 2.13 ends in a segmentation fault.
CRASHES = {"nam-contiguous"}

# By the start of a spelling's name, and for a target where they differ: the traits that no lowered
# net may have. See `traits`.
MOVES = frozenset({"Reshape", "Split", "Slice", "Concat", "Gather", "GatherND"})
GONE = (
    ("", None, {"Shape"}),
    ("se-", None, {"Expand", "Einsum"}),
    ("se-hard-", None, {"Clip", "Div"}),
    ("eca-", None, {"Expand"}),
    ("eca-", "onnxruntime", {"Pad"}),
    ("simam-", None, {"Expand", "Reshape of maps"}),
    ("sa-", None, {*(f"{move} of maps" for move in MOVES), "Transpose of groups"}),
    ("sa-", "tensorrt", {"InstanceNormalization"}),
    ("cbam-", None, {"Expand", "Flatten"}),
    ("ulsam-", None, {"Split", "Concat of maps"}),
    ("ulsam-", "onnxruntime", {"Slice"}),
    ("sge-", None, {"Einsum", "Tile"}),
    ("gc-", None, {"Einsum"}),
    ("bam-", None, {"Expand"}),
    ("srm-", None, {"Expand", "Concat"}),
    ("ema-", None, {"Expand", "MatMul of maps"}),
    ("nam-", None, {"Expand", "Transpose", "BatchNormalization"}),
    ("shuffle-", None, {*(f"{move} of maps" for move in MOVES), "Transpose of groups"}),
)


# What is not reached, and why: these are left as they are, and exact (`test_exact`).
NOT_REACHED = {
    "se-hard-hardtanh": "its sixth is the float32 next to 1/6, so it is no hard sigmoid",
    "eca-unfolded": "the band is written as a sum of shifted slices, which no recogniser gathers",
    "cbam-stacked": "the MLP runs on [N, 2, C]: an axis that is none of a feature map's",
    "sge-batch": "groups on an open batch",
    "sge-by-hand": "a gate tiled by a computed shape, where the batch is open",
    "gc-einsum": "the result is expanded by a computed shape, where the batch is open",
    "nam-viewed": "it is elementwise already: there is nothing to write anew",
    "shuffle-indexed": "dynamo writes the indexing as GatherND between transposes",
}


def traits(model):
    """Gives the operators of a model, and what their operands say of them.

    "Reshape of maps" moves all that stands at the site, and not only statistics or a gate.
    """
    bound = model.clone()
    shapes.bind_batch(bound, 1)
    shapes.infer(bound)
    found = set()
    for node in bound.graph.all_nodes():
        found.add(node.op_type)
        values = [v for v in (*node.inputs[:1], *node.outputs[:1]) if v.shape is not None]
        assert all(v.shape.is_static() for v in values), f"{node.name}: open at batch 1"
        if max((math.prod(v.shape.numpy()) for v in values), default=0) >= MAP:
            found.add(f"{node.op_type} of maps")
        if node.op_type == "Transpose":
            order = list(node.attributes["perm"].as_ints())
            if order not in ([0, 2, 3, 1], [0, 3, 1, 2]):
                found.add("Transpose of groups")
    return found


def cases():
    """Gives each spelling from dynamo, and twice from TorchScript, at opsets that take turns.

    By default the two exporters take turns too; the rest is slow.
    """
    for index, name in enumerate(SPELLINGS):
        opset = 18 if index % 2 else (20, 21)[index // 2 % 2]
        slow = pytest.mark.slow
        is_old = index % 2 == 1 and WRITABLE_FROM.get(name, 0) <= 17
        marks = pytest.mark.skip(reason="torch crashes") if name in CRASHES else slow
        case = (name, "dynamo", opset, index % 2 == 1)
        yield pytest.param(case, marks=marks if is_old or name in CRASHES else ())
        for opset, is_open in ((17, True), ((11, 12, 13, 14, 16, 20)[index % 6], False)):
            if opset >= WRITABLE_FROM.get(name, 0):
                marks = () if is_old and is_open else slow
                yield pytest.param((name, "torchscript", opset, is_open), marks=marks)


def _id(case):
    name, exporter, opset, is_open = case
    return f"{name}-{exporter}-{opset}{'-open' if is_open else ''}"


@pytest.fixture(scope="module", params=cases(), ids=_id)
def case(request):
    """The name of a spelling, and a net with it as it came from the exporter and onnxsim."""
    name, exporter, opset, is_open = request.param
    net = tiny_net(SPELLINGS[name], CHANNELS)
    shape = (2 if is_open else 1, 3, 13, 9)
    model = export(net, shape, exporter=exporter, opset=opset, dynamic_batch=is_open)
    if opset < LOWEST:
        legalise(model, LOWEST)
    return name, model


@pytest.mark.parametrize("target", TARGETS)
def test_exact(case, target):
    _, model = case
    double = as_double(model)
    lowered = double.clone()
    lower(lowered, target=target, must_pay=False)
    assert_equal64(double, lowered)

    single = model.clone()
    lower(single, target=target, must_pay=False)
    proto = ir.to_proto(single)
    checker.check_model(proto, full_check=True)
    assert single.opset_imports == model.opset_imports
    assert {node.domain for node in single.graph.all_nodes()} == {""}
    batch = single.graph.inputs[0].shape[0]
    x = np.random.default_rng(3).normal(0.5, 2.0, (batch if batch == 1 else 3, 3, 13, 9))
    (want,) = evaluate64(model, [x])
    (got,) = _run(proto, x.astype(np.float32))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def _run(proto, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {"x": x})


@pytest.mark.parametrize("target", TARGETS)
def test_lowered(case, target):
    name, model = case
    if name in NOT_REACHED:
        pytest.skip(NOT_REACHED[name])
    lowered = model.clone()
    record = lower(lowered, target=target, must_pay=False)
    assert not [miss for miss in record.near_misses if "a fault of edgeattn" in miss.reason]
    assert record.rewrites
    for start, only, gone in GONE:
        if re.match(start, name) and only in {None, target}:
            left = sorted(gone & traits(lowered))
            assert not left, f"{', '.join(left)} left; near misses: {record.near_misses}"
