"""The file of a sweep: rows are whole whenever they are read, and only a sweep's file is taken."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.records import store as store_module
from edgeattn.records.store import Basis, Outcome, Store, read_rows
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import Kernel

KERNEL = Kernel(
    name="", op="", kind="matmul", time_us=7.0, interval_us=(5.0, 9.0), traffic_bytes=64, macs=9,
    nodes=(), precision="fp16", bound="compute",
)  # fmt: skip


def row(key: str, latency_ms: float = 1.0) -> SweepRow:
    return SweepRow(
        key=key, model="resnet18", attention="", opset=17, precision="fp32", target="tensorrt",
        runtime="tensorrt", device="jetson", title="Jetson", evidence="predicted",
        latency_ms=latency_ms, latency_interval_ms=(0.5, 2.0), params=3, macs=9, element_ops=2,
        traffic_bytes=None, kernels=1, versions={"edgeattn": "0"},
    )  # fmt: skip


def test_jobs_wait_are_done_or_fail_and_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    with Store(path) as store:
        store.add([("a", "A"), ("b", "B"), ("c", "C")])
        store.begin(["a", "b"])
        basis = Basis(latency_ms=1.0, kernels=(KERNEL,), shared_spread=0.2)
        store.finish([Outcome(key="a", row=row("a"), basis=basis), Outcome(key="b", fact="No.")])
        found, failed = read_rows(path)  # while it is written
        assert [one.key for one in found] == ["a"]
        assert failed == {"B": "No."}
    with Store(path) as store:
        store.add([("a", "A"), ("d", "D")])
        assert store.states() == {"a": "done", "b": "failed", "c": "waiting", "d": "waiting"}
        assert store.basis("a") == basis
        assert store.basis("b") is None
        store.wait(["a", "b"])
        assert store.states()["a"] == "done"
        assert store.states()["b"] == "waiting"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sweep.db"]


def test_all_of_an_exports_rows_are_written_or_none(tmp_path: Path) -> None:
    with Store(tmp_path / "sweep.db") as store:
        store.add([("a", "A"), ("b", "B")])
        lame = Outcome(key="b", fact=object())  # type: ignore[arg-type]
        with pytest.raises(InputError):
            store.finish([Outcome(key="a", row=row("a")), lame])
        assert store.rows(["a", "b"]) == []
        assert set(store.states().values()) == {"waiting"}


def test_of_one_model_at_one_place_the_last_row_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    others = row("c").model_copy(update={"options": "batch 4"})
    with Store(path) as store:
        store.add([("a", "A"), ("b", "B"), ("c", "C")])
        for one in (row("a"), row("b", 2.0), others):
            store.finish([Outcome(key=one.key, row=one)])
    assert [one.key for one in read_rows(path)[0]] == ["b", "c"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    with Store(path) as store:
        store.add([("a", "A"), ("b", "B")])
        store.finish([Outcome(key="a", row=row("a"))])
        (pages,) = store._database.execute("PRAGMA page_count").fetchone()
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        large = row("b").model_copy(update={"notes": ("x" * 100_000,)})
        with pytest.raises(InputError, match="full") as raised:
            store.finish([Outcome(key="b", row=large)])
        assert "Free some space" in raised.value.mend
    assert [one.key for one in read_rows(path)[0]] == ["a"]


def test_two_sweeps_do_not_write_one_file_and_one_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    with Store(path) as store:
        with pytest.raises(InputError, match="Another sweep writes"):
            Store(path)
        store.add([("a", "A")])
        with Store(path, to_read=True) as other:
            assert other.states() == {"a": "waiting"}
    Store(path).__exit__()
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.db"]


def test_a_file_that_cannot_be_begun_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SCHEMA", "CREATE nonsense")
    with pytest.raises(InputError):
        Store(tmp_path / "sweep.db")
    assert not [one for one in tmp_path.iterdir() if one.name.endswith(".lock")]


def test_what_failed_and_was_mended_is_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    with Store(path) as store:
        store.add([("old", "A"), ("new", "A"), ("b", "B")])
        store.finish([Outcome(key="old", fact="No."), Outcome(key="b", fact="No.")])
        store.finish([Outcome(key="new", row=row("new"))])
        assert [one.key for one in store.failed(["b", "new", "old"])] == ["b", "old"]
        assert store.alone() == {"new"}
        store.finish([Outcome(key="new", row=row("new", 2.0))])  # found again
    rows, failed = read_rows(path)
    assert ([one.latency_ms for one in rows], failed) == ([2.0], {"B": "No."})


@pytest.mark.parametrize("make", ["text", "other", "newer", "cut"])
def test_what_is_no_file_of_a_sweep_is_refused(make: str, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    if make == "text":
        path.write_text("{}")
    else:
        if make != "other":
            with Store(path) as store:
                store.add((f"{k}", "label" * 9) for k in range(999))
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE more (x)")
        database.execute(f"PRAGMA user_version = {7 if make == 'newer' else 1}")
        database.commit()
        database.close()
    if make == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes()
    for read in (Store, read_rows):
        with pytest.raises(InputError) as raised:
            read(path)
        if make == "newer":
            assert "schema version 7" in raised.value.fact
    assert path.read_bytes() == before
