"""Which runtime, and which precision, is the fastest: of rounds that all were run in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeattn.records.trace import Latency, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.contest import summaries
from edgeattn.report.document import document_of
from edgeattn.report.html import render
from edgeattn.report.saved import read_saved
from export_tests.report.traces import HOSTILE, trace


def row(name, ms, *, rounds_id="r1", seed=0, spread=0.01, count=60, **more):
    """A trace whose rounds take about so many ms."""
    samples = ms * (1 + np.random.default_rng(seed).normal(0, spread, count))
    latency = Latency(p50=float(np.median(samples)), samples=tuple(map(float, samples)))
    return SavedRow(trace=trace(name, latency_ms=latency, rounds_id=rounds_id, **more))


def two(name, slow, fast, *, at=0, **more):
    return [
        row(name, slow, seed=at, runtime="onnxruntime", **more),
        row(name, fast, seed=at + 1, runtime="openvino", **more),
    ]


def test_the_fastest_of_each_model_and_of_all():
    found = report_of([*two("net", 2.0, 1.0), *two("net-se", 3.0, 2.0, at=2)]).contests
    assert [(one.model, one.fastest, one.second) for one in found] == [
        ("net", "openvino", "onnxruntime"),
        ("net-se", "openvino", "onnxruntime"),
        ("", "openvino", "onnxruntime"),
    ]
    leads = [one.lead for one in found]
    assert leads[:2] == pytest.approx([2.0, 1.5], rel=0.02)
    assert leads[2] == pytest.approx((leads[0] * leads[1]) ** 0.5)
    for one in found:
        assert one.is_decided
        assert one.ci95[0] <= one.lead <= one.ci95[1]
        first, second = one.entries
        assert (first.ratio, first.ci95) == (1.0, None)
        assert second.ratio == pytest.approx(1 / one.lead)
    (whole,) = summaries(found)
    assert whole.verdict.startswith("All 2 models: OpenVINO is the fastest, 1.7")


def test_what_noise_hides_is_not_decided():
    (one,) = report_of(two("net", 1.0, 1.001, spread=0.2)).contests
    assert not one.is_decided
    assert "no runtime stands out of the noise" in one.verdict


def test_what_was_not_run_together_is_not_compared(tmp_path):
    first, second = two("net", 2.0, 1.0)
    apart = second.model_copy(update={"trace": second.trace.model_copy(update={"rounds_id": "r2"})})
    assert report_of([first, apart]).contests == ()
    alone = [one.model_copy(update={"trace": one.trace.model_copy(update={"rounds_id": ""})})
             for one in (first, second)]  # fmt: skip
    assert report_of(alone).contests == ()


def test_the_best_variant_stands_for_a_runtime():
    rows = [
        row("net", 3.0, runtime="onnxruntime", variant="stock"),
        row("net", 2.0, runtime="onnxruntime", variant="lowered", seed=1),
        row("net", 1.0, runtime="openvino", variant="stock", seed=2),
        row("net", 1.5, runtime="openvino", variant="lowered", seed=3),
    ]
    (one,) = report_of(rows).contests
    assert [entry.place for entry in one.entries] == [1, 2]


def test_precisions_of_each_variant_and_runtime():
    rows = [
        row("net", ms, runtime=runtime, precision=precision, variant="lowered", seed=at)
        for at, (runtime, precision, ms) in enumerate(
            [("onnxruntime", "fp32", 2.0), ("onnxruntime", "int8", 4.0), ("openvino", "fp32", 1.0),
             ("openvino", "bf16", 0.7), ("openvino", "int8", 0.4)]
        )
    ]  # fmt: skip
    report = report_of(rows)
    found = {(one.of, one.label): one for one in report.contests}
    assert {key: one.fastest for key, one in found.items()} == {
        ("runtime", "net, fp32"): "openvino",
        ("runtime", "net, int8"): "openvino",
        ("precision", "net lowered, ONNX Runtime"): "fp32",
        ("precision", "net lowered, OpenVINO"): "int8",
    }
    assert found["precision", "net lowered, OpenVINO"].second == "bf16"
    assert [one.label for one in report.rows] == [
        "net lowered, ONNX Runtime, fp32",
        "net lowered, ONNX Runtime, int8",
        "net lowered, OpenVINO, fp32",
        "net lowered, OpenVINO, bf16",
        "net lowered, OpenVINO, int8",
    ]


def test_saved_and_made_again(tmp_path):
    first = document_of(report_of([*two("net", 2.0, 1.0), *two("net-se", 3.0, 2.0, at=2)]))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(first))
    assert document_of(report_of(read_saved([path]), title=first["title"])) == first


def test_rounds_that_cannot_be_are_no_contest():
    rows = two("net", 2.0, 1.0)
    short = row("net", 1.0, runtime="openvino", count=7)
    nothing = rows[1].model_copy(
        update={"trace": rows[1].trace.model_copy(update={"rounds_ms": (0.0, 1.0)})}
    )
    assert report_of([rows[0], short]).contests == ()
    assert report_of([rows[0], nothing]).contests == ()


def test_names_on_the_page_are_text():
    page = render(report_of([*two(HOSTILE, 2.0, 1.0), *two("b", 2.0, 1.0, precision=HOSTILE)]))
    assert "<script>alert" not in page
    assert "Which runtime is the fastest" in page
