"""`edgeattn sweep`: from lists to rows, again from where it was, and what it says of faults."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeattn.base.errors import InputError
from edgeattn.cli import app
from edgeattn.cli.sweep import plan_of
from edgeattn.workflows import sweep_cluster

from .test_compare import NET

QUICK = ["--shape", "1x3x32x32", "--no-simplify", "--workers", "1"]


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return "net.py:make"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = app.run(["sweep", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


ODD = "from torch import nn\n\n\nclass Odd(nn.Module):\n    def forward(self, x):\n        {}\n"


def write_plan(folder: Path, net: str, devices: str) -> None:
    (folder / "plan.toml").write_text(
        f'model = "{net}"\nattention = ["simam", "mine.py:Odd"]\nat = "block-end"\n'
        f'device = {devices}\nshape = "1x3x32x32"\nno-simplify = true\nworkers = 1\n'
    )
    (folder / "mine.py").write_text(ODD.format("raise ValueError('not yet')"))


def test_rows_of_every_combination_but_those_that_failed(
    capsys: pytest.CaptureFixture[str], net: str, tmp_path: Path
) -> None:
    write_plan(tmp_path, net, '["jetson", "jetson@7W"]')
    code, found = run(capsys, "plan.toml", "--dry-run")
    assert (code, found["jobs"]["total"], found["jobs"]["exports"]) == (0, 6, 3)
    assert not (tmp_path / "plan.db").exists()

    code, found = run(capsys, "plan.toml")
    assert code == 1
    assert [(one["attention"], one["device"], one["power_mode"]) for one in found["rows"]] == [
        (attention, "jetson", mode) for mode in ("15W", "7W") for attention in ("", "simam")
    ]
    assert len(found["failed"]) == 2
    assert all("not yet" in one["fact"] for one in found["failed"])
    plain, simam, *_ = found["rows"]
    assert plain["above_percent"] is None
    low, high = simam["above_interval_percent"]
    assert low < simam["above_percent"] < high
    assert simam["evidence"] == "predicted"
    assert len(simam["sites"]) == 2

    code, again = run(capsys, "plan.toml")  # nothing is tried again by itself
    assert (code, again["jobs"]["exports"]) == (1, 0)
    assert again["rows"] == found["rows"]


@pytest.mark.slow
def test_what_failed_is_done_once_it_is_mended(
    capsys: pytest.CaptureFixture[str], net: str, tmp_path: Path
) -> None:
    write_plan(tmp_path, net, '["jetson", "raspberry-pi-5"]')
    _, found = run(capsys, "plan.toml")
    assert (len(found["rows"]), len(found["failed"])) == (4, 2)
    (tmp_path / "mine.py").write_text(ODD.format("return x * x.sigmoid()"))
    code, mended = run(capsys, "plan.toml", "--attention", "mine.py:Odd")
    assert (code, mended["failed"]) == (0, [])
    assert [row["attention"] for row in mended["rows"]] == ["", "Odd"] * 2
    assert mended["rows"][0] == found["rows"][0]


@pytest.mark.slow
def test_what_is_measured_is_run_in_rounds_with_the_plain_model(
    capsys: pytest.CaptureFixture[str], net: str, tmp_path: Path
) -> None:
    where = ["--model", net, "--runtime", "onnxruntime,openvino", "--limit", "0.3", *QUICK]
    code, found = run(capsys, *where, "-a", "simam", "--at", "block-end", "--threads", "1")
    assert code == 0
    assert [row["runtime"] for row in found["rows"]] == ["onnxruntime"] * 2 + ["openvino"] * 2
    assert {row["evidence"] for row in found["rows"]} == {"measured"}
    assert found["rows"][1]["above_interval_percent"] is not None
    assert [len(row["sites"]) for row in found["rows"]] == [0, 2, 0, 2]
    # A new attention needs the plain model's file again, and not its row.
    code, more = run(capsys, *where, "-a", "se", "--at", "block-end", "--threads", "1")
    assert code == 0
    assert more["rows"][0] == found["rows"][0]
    assert more["rows"][1]["above_percent"] is not None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.py", "sweep.db"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_killed_at_any_moment_nothing_is_lost_nor_done_twice(net: str, tmp_path: Path) -> None:
    command = [
        sys.executable, "-P", "-c", "from edgeattn.cli.app import main; main()", "sweep",
        "--model", net, "-a", "simam,se,eca", "--device", "jetson,raspberry-pi-5", "--at",
        "block-end", *QUICK,
    ]  # fmt: skip
    path = tmp_path / "sweep.db"
    draw = random.Random(0)
    seen: dict[str, str] = {}
    killed = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=draw.uniform(2, 12))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        if path.exists():
            now = rows_of(path)
            assert {key: now[key] for key in seen} == seen  # as they were
            seen = now
        if process.returncode == 0:
            break
        assert killed < 60
    assert len(seen) == 8
    database = sqlite3.connect(path)
    tries = dict(database.execute("SELECT key, tries FROM jobs").fetchall())
    # What was in flight as it was killed may be tried again: one export at a time, here.
    assert sum(tries.values()) <= 8 + 2 * killed
    assert Counter(database.execute("SELECT state FROM jobs").fetchall()) == {("done",): 8}
    time.sleep(0.5)  # its processes end with it
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.py", "sweep.db"]


def rows_of(path: Path) -> dict[str, str]:
    database = sqlite3.connect(path, timeout=60)
    found = dict(database.execute("SELECT key, row FROM rows").fetchall())
    database.close()
    return {key: json.loads(row)["key"] + row for key, row in found.items()}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ('modle = "resnet18"', "Did you mean model"),
        ("model = []", "an empty list"),
        ("seed = [1]", "seed is a list"),
        ("[model]\na = 1", "a table"),
        ("model = ", "no TOML"),
        ('json = "yes"', "no option of a sweep"),
        ('model = "resnet18"\nseed = "x"', "valid integer"),
        ('model = "resnet18"\nworkers = 0', "greater than or equal to 1"),
        ('model = "resnet18,,a"', "a name that is empty"),
        ('model = "resnet18"\nopset = ["a"]', "no list of whole numbers"),
        ('model = "resnet18"\nprecision = "fp17"', "no precision 'fp17'"),
        ('model = "resnet18"\nattention = "simm"', "no attention module named 'simm'"),
        ('model = "resnet18"\nat = "last"', "--at is given, and no attention"),
        ('model = "resnet18"\noutput = "x.onnx"', "Write: -o x.db"),
        ('model = "resnet18"\nreport = "plan.db"', "named for two things"),
        ('model = "resnet18"\nkeep-fp32 = ["*"]', "no precision to cast to"),
        ('model = "resnet18"\nfail-above = "5%"', "Add --attention NAME, --baseline SWEEP.db"),
    ],
)
def test_plans_that_cannot_be_followed(edgeattn: Callable[..., Any], plan: str, said: str) -> None:
    path = Path("plan.toml")
    found = edgeattn("devices", "list")  # goes to the folder
    path.write_text(plan)
    found = edgeattn("sweep", "plan.toml")
    assert found.returncode in (2, 3)
    assert said in " ".join(found.stderr.split())


def test_a_scheduler_that_is_not_there(
    edgeattn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_cluster, "_CONNECT_S", 0.5)
    asked = ["--model", "resnet18", "--device", "jetson", "--scheduler"]
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1"):
        found = edgeattn("sweep", *asked, address)
        assert found.returncode == 3
        assert "No scheduler of Dask's answers" in found.stderr


def test_the_command_line_goes_before_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('no-simplify = true\nmodel = ["a"]\n')
    known = {"no_simplify": False, "model": True}
    assert plan_of(path, known) == {"no_simplify": True, "model": ["a"]}
    with pytest.raises(InputError, match="cannot be read"):
        plan_of(tmp_path / "none.toml", known)


@pytest.mark.slow
def test_a_device_that_cannot_hold_a_model_and_others_that_can(
    capsys: pytest.CaptureFixture[str], net: str, tmp_path: Path
) -> None:
    for name in ("jetson-nano", "raspberry-pi-5"):
        profile = (Path(__file__).parents[2] / f"profiles/{name}.toml").read_text()
        small = re.sub(r"memory_gib = \d+", "memory_gib = 0.02", profile)
        (tmp_path / f"{name}.toml").write_text(small)
    devices = "jetson,./jetson-nano.toml,./raspberry-pi-5.toml"
    large = ["--shape", "1x3x512x512", "--no-simplify"]
    code, found = run(capsys, "--model", net, "--device", devices, *large)
    assert code == 1
    assert [row["device"] for row in found["rows"]] == ["jetson"]
    facts = [one["fact"] for one in found["failed"]]
    assert len(facts) == 2
    for fact in facts:
        assert re.search(r"cannot hold .*: weights and activations take 0\.\d+ GiB at least", fact)
