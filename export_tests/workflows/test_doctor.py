"""Doctor finds what is broken, and survives it."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from edgeattn.workflows import doctor, doctor_steps


def diagnose(monkeypatch, stubs=None):
    if stubs is not None:
        monkeypatch.setenv("PYTHONPATH", str(stubs), prepend=os.pathsep)
    return doctor.diagnose()


def states(diagnosis):
    return {check.name: check.state for check in diagnosis.checks}


def test_steps_and_their_descriptions_are_the_same():
    assert list(doctor.STEPS) == list(doctor_steps.STEPS)
    for name, step in doctor.STEPS.items():
        earlier = list(doctor.STEPS)[: list(doctor.STEPS).index(name)]
        assert set(step.after) <= set(earlier)


def test_all_that_export_needs_works_here(edgeattn):
    run = edgeattn("doctor", "--json")
    assert run.returncode == 0
    document = json.loads(run.stdout)
    assert document["can_export"] is True
    found = {check["name"]: check for check in document["checks"]}
    assert {found[name]["state"] for name in ("timm", "onnxsim")} == {"works"}
    assert document["installed"]["torch"] is not None
    assert not [check for check in found.values() if check["state"] == "works" and check["mend"]]


def test_without_torch_what_needs_it_is_not_tried(monkeypatch, stub):
    missing = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    diagnosis = diagnose(monkeypatch, stub(torch=missing))
    found = states(diagnosis)
    assert found["torch"] == "absent"
    assert {found[name] for name in ("timm", "export", "onnxruntime", "onnxsim")} == {"untried"}
    assert not diagnosis.can_export


@pytest.fixture(scope="module")
def half_broken(tmp_path_factory):
    """A diagnosis where timm is broken, onnxruntime does not load, and onnxsim crashes."""
    stubs = tmp_path_factory.mktemp("stubs")
    for name, source in {
        "timm": "raise RuntimeError('operator torchvision::nms does not exist')",
        "onnxruntime": "raise ImportError('no such symbol')",
        "onnxsim": "import os\nos.abort()",
    }.items():
        (stubs / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        return diagnose(patch, stubs)


def test_a_library_that_is_broken_fails_with_its_reason(half_broken):
    (timm,) = [check for check in half_broken.checks if check.name == "timm"]
    assert timm.state == "fails"
    assert "torchvision::nms" in timm.detail
    assert timm.mend
    assert states(half_broken)["export"] == "works"
    assert not half_broken.can_export


def test_a_library_that_crashes_takes_only_its_own_check_down(half_broken):
    (onnxsim,) = [check for check in half_broken.checks if check.name == "onnxsim"]
    assert onnxsim.state == "crashes"
    assert "SIGABRT" in onnxsim.detail
    assert states(half_broken)["tensorrt-rtx"] != "crashes"
    broken = ("timm", "onnxruntime")
    checks = tuple(check for check in half_broken.checks if check.name not in broken)
    assert dataclasses.replace(half_broken, checks=checks).can_export


def test_a_library_that_hangs_is_given_up(monkeypatch, stub):
    monkeypatch.setattr(
        doctor, "STEPS", {name: doctor.STEPS[name] for name in ("tensorrt", "tensorrt-rtx")}
    )
    stubs = stub(tensorrt="import time\ntime.sleep(60)", tensorrt_rtx="__version__ = '9.9'")
    monkeypatch.setenv("PYTHONPATH", str(stubs), prepend=os.pathsep)
    found = {check.name: check for check in doctor.diagnose(timeout_s=2).checks}
    assert found["tensorrt"].state == "crashes"
    assert "within 2 s" in found["tensorrt"].detail
    assert found["tensorrt-rtx"].detail == "9.9"


def test_the_command_says_it(edgeattn, half_broken, monkeypatch):
    monkeypatch.setattr(doctor, "diagnose", lambda **_: half_broken)
    run = edgeattn("doctor", "--json")
    assert json.loads(run.stdout)["can_export"] is False
    assert run.returncode == 3
    run = edgeattn("doctor")
    assert run.returncode == 3
    assert "no such symbol" in run.stdout
    assert "To mend it: pip install" in run.stdout
    assert run.stderr == ""
