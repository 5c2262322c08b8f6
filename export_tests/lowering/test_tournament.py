"""The tournament: what is tried, and what stands after it."""

import pytest

from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.target import TARGETS
from edgeattn.lowering.tournament import Comparison, tune
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS


@pytest.fixture(scope="module")
def model():
    return export(tiny_net(SPELLINGS["simam-sum"], 24), (1, 3, 13, 9))


def _never(standing, candidate):
    del standing, candidate
    return Comparison(is_better=False, figures={"nodes": 1.0})


def _fewer_nodes(standing, candidate):
    counts = [float(len(one.graph)) for one in (standing, candidate)]
    figures = {"nodes": counts[1], "before": counts[0]}
    return Comparison(is_better=counts[1] < counts[0], figures=figures)


@pytest.mark.parametrize("target", [name for name, spec in TARGETS.items() if spec.runtime])
def test_everything_that_was_tried_is_said(model, target):
    numbers = []
    forms, trials = tune(
        model.clone(),
        target=target,
        rules=None,
        compare=_never,
        on_trial=lambda number, count: numbers.append((number, count)),
    )
    assert forms == {}
    assert trials
    assert not any(trial.is_taken for trial in trials)
    assert numbers == [(number, len(trials)) for number in range(len(trials))]
    asked = {(rewrite.kind, *form) for rewrite in lower(model.clone(), target=target).rewrites
             for form in rewrite.forms}  # fmt: skip
    assert {(one.kind, one.family, one.instead_of) for one in trials} <= asked


def test_the_better_form_stands_and_is_exact(model):
    target = "tensorrt"
    before = as_double(model)
    forms, trials = tune(before.clone(), target=target, rules=None, compare=_fewer_nodes)
    taken = [trial for trial in trials if trial.is_taken]
    assert taken
    for trial in taken:
        figures = trial.figures
        assert figures["nodes"] < figures["before"]
    tuned, plain = before.clone(), before.clone()
    lower(tuned, target=target, forms=forms)
    lower(plain, target=target)
    assert ops(tuned).total() < ops(plain).total()
    assert_equal64(before, tuned)


def test_the_model_stays_as_it_is(model):
    count = len(model.graph)
    tune(model, target="tensorrt", rules=None, compare=_never)
    assert len(model.graph) == count


def test_every_form_of_every_family_is_exact(model):
    before = as_double(model)
    _, trials = tune(before.clone(), target="tensorrt", rules=None, compare=_never)
    for trial in trials:
        tried = before.clone()
        lower(tried, forms={trial.kind: {trial.family: trial.form}})
        assert_equal64(before, tried)
