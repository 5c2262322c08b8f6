"""Energy in what is shown and written: on a terminal, on the page, in JSON and back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from edgeattn.profiling.samples import energy_difference
from edgeattn.records.trace import Machine, Power, SavedRow
from edgeattn.report.content import Report, report_of
from edgeattn.report.document import document_of
from edgeattn.report.headline import headline
from edgeattn.report.html import render
from edgeattn.report.saved import read_saved
from edgeattn.report.table import lines
from edgeattn.report.units import millijoules
from export_tests.report.traces import HOSTILE, above, plain, trace


def power(energy_mj: float, **changes: object) -> Power:
    """What an Orin NX may draw."""
    rounds = tuple(energy_mj * part for part in (0.99, 1.0, 1.01, 1.0))
    made = {
        "rail": "VDD_IN", "covers": "the whole module", "source": "hwmon", "mean_w": 9.25,
        "idle_w": 4.5, "energy_mj": energy_mj, "above_idle_mj": energy_mj / 2, "rounds_mj": rounds,
        "seconds": 12.0, "runs": 400, "readings": 48, "rails_w": {"VDD_IN": 9.25, "VDD_SOC": 1.75},
    }  # fmt: skip
    return Power.model_validate(made | changes)


def pair(*, variant: str = "stock", **changes: object) -> Report:
    """A model that takes a third more time than another, and a half more energy."""
    first = (plain if variant == "plain" else trace)(power=power(40.0))
    second = trace("net-se", power=power(60.0, **changes))
    energy = energy_difference(second.power, first.power)
    return report_of(
        [SavedRow(trace=first), SavedRow(trace=second, difference=above(33.0), energy=energy)]
    )


def _printed(report: Report) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for line in lines(report, top=None):
        console.print(line, markup=False)
    return console.export_text()


def test_on_a_terminal() -> None:
    """Both figures stand there, the rail is named, and a pair has an interval."""
    said = _printed(pair())
    assert "9.25 W, 4.5 W of it idle · VDD_IN, the whole module, by hwmon" in said
    assert "60 mJ an inference, 30 mJ above idle" in said
    assert "energy there: 40 mJ, +20 mJ, +50.0 % (95 %: " in said
    compared = _printed(pair(variant="plain"))
    assert "energy: of an inference, idle power too; VDD_IN, the whole module, by hwmon" in compared
    assert "60 mJ" in compared
    assert "+50.0" in compared
    assert str(headline(pair(variant="plain"))).endswith("+33.0 % latency, +50.0 % energy")
    assert str(headline(pair(variant="plain", rounds_mj=(38, 42, 41, 39)))).endswith(
        "+33.0 % latency"
    )


def test_where_a_board_tells_nothing() -> None:
    """It is said, and where nothing was asked, nothing is."""
    facts = {
        "power": "not to be had: the board tells none that we may read",
        "CPU clock": "1800 MHz (1800 to 1800)",
        "throttled": "no",
    }
    machine = Machine(device="rk3588", title="Radxa ROCK 5B", facts=facts)
    said = _printed(report_of([SavedRow(trace=trace(machine=machine))]))
    assert "not to be had" in said
    assert "watched   CPU clock 1800 MHz (1800 to 1800); throttled no" in said
    assert "power" not in _printed(report_of([SavedRow(trace=trace())]))
    assert "not to be had" in render(report_of([SavedRow(trace=trace(machine=machine))]))


def test_on_the_page() -> None:
    """All of it stands there, and names stay text."""
    page = render(pair(variant="plain"))
    for text in ("60 mJ", "30 mJ", "VDD_IN, the whole module, by hwmon", "<strong>+50.0</strong>"):
        assert text in page
    assert "energy, %" not in render(report_of([SavedRow(trace=plain()), SavedRow(trace=trace())]))
    hostile = trace(power=power(1.0, rail=HOSTILE))
    assert "alert(1)</script>" not in render(report_of([SavedRow(trace=hostile)]))


@pytest.mark.parametrize("variant", ["plain", "stock"])
def test_in_json_and_back(tmp_path: Path, variant: str) -> None:
    """A report that is made again from a file is the same."""
    report = pair(variant=variant)
    document = document_of(report)
    (tmp_path / "saved.json").write_text(json.dumps(document))
    assert document_of(report_of(read_saved([tmp_path / "saved.json"]))) == document
    row = document["models"][-1]
    assert row["power"]["above_idle_mj"] == 30
    assert row["energy_difference"]["percent"] == pytest.approx(50)


def test_units() -> None:
    """Energies are read at a glance."""
    said = [millijoules(one) for one in (0.35, 48.2, 1230.0, 1e-12, None)]
    assert said == ["350 µJ", "48.2 mJ", "1.23 J", "0 mJ", "-"]
