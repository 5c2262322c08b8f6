"""Tuning on a real plan and on real latencies, and the cache of what came of it."""

import json

import pytest

from edgeattn.base.errors import InputError
from edgeattn.lowering.pipeline import lower
from edgeattn.records.lowering import Trial
from edgeattn.workflows import tune
from edgeattn.workflows.tune import tuned
from export_tests.lowering.kit import export, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

LATENCIES = {"latency_ms", "latency_ms_before", "ratio", "ratio_ci95_low", "ratio_ci95_high"}


@pytest.fixture(scope="module")
def model():
    return export(tiny_net(SPELLINGS["se-linear-view"], 24), (1, 3, 13, 9))


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("tensorrt", {"kernels", "kernels_before", "traffic_bytes", "traffic_bytes_before"}),
        ("onnxruntime", LATENCIES),
        pytest.param("openvino", LATENCIES, marks=pytest.mark.slow),
    ],
)
def test_figures_are_measured_and_kept(model, target, names, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "_SECONDS", 0.5)
    tried = []
    first = tuned(
        model.clone(),
        target=target,
        rules=None,
        on_trial=lambda number, count: tried.append((number, count)),
        cache=tmp_path,
    )
    forms, trials = first
    assert tried
    for trial in trials:
        assert set(trial.figures) == names
        assert all(value > 0 for value in trial.figures.values())
    lower(model.clone(), target=target, forms=forms)

    again = tuned(model.clone(), target=target, rules=None, on_trial=_fail, cache=tmp_path)
    assert again == first


def _fail(number, count):
    pytest.fail(f"trial {number} of {count} was run again")


def test_other_rules_are_another_result(model, tmp_path):
    tuned(model.clone(), target="tensorrt", rules=None, cache=tmp_path)
    tuned(model.clone(), target="tensorrt", rules=frozenset({"gate"}), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"forms": {}})])
def test_a_broken_cache_is_made_again(model, tmp_path, text):
    rules = frozenset({"gate"})  # nothing to try: it is quick
    tuned(model.clone(), target="tensorrt", rules=rules, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert tuned(model.clone(), target="tensorrt", rules=rules, cache=tmp_path) == ({}, ())
    assert json.loads(file.read_text()) == {"forms": {}, "trials": []}


def test_a_folder_that_cannot_be_written_is_no_error(model, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    rules = frozenset({"gate"})
    assert tuned(model.clone(), target="tensorrt", rules=rules, cache=blocked) == ({}, ())


def test_an_open_batch_is_planned_at_1(tmp_path):
    net = tiny_net(SPELLINGS["se-linear-view"], 24)
    opened = export(net, (2, 3, 13, 9), dynamic_batch=True)
    _, trials = tuned(opened, target="tensorrt", rules=None, cache=tmp_path)
    assert trials
    assert not opened.graph.inputs[0].shape.is_static()


def test_the_record_says_what_was_tried(model, monkeypatch):
    trial = Trial(
        kind="gate 24x7x5", family="gate", form="plain", instead_of="negated", figures={},
        is_taken=False,
    )  # fmt: skip
    monkeypatch.setattr(tune, "tuned", lambda *_, **__: ({}, (trial,)))
    lowered = tune.run_tuned(model.clone(), target="tensorrt", rules=None, on_trial=_fail)
    assert lowered.trials == (trial,)
    assert lowered.rewrites


def test_forms_for_openvino_are_timed_on_openvino(model, monkeypatch, tmp_path):
    """Not on ONNX Runtime, whose best forms are others."""
    asked = []

    def time(paths, options, *, runtimes):
        asked.extend(runtimes)
        raise InputError("stop", mend="")

    monkeypatch.setattr(tune, "time_models", time)
    for target in ("openvino", "onnxruntime"):
        _, trials = tuned(model.clone(), target=target, rules=None, cache=tmp_path)
        assert set(asked) == {target}
        assert all(trial.fault == "stop" for trial in trials)
        asked.clear()
