"""Parts of a model compete in every form with what they are, and forms are found by content."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.lowering.parts import content, forms_of, parts_of
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.regions import LOWERED, REGION, STOCK
from edgeattn.lowering.tournament import AS_FOR_RTX, Comparison, compete
from export_tests.lowering.graphs import between
from export_tests.lowering.kit import as_double, assert_equal64, evaluate64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS


@pytest.fixture(scope="module")
def model():
    return export(tiny_net(SPELLINGS["cbam-views"], 24), (1, 3, 13, 9))


def parts(model, tensorrt="8.5"):
    return parts_of(model, target="tensorrt", rules=None, tensorrt=tensorrt)


def best(*, wins, tensorrt="8.5", part, kind, is_time=lambda _: True, fails=()):
    """Lets forms compete; the first model of which `wins` is true stands in the end."""
    pairs = []

    def compare(standing, candidate):
        pairs.append((standing, candidate))
        if len(pairs) in fails:
            return Comparison(is_better=False, figures={}, fault="it does not build")
        better = wins(candidate) and not wins(standing)
        return Comparison(is_better=better, figures={"latency_ms": 1.0})

    forms, trials = compete(
        part,
        kind,
        target="tensorrt",
        rules=None,
        tensorrt=tensorrt,
        compare=compare,
        on_trial=lambda number, _: is_time(number),
    )
    return forms, trials, pairs


def test_a_part_ends_at_the_layers_around_it_and_has_no_names(model):
    ((kind, part),) = parts(model).items()
    assert kind == "grouped-branches 24x7x5"
    counts = ops(part)
    assert counts["Conv"] == ops(model)["Conv"] - 1  # the stem's is before the layer before it
    assert all(node.name == f"n{number}" for number, node in enumerate(part.graph))
    assert parts(model.clone())[kind] is not part
    other = export(tiny_net(SPELLINGS["cbam-views"], 24), (1, 3, 13, 9), exporter="torchscript")
    assert list(parts(other)) == [kind]


def test_what_is_around_a_part_is_little():
    """Layers at the edges of a part have few channels, but for those of the region's own map."""

    def body(g, x):
        before = g.conv(g.op("Relu", x), 24, 24, 3)
        y = g.op("Mul", before, g.op("Sigmoid", g.reduce("ReduceMean", before, [2, 3])))
        return g.conv(g.op("Relu", g.op("Add", y, x)), 24, 24, 3)

    model = between(body, channels=24, size=(14, 10), batch=1)
    (part,) = parts(model).values()
    weights = [n.inputs[1].const_value.shape for n in part.graph if n.op_type == "Conv"]
    assert [list(one) for one in weights] == [[24, 16, 3, 3], [16, 24, 3, 3]]
    assert [list(value.shape) for value in part.graph.outputs] == [[1, 16, 14, 10]]
    (evaluated,) = evaluate64(part, {v.name: np.ones(v.shape.numpy()) for v in part.graph.inputs})
    assert evaluated.shape == (1, 16, 14, 10)


def test_content_is_of_shapes_and_not_of_weights(model):
    ((_, part),) = parts(model).items()
    again = part.clone()
    for value in again.graph.initializers.values():
        tensor = value.const_value.numpy()
        if tensor.size > 1 and tensor.dtype.kind == "f":
            value.const_value = ir.tensor(tensor * 2)
    assert content(again) == content(part)
    wider = export(tiny_net(SPELLINGS["cbam-views"], 48), (1, 3, 13, 9))
    ((_, other),) = parts(wider).items()
    assert content(other) != content(part)


@pytest.mark.parametrize(
    ("wins", "taken"),
    [
        (lambda _: False, {REGION: STOCK}),
        (lambda m: ops(m)["Where"] == 2, {"stack": "where", "paired-layers": "sums"}),
        (lambda m: ops(m)["Transpose"] and not ops(m)["Where"], {"statistics": "channels-last"}),
        (lambda m: ops(m)["Expand"] == 0, {"stack": "concat", REGION: LOWERED}),
    ],
)
def test_the_faster_form_stands_and_what_it_was_tried_against_is_said(model, wins, taken):
    ((kind, part),) = parts(model).items()
    forms, trials, pairs = best(part=part, kind=kind, wins=wins)
    assert taken.items() <= forms.items()
    assert (trials[0].family, trials[0].form, trials[0].instead_of) == (REGION, LOWERED, STOCK)
    assert AS_FOR_RTX in [trial.form for trial in trials]
    assert len({ir.to_proto(one).SerializeToString() for _, one in pairs}) == len(trials)
    before, after = as_double(model), as_double(model)
    record = lower(after, forms={kind: forms}, tensorrt="8.5")
    assert_equal64(before, after)
    if forms[REGION] == STOCK:
        assert not record.rewrites
        assert record.near_misses[0].reason == "no form was measured to be faster than it is"
        return
    assert wins(after)
    assert record.left_out == ()
    (rewrite,) = [one for one in record.rewrites if one.kind]
    assert {REGION: LOWERED, **dict(rewrite.forms)} == forms


def test_without_time_nothing_is_said_and_faults_are_no_wins(model):
    ((kind, part),) = parts(model).items()
    assert best(part=part, kind=kind, wins=bool, is_time=lambda _: False)[:2] == ({}, ())
    _, trials, _ = best(part=part, kind=kind, wins=ops, is_time=lambda number: number < 2)
    assert len(trials) == 2
    forms, trials, _ = best(part=part, kind=kind, wins=ops, fails=range(9))
    assert forms == {}
    assert {trial.fault for trial in trials} == {"it does not build"}


def test_forms_are_found_by_content(model):
    found = parts(model)
    ((kind, part),) = found.items()
    assert forms_of(found, {content(part): {REGION: STOCK}}) == {kind: {REGION: STOCK}}
    assert forms_of(found, {"other": {REGION: STOCK}}) == {}
