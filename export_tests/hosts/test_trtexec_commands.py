"""Every command line, for every version, is taken by the strict stand-in of that version."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.trtexec.flags import parse_version
from edgeattn.options.build import EngineOptions, Profile
from export_tests.engine.nets import small
from export_tests.hosts.trtexec import SAYS, VERSIONS, Played, install

SHAPES = {"x": (2, 3, 16, 16), "a:b": (1,)}
PROFILE = Profile(min=SHAPES, opt=SHAPES, max=SHAPES)


def of(version, path="trtexec"):
    return Trtexec(path=str(path), version=tuple(map(int, version.split("."))))


def all_commands(trtexec):
    for precisions in ((), ("fp16",), ("int8", "fp16")):
        for profiles in ((), (PROFILE,)):
            yield trtexec.build_command("m.onnx", "e", precisions=precisions, profiles=profiles)
    options = [{"workspace_mib": 64}]
    if trtexec.version >= (8, 6):
        options += [
            {"optimization_level": 5, "version_compatible": True, "hardware_compatible": True}
        ]
    for one in options:
        told = EngineOptions(**one)
        yield trtexec.build_command("m.onnx", "e", options=told, timing_cache="c", verbose=True)
    for shapes in ({}, SHAPES):
        yield trtexec.time_command("e", "t.json", shapes=shapes, warm_up_ms=500, runs=100)
        yield trtexec.profile_command("e", "p", "l", shapes=shapes, warm_up_ms=500, runs=100)
        yield trtexec.infer_command("e", {"x": "x.bin", "a:b": "y.bin"}, "o", shapes=shapes)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_command_line_is_taken(version, capsys):
    played = Played(version)
    for _, *flags in all_commands(of(version)):
        assert played.parsed(flags), flags
    said = capsys.readouterr().out
    assert "[E]" not in said
    # What 11 only warns of is not given to it, nor what 8.4 and later call deprecated.
    assert "[W]" not in said


@pytest.mark.parametrize(("version", "until"), [("8.0.1", "8.1.9"), ("8.4.3", "8.5.1")])
def test_versions_in_between_are_those_before(version, until):
    def flags(one):
        return list(all_commands(of(one)))

    assert flags(version) == flags(until)


@pytest.mark.parametrize("version", ["8.2.1", "10.3.0"])
def test_an_engine_is_built_timed_profiled_and_run(tmp_path, version):
    small(tmp_path / "m.onnx", batch="n")
    one, shapes = of(version, install(tmp_path, version)), {"x": (2, 3, 16, 16)}
    (tmp_path / "x.bin").write_bytes(bytes(4 * 2 * 3 * 16 * 16))
    profile = Profile(min=shapes, opt=shapes, max=shapes)
    for command in (
        one.build_command("m.onnx", "e", profiles=[profile], timing_cache="c"),
        one.time_command("e", "t.json", shapes=shapes, warm_up_ms=0, runs=20),
        one.profile_command("e", "p.json", "l.json", shapes=shapes, warm_up_ms=0, runs=20),
        one.infer_command("e", {"x": "x.bin"}, "o.json", shapes=shapes),
    ):
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert SAYS in done.stdout
    assert all((tmp_path / name).stat().st_size for name in ("c", "t.json", "p.json", "o.json"))
    assert (tmp_path / "l.json").exists()


def test_precision_is_a_flag_before_10_and_in_the_file_from_there_on():
    def given(version, **options):
        options = EngineOptions(**options)
        command = of(version).build_command(
            "m", "e", precisions=["fp16", "int8"], options=options, report_dla=True
        )
        return [flag for flag in command if flag in ("--fp16", "--int8", "--stronglyTyped")]

    assert given("8.5.2") == given("9.3.0") == ["--fp16", "--int8"]
    assert given("10.0.0") == given("10.16.2") == ["--stronglyTyped"]
    assert given("11.1.0") == []
    # A DLA is told by flags up to 10, as in NVIDIA's own commands.
    assert given("10.3.0", dla_core=0) == ["--fp16", "--int8"]
    assert given("11.1.0", dla_core=0) == []


def test_what_a_version_has_not_is_refused():
    with pytest.raises(InputError, match=r"--optimization-level came with TensorRT 8\.6"):
        of("8.5.2").build_command("m", "e", options=EngineOptions(optimization_level=1))
    with pytest.raises(InputError, match="2 optimisation profiles"):
        of("10.3.0").build_command("m", "e", profiles=[PROFILE, PROFILE])
    for name in ("a,b", "a'b"):
        with pytest.raises(InputError, match="comma or a quote in its name"):
            of("10.3.0").time_command("e", "t", shapes={name: (1,)}, warm_up_ms=0, runs=1)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8001] # trtexec --help", (8, 0, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec", (8, 5, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101302] [b6] # trtexec", (10, 13, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v110100] # trtexec", (11, 1, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v11.1.0.106] [b48] # trtexec", (11, 1, 0)),
        ("libnvinfer-bin\t8.5.2-1+cuda11.4", (8, 5, 2)),
        ("10.3.0.30-1+cuda12.5", (10, 3, 0)),
        ("TensorRT 8.6", (8, 6)),
        ("command not found", None),
    ],
)
def test_versions_are_read(text, version):
    assert parse_version(text) == version


def test_a_host_without_one_that_is_known_says_so():
    def facts(**what):
        return SimpleNamespace(**{"address": "orin", "trtexec_fault": "", **what})

    assert Trtexec.of(facts(trtexec="/t", tensorrt="8.5.2-1")) == of("8.5.2", "/t")
    with pytest.raises(MissingError, match="no trtexec on orin: it dies"):
        Trtexec.of(facts(trtexec=None, tensorrt="8.5.2", trtexec_fault="it dies"))
    with pytest.raises(MissingError, match=r"is of TensorRT 7\.1\.3: its flags are known"):
        Trtexec.of(facts(trtexec="/t", tensorrt="7.1.3"))
    with pytest.raises(MissingError, match="a version that is not known"):
        Trtexec.of(facts(trtexec="/t", tensorrt=None))
