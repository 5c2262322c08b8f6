"""Gates of sweeps: above plain models, above another sweep, and where nothing can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeattn.base.errors import InputError
from edgeattn.profiling.gate import Limit
from edgeattn.records.store import Basis, Outcome, Store
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import Kernel
from edgeattn.report.ci import junit
from edgeattn.workflows.sweep_gate import gate
from export_tests.records.test_store import KERNEL, row


def store(path: Path, *rows: SweepRow, kernels: tuple[Kernel, ...] = (KERNEL,)) -> Path:
    with Store(path) as made:
        made.add((one.key, one.label) for one in rows)
        for one in rows:
            basis = None
            if one.evidence == "predicted":
                basis = Basis(latency_ms=one.latency_ms, kernels=kernels, shared_spread=0.2)
            made.finish([Outcome(key=one.key, row=one, basis=basis)])
    return path


def with_attention(key: str, **figures: Any) -> SweepRow:
    return row(key).model_copy(update={"attention": "se"} | figures)


def test_rows_are_judged_above_their_plain_models_by_their_intervals() -> None:
    rows = [
        row("plain"),
        with_attention("a", above_ms=0.1, above_percent=10.0, above_interval_percent=(6.0, 14.0)),
        with_attention("b", above_ms=0.1, above_percent=10.0, above_interval_percent=(4.0, 14.0)),
        with_attention("c", above_ms=0.0, above_percent=0.0, above_interval_percent=(-1.0, 1.0)),
        with_attention("d", above_ms=0.1, above_percent=9.0, above_interval_percent=None),
    ]
    found = gate(rows, [], Limit.parse("5%"))
    verdicts = [one.verdict for one in found.checks]
    assert verdicts == ["failed", "cannot tell", "passed", "cannot tell"]
    assert found.fails
    assert not gate(rows[3:], [], Limit.parse("5%")).fails
    assert gate(rows[3:], [], Limit.parse("5%"), is_strict=True).fails
    assert [one.verdict for one in gate(rows[:1], [], Limit.parse("3ms")).checks] == ["passed"]
    with pytest.raises(InputError, match="none has any"):
        gate(rows[:1], [], Limit.parse("5%"))


def test_jobs_that_failed_fail_the_gate_and_are_errors_of_junit() -> None:
    errors = {"resnet18 + se": "It crashed."}
    found = gate([row("plain")], [], Limit.parse("5%"), errors=errors)
    assert (found.verdict, found.fails, found.checks) == ("failed", True, ())
    said = junit(found, suite="sweep")
    assert 'tests="1" failures="0" errors="1"' in said
    assert '<error message="It crashed." />' in said


def test_the_same_prediction_is_no_change_and_more_of_the_same_kernels_is_one(
    tmp_path: Path,
) -> None:
    before = store(tmp_path / "before.db", row("a"))
    now = store(tmp_path / "now.db", row("b"))
    same = gate([row("b")], [now], Limit.parse("1%"), baseline=before)
    assert [(one.verdict, one.found.value) for one in same.checks] == [("passed", 0.0)]

    slower = row("c", latency_ms=2.0)
    twice = store(tmp_path / "twice.db", slower, kernels=(KERNEL, KERNEL))
    found = gate([slower], [twice], Limit.parse("50%"), baseline=before)
    assert [(one.verdict, round(one.found.value)) for one in found.checks] == [("failed", 100)]
    printed = tmp_path / "printed.json"
    printed.write_text("{}")
    with pytest.raises(InputError, match="its kernels are not here"):
        gate([slower], [printed], Limit.parse("50%"), baseline=before)


def test_measurements_of_two_times_have_the_spread_of_both(tmp_path: Path) -> None:
    measured = {"evidence": "measured", "latency_interval_ms": (0.99, 1.01)}
    first = row("a").model_copy(update=measured)
    later = row("b").model_copy(update=measured)
    before = store(tmp_path / "before.db", first)
    (check,) = gate([later], [], Limit.parse("1%"), baseline=before).checks
    assert check.verdict == "cannot tell"
    assert check.found.interval is not None
    assert check.found.interval == pytest.approx((-1.41, 1.42), abs=0.02)
    assert "not run in the same rounds" in check.note


def test_only_the_same_model_at_the_same_place_is_compared(tmp_path: Path) -> None:
    before = store(tmp_path / "before.db", row("a"))
    other = row("b").model_copy(update={"power_mode": "7W"})
    with pytest.raises(InputError, match="none of these models"):
        gate([other], [before], Limit.parse("1%"), baseline=before)
    found = gate([row("a"), other], [before], Limit.parse("1%"), baseline=before)
    assert (len(found.checks), found.new) == (1, (other.label,))
