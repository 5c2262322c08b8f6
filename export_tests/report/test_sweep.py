"""A sweep: what nothing beats, on a terminal, and for other programs."""

from __future__ import annotations

import csv
import io
import json
import sys

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgeattn.base.errors import InputError, MissingError
from edgeattn.records.sweep import SweepRow
from edgeattn.report import sweep_export
from edgeattn.report.sweep import (
    by_reason,
    document_of,
    headline_of,
    hidden_us,
    sweep_of,
    to_show,
)
from edgeattn.report.sweep_table import lines
from export_tests.report.sweeps import rows
from export_tests.report.traces import HOSTILE

FEW = tuple(rows(measured=(1,), places=2))


def hostile_rows():
    names = dict.fromkeys(
        ("model", "attention", "at", "precision", "runtime", "target", "device", "title"), HOSTILE
    )
    return [
        one.model_copy(
            update=names
            | {"notes": (HOSTILE,), "versions": {HOSTILE: HOSTILE}}
            | {"sites": tuple(s.model_copy(update={"path": HOSTILE}) for s in one.sites)}
        )
        for one in rows(backbones=1, attentions=1, devices=1)
        if one.attention
    ]


def printed(found, top=8, width=220):
    console = Console(width=width, markup=False, record=True, file=io.StringIO())
    for line in lines(found, top=top):
        console.print(line)
    return console.export_text()


POINTS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.booleans()), min_size=1, max_size=12
)


@given(POINTS)
def test_the_front_is_what_nothing_beats(points):
    found = sweep_of(
        [
            FEW[0].model_copy(
                update={"latency_ms": latency, "params": params, "attention": "se" * attended}
            )
            for latency, params, attended in points
        ],
        {},
    )
    compared = [one for one in points if one[2]] or points
    for (latency, params, attended), front in zip(points, found.front, strict=True):
        is_beaten = any(
            a <= latency and b <= params and (a, b) != (latency, params) for a, b, _ in compared
        )
        is_compared = attended or not any(one[2] for one in points)
        assert ("params" in front) is (is_compared and not is_beaten)


def test_a_row_whose_parameters_are_not_known_is_on_no_front_of_them():
    known = [one.model_copy(update={"params": None}) for one in FEW]
    assert {name for front in sweep_of(known, {}).front for name in front} == {"macs"}


def test_what_was_measured_stands_apart_and_comes_first():
    places = sweep_of(FEW, {}).by_place()
    assert [(one.evidence, one.title) for one in places] == [
        ("measured", "Jetson AGX Orin, MAXN"), ("predicted", "Jetson Orin Nano, 15W"),
    ]  # fmt: skip
    assert sorted(at for numbers in places.values() for at in numbers) == list(range(len(FEW)))


def test_two_boards_with_one_name_are_told_apart_by_their_addresses():
    boards = [
        one.model_copy(update={"title": "Board", "power_mode": "", "device": f"pi@{at % 2}"})
        for at, one in enumerate(FEW)
    ]
    titles = {one.title for one in sweep_of(boards, {}).by_place()}
    assert titles == {"Board (pi@0)", "Board (pi@1)"}


def test_the_headline_is_of_what_was_measured():
    said = headline_of(sweep_of(FEW, {"a": "no"}))
    above = [row.above_percent for row in FEW if row.evidence == "measured" and row.attention]
    assert str(said) == (
        f"4 attentions, 3 models, 2 devices: {len(FEW)} rows, 1 failed,"
        f" {min(above):+.1f} to {max(above):+.1f} % above plain, measured"
    )
    assert headline_of(sweep_of([], {})).cost == ""
    assert str(headline_of(sweep_of([], {}))).startswith("Nothing was found")


def test_the_hidden_cost_is_what_macs_do_not_explain():
    row = FEW[1]
    assert hidden_us(FEW[0]) is None
    assert hidden_us(row) == pytest.approx(
        sum(one.time_us for one in row.sites) - sum(one.macs_us for one in row.sites)
    )


