"""Doctor finds what is broken, and survives it."""

from __future__ import annotations

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


def test_all_that_export_needs_works_here(monkeypatch):
    diagnosis = diagnose(monkeypatch)
    assert diagnosis.can_export
    assert states(diagnosis)["onnxsim"] == "works"
    assert diagnosis.installed["torch"] is not None
    assert not [check for check in diagnosis.checks if check.state == "works" and check.mend]


def test_without_torch_what_needs_it_is_not_tried(monkeypatch, stub):
    missing = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    diagnosis = diagnose(monkeypatch, stub(torch=missing))
    found = states(diagnosis)
    assert found["torch"] == "absent"
    assert {found[name] for name in ("timm", "export", "onnxruntime", "onnxsim")} == {"untried"}
    assert not diagnosis.can_export


def test_a_library_that_is_broken_fails_with_its_reason(monkeypatch, stub):
    broken = stub(timm="raise RuntimeError('operator torchvision::nms does not exist')")
    diagnosis = diagnose(monkeypatch, broken)
    (timm,) = [check for check in diagnosis.checks if check.name == "timm"]
    assert timm.state == "fails"
    assert "torchvision::nms" in timm.detail
    assert timm.mend
    assert states(diagnosis)["onnxruntime"] == "works"
    assert not diagnosis.can_export


def test_a_library_that_crashes_takes_only_its_own_check_down(monkeypatch, stub):
    diagnosis = diagnose(monkeypatch, stub(onnxsim="import os\nos.abort()"))
    (onnxsim,) = [check for check in diagnosis.checks if check.name == "onnxsim"]
    assert onnxsim.state == "crashes"
    assert "SIGABRT" in onnxsim.detail
    assert states(diagnosis)["tensorrt-rtx"] != "crashes"
    assert diagnosis.can_export


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


@pytest.mark.parametrize("works", [True, False])
def test_the_command_says_it_in_its_exit_code(edgeattn, stub, works):
    stubs = None if works else stub(onnxruntime="raise ImportError('no such symbol')")
    run = edgeattn("doctor", "--json", stubs=stubs)
    document = json.loads(run.stdout)
    assert document["can_export"] is works
    assert run.returncode == (0 if works else 3)


def test_the_report_says_how_to_mend(edgeattn, stub):
    run = edgeattn("doctor", stubs=stub(onnxruntime="raise ImportError('no such symbol')"))
    assert "no such symbol" in run.stdout
    assert "To mend it: pip install" in run.stdout
    assert run.stderr == ""
