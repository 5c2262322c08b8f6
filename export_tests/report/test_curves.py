"""Models at several batches: what is drawn, what is written, and what is claimed of it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from edgeattn.base.errors import InputError
from edgeattn.profiling.samples import apart
from edgeattn.records.trace import EndToEnd, Latency, Memory, Power, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.curves import curves
from edgeattn.report.document import document_of
from edgeattn.report.figures import draw
from edgeattn.report.headline import headline
from edgeattn.report.html import render
from edgeattn.report.saved import read_saved
from edgeattn.report.table import lines
from export_tests.report.traces import HOSTILE, report, trace


def at(batch, ms, *, name="net", spread=0.001, predicted=False, **changes):
    """A trace of a net at a batch, that takes so long."""
    samples = () if predicted else tuple(np.random.default_rng(batch).normal(ms, spread * ms, 80))
    known = {
        "batch": batch,
        "latency_ms": Latency(p50=ms, p90=1.1 * ms, samples=samples),
        "end_to_end": EndToEnd(latency_us=1e3 * ms),
        "memory": Memory(
            weights_bytes=10**6, activations_bytes=batch * 10**5, planned_by="graph", at="conv1"
        ),
    }  # fmt: skip
    if predicted:
        known["interval_ms"] = (0.8 * ms, 1.3 * ms)
    return trace(name, predicted=predicted, **{**known, **changes})


def alone(*traces):
    """A report of traces that were run one after another."""
    firsts = {}
    for one in traces:
        firsts[one.name, one.evidence] = min(
            one, firsts.get((one.name, one.evidence), one), key=lambda one: one.batch or 0
        )
    rows = [(one, firsts[one.name, one.evidence]) for one in traces]
    return report_of(
        [
            SavedRow(trace=one, by_batch=apart(one, first) if one.evidence == "measured" else None)
            for one, first in rows
        ]
    )


def told(made):
    """What a terminal is shown."""
    out = io.StringIO()
    console = Console(file=out, width=160)
    for line in lines(made, top=None):
        console.print(line)
    return out.getvalue()


def test_images_per_second_and_what_is_gained():
    (curve,) = curves(alone(at(4, 20.0), at(1, 10.0), at(2, 12.0)).rows)
    assert [one.batch for one in curve.points] == [1, 2, 4]
    assert [one.place for one in curve.points] == [1, 2, 0]
    assert [one.images_per_s for one in curve.points] == pytest.approx([100, 1000 / 6, 200])
    assert [one.image_ms for one in curve.points] == pytest.approx([10, 6, 5])
    assert [one.gain for one in curve.points] == pytest.approx([1, 10 / 6, 2])
    assert curve.points[0].gain_interval is None
    low, high = curve.points[2].gain_interval
    assert 1.9 < low < 2 < high < 2.1
    assert curve.best.batch == 4


def test_a_gain_in_the_noise_is_none():
    made = alone(at(1, 10.0, spread=0.3), at(2, 19.5, spread=0.3))
    assert str(headline(made)).endswith("no more at any other that stands out of the noise")
    assert "which does not stand out of the noise" in told(made)


def test_larger_batches_may_give_less():
    made = alone(at(1, 10.0), at(2, 30.0))
    assert str(headline(made)) == (
        "net at batch 1 to 2: 100 images/s at batch 1, no more at any other"
    )


def test_energy_is_that_of_an_image():
    power = Power(
        rail="VDD_IN", covers="the whole module", source="hwmon", mean_w=5.0, idle_w=1.0,
        energy_mj=80.0, above_idle_mj=60.0, rounds_mj=(80.0,), seconds=1.0, runs=10, readings=10,
    )  # fmt: skip
    made = alone(at(1, 10.0), at(8, 40.0, power=power))
    (curve,) = curves(made.rows)
    assert [one.image_mj for one in curve.points] == [None, 10.0]
    assert "10 mJ" in told(made)


def test_what_is_measured_and_what_is_predicted_are_curves_of_their_own():
    made = alone(at(1, 9), at(2, 12), at(1, 8, predicted=True), at(2, 11, predicted=True))
    measured, predicted = curves(made.rows)
    assert (measured.evidence, predicted.evidence) == ("measured", "predicted")
    assert predicted.points[1].gain_interval is None
    assert predicted.points[1].interval_ms == pytest.approx((8.8, 14.3))
    text = told(made)
    assert text.index(" MEASURED ") < text.index("95 %") < text.index(" PREDICTED ")


def test_one_batch_alone_is_no_curve():
    made = report(at(1, 10.0), at(1, 12.0, name="other"))
    assert curves(made.rows) == ()
    assert [row.label for row in made.rows] == ["net", "other"]


def test_rows_of_an_older_edgeattn_have_no_batch():
    made = alone(at(1, 10.0), at(2, 12.0), trace("old"))
    assert len(curves(made.rows)) == 1
    assert made.rows[-1].label == "old"


def test_a_model_is_compared_with_the_first_at_its_own_batch():
    made = report(at(1, 10.0), at(1, 12.0, name="b"), at(2, 15.0), at(2, 19.0, name="b"))
    assert [made.first(row).trace.name for row in made.rows] == ["net"] * 4
    assert [made.first(row).batch for row in made.rows] == [1, 1, 2, 2]
    text = told(made)
    assert "above, %" in text


def test_it_is_written_and_read_again(tmp_path):
    made = alone(at(1, 10.0), at(2, 12.0))
    path = tmp_path / "batches.json"
    path.write_text(json.dumps(document_of(made)), encoding="utf-8")
    (curve,) = json.loads(path.read_text())["curves"]
    assert [one["batch"] for one in curve["points"]] == [1, 2]
    again = report_of(read_saved([path]))
    assert curves(again.rows) == curves(made.rows)
    assert [one.memory for one in (row.trace for row in again.rows)] == [
        row.trace.memory for row in made.rows
    ]


def test_the_page_has_it_and_names_stay_text():
    page = render(alone(at(1, 10.0, name=HOSTILE), at(2, 12.0, name=HOSTILE)))
    assert "By batch" in page
    assert "activations, planned" in page
    assert "<script>alert" not in page


def test_its_picture(tmp_path):
    draw(alone(at(1, 10.0), at(2, 12.0)), "batches", tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    with pytest.raises(InputError, match="at several batches"):
        draw(alone(at(1, 10.0)), "batches", tmp_path / "b.svg")


def test_memory_of_models_stands_side_by_side():
    measured = Memory(
        weights_bytes=10**6, activations_bytes=2 * 10**5, planned_by="graph", at="conv1/Conv",
        arena_bytes=3 * 10**5, resident_bytes=5 * 10**6, peak_bytes=6 * 10**6,
    )  # fmt: skip
    text = told(report(at(1, 10.0), at(1, 11.0, name="a"), at(1, 12.0, name="b", memory=measured)))
    row = next(line for line in text.splitlines() if line.startswith("b ") and "MB" in line)
    assert row.split()[1:] == ["1", "MB", "200", "kB", "300", "kB", "5", "MB", "6", "MB"]
    one = told(report(at(1, 10.0, memory=measured)))
    assert "200 kB at most, planned node by node, at conv1/Conv" in one
    assert "300 kB in ONNX Runtime's arena" in one