def test_a_document_has_whole_rows():
    found = sweep_of(FEW, {"b": "no memory", "a": "no such opset"}, command="edgeattn report x.db")
    document = json.loads(json.dumps(document_of(found), allow_nan=False))
    assert tuple(SweepRow.model_validate(one) for one in document["rows"]) == FEW
    assert [one["on_front"] for one in document["rows"]] == [list(one) for one in found.front]
    assert document["failed"][0] == {"job": "b", "fact": "no memory"}


def test_reasons_are_said_once_the_most_frequent_first():
    assert by_reason({"a": "x", "b": "y", "c": "y"}) == {"y": ["b", "c"], "x": ["a"]}


def test_a_terminal_shows_what_costs_least_of_each_device():
    text = printed(sweep_of(FEW, {f"job {at}": "no memory" for at in range(10)}))
    least = min(one.above_percent for one in FEW if one.above_percent)
    assert "MEASURED" in text
    assert "PREDICTED" in text
    assert f"{least:+.1f}" in text
    assert "job 7: no memory" in text
    assert "job 8" not in text
    assert text.count("… and 46 more") == 2
    assert "as published" in text
    assert len(printed(sweep_of(FEW, {}), top=None).splitlines()) > len(FEW)


def test_names_are_legible_everywhere(tmp_path):
    found = sweep_of(hostile_rows(), {HOSTILE: HOSTILE}, title=HOSTILE)
    sweep_export.write(found, tmp_path / "x.csv")
    sweep_export.write(found, tmp_path / "x.parquet")
    texts = [printed(found), (tmp_path / "x.csv").read_text(), str(document_of(to_show(found)))]
    texts.append(str(pq.read_table(tmp_path / "x.parquet").to_pylist()))
    for text in texts:
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[2J" in text.replace("\\\\", "\\")


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_measured_and_predicted_never_share_a_column(tmp_path):
    sweep_export.write(sweep_of(FEW, {}), tmp_path / "x.csv")
    for row, said in zip(FEW, read_csv(tmp_path / "x.csv"), strict=True):
        other = "predicted" if row.evidence == "measured" else "measured"
        assert float(said[f"{row.evidence}_latency_ms"]) == row.latency_ms
        assert not any(value for name, value in said.items() if name.startswith(f"{other}_"))
        assert said["params"] == str(row.params)
        assert int(said["sites"]) == len(row.sites)


def test_parquet_has_sites_and_types(tmp_path):
    sweep_export.write(sweep_of(FEW, {}), tmp_path / "x.parquet")
    found = pq.read_table(tmp_path / "x.parquet")
    back = found.to_pylist()
    assert [one["key"] for one in back] == [one.key for one in FEW]
    for row, said in zip(FEW, back, strict=True):
        sites = said[f"{row.evidence}_sites"]
        assert [tuple(one["shape"]) for one in sites] == [one.shape for one in row.sites]
        assert dict(said["versions"]) == row.versions
        assert said["on_front_of_macs"] in (True, False)
    assert {str(found.schema.field(name).type) for name in ("params", "macs")} == {"int64"}
    empty = sweep_of([], {})
    sweep_export.write(empty, tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").schema == found.schema


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_a_spreadsheet_runs_no_name(tmp_path, name):
    sweep_export.write(
        sweep_of([FEW[0].model_copy(update={"model": name})], {}), tmp_path / "x.csv"
    )
    assert read_csv(tmp_path / "x.csv")[0]["model"] == f"'{name}"


def test_what_cannot_be_written_is_said_beforehand(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"neither a \.csv nor a \.parquet"):
        sweep_export.check_target(tmp_path / "x.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    sweep_export.check_target(tmp_path / "x.csv")
    with pytest.raises(MissingError, match=r"edgeattn\[parquet\]"):
        sweep_export.check_target(tmp_path / "x.parquet")
