"""`edgeattn check --on`: a host is asked, on a real sshd, with the stand-in for trtexec."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.cli import app
from edgeattn.hosts import visit
from edgeattn.hosts.probe import HostFacts, probe
from edgeattn.options.check import CheckOptions
from edgeattn.workflows.check_on import of_host
from export_tests.engine.nets import small
from export_tests.hosts import trtexec

ORIN = {"device": "jetson-agx-orin-64gb", "title": "Jetson AGX Orin 64 GB", "jetpack": "6.2",
        "dla_cores": 2}  # fmt: skip


@pytest.fixture
def orin(sshd, monkeypatch):
    """Plays an AGX Orin whose trtexec is a stand-in, and sees to it that nothing is left there."""
    monkeypatch.setenv("EDGEATTN_SSH", sshd.ssh)
    monkeypatch.setattr(visit, "probe", lambda host: dataclasses.replace(probe(host), **ORIN))

    def play(version="10.3.0", **settings):
        trtexec.install(sshd.path, version, **{"dla_cores": 2, **settings})
        return sshd.address

    yield play
    assert [one for one in sshd.left if one != ".ses"] == []


def checked(capsys, *words):
    code = app.run(["check", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_dla_is_asked_and_what_it_says_goes_before_the_tables(orin, tmp_path, capsys):
    path = small(tmp_path / "m.onnx")
    code, said = checked(capsys, path, "--on", orin(), "--dla", "--gpu-fallback")
    assert code == 0
    assert (said["device"], said["jetpack"], said["version"]) == (ORIN["device"], "6.2", "10.3.0")
    assert said["host"].startswith("TensorRT 10.3.0 on ")
    report = said["dla"]
    assert (report["dla"], report["gpu"], report["unknown"]) == (4, 1, 0)
    assert report["loadables"] == [2, 2]
    (off,) = [one for one in said["findings"] if one["about"] == "dla"]
    assert off["fact"] == (
        "GlobalAveragePool falls back to the GPU: DLA cores do not support AVG Reduce operation."
    )
    assert off["source"] == f"measured: {said['host']}"
    assert off["mend"]  # what to do about it is known
    assert {one["source"] for one in said["operators"]} == {f"measured: {said['host']}"}


@pytest.mark.slow
def test_a_parser_that_refuses_is_no(orin, tmp_path, capsys):
    path = small(tmp_path / "m.onnx", extra="Foo")
    code, said = checked(capsys, path, "--on", orin("8.5.2"))
    assert code == 1
    (one,) = [one for one in said["findings"] if one["about"] == "operator"]
    assert (one["verdict"], one["op"], one["nodes"]) == ("no", "my.Foo", ["last/Foo"])
    assert "Plugin not found" in one["fact"]
    assert one["source"].startswith("measured: TensorRT 8.5.2 on ")


@pytest.mark.slow
def test_an_open_batch_is_built_for_what_it_is_checked_for(orin, tmp_path, capsys):
    path = small(tmp_path / "m.onnx", batch="N")
    _, said = checked(capsys, path, "--on", orin("10.16.2"), "--dla", "--dla-core", "1")
    assert said["dla"]["gpu"] == 1
    assert not [one for one in said["findings"] if one["verdict"] == "unknown"]


@pytest.mark.slow
def test_a_dla_that_is_not_there_after_all(orin, tmp_path, capsys):
    path = small(tmp_path / "m.onnx")
    code, said = checked(capsys, path, "--on", orin(dla_cores=0), "--dla", "--gpu-fallback")
    assert code == 1
    (first, *_) = said["findings"]
    assert (first["about"], first["verdict"]) == ("dla", "no")
    assert "builds no engine of it: Cannot create DLA engine, 0 not available" in first["fact"]
    assert any("does not say where layers run" in note for note in said["notes"])


def facts(**more) -> HostFacts:
    fields = {one.name: None for one in dataclasses.fields(HostFacts)}
    here = {"address": "orin", "trtexec": "/t", "tensorrt": "10.3.0.30", "pythons": (), "gpu": ""}
    return HostFacts(**(fields | here | ORIN | more))


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ({}, {}, ("jetson-agx-orin-64gb", "6.2", "10.3.0")),
        ({"device": "jetson-agx-orin-64gb", "jetpack": "6"}, {}, (ORIN["device"], "6.2", "10.3.0")),
        # A TensorRT of one's own: no JetPack has it.
        ({}, {"tensorrt": "10.7.0"}, (ORIN["device"], None, "10.7.0")),
        ({"device": "jetson-xavier-nx"}, {"device": None, "tensorrt": "8.5.2", "jetpack": None},
         ("jetson-xavier-nx", None, "8.5.2")),
    ],
)  # fmt: skip
def test_a_host_says_what_it_is(options, more, expected):
    found = of_host(CheckOptions(**options), facts(**more))
    assert (found.device, found.jetpack, found.tensorrt) == expected


@pytest.mark.parametrize(
    ("options", "more", "kind", "said"),
    [
        ({"device": "jetson-nano"}, {}, InputError, "--device says jetson-nano"),
        ({"jetpack": "5.1"}, {}, InputError, "has JetPack 6.2, and --jetpack says 5.1"),
        ({"tensorrt": "8.5"}, {}, InputError, "has TensorRT 10.3.0, and --tensorrt says 8.5"),
        ({}, {"device": None}, InputError, "Add --device NAME"),
        ({}, {"trtexec": None, "trtexec_fault": ""}, MissingError, "no trtexec"),
        ({}, {"trtexec": None, "device": "raspberry-pi-5"}, MissingError,
         "--device raspberry-pi-5, without --on"),
    ],
)  # fmt: skip
def test_a_host_that_is_something_else(options, more, kind, said):
    with pytest.raises(kind, match=said):
        of_host(CheckOptions(**options), facts(**more))
