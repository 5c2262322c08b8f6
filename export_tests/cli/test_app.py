"""The error boundary: every way a command can end, and what the user sees of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeattn.base import signals
from edgeattn.base.errors import CheckError, EdgeattnError, InputError, MissingError
from edgeattn.cli import app, screen
from edgeattn.workflows import doctor

COMMANDS = (
    ["export"],
    ["optimize"],
    ["cast"],
    ["build"],
    ["inspect"],
    ["parity"],
    ["doctor"],
    ["list"],
    ["list", "models"],
    ["list", "attentions"],
    ["list", "rules"],
    ["devices"],
    ["devices", "list"],
    ["devices", "show"],
)


@pytest.fixture
def ends_with(monkeypatch):
    """Makes `edgeattn doctor` end with an exception."""

    def arrange(error):
        def fail(**_):
            raise error

        monkeypatch.setattr(doctor, "diagnose", fail)

    return arrange


ENDS = [
    (CheckError("It differs.", mend="Look closer."), "CheckError", 1),
    (InputError("It is no model.", mend="Give one."), "InputError", 2),
    (MissingError("There is no GPU.", mend="Buy one."), "MissingError", 3),
    (EdgeattnError("Something."), "EdgeattnError", 2),
    (OSError(errno.ENOSPC, "x", "/data/a.onnx"), "InputError", 2),
    (PermissionError(errno.EACCES, "x", "/data/a.onnx"), "InputError", 2),
    (KeyboardInterrupt(), "Interrupted", 130),
    (ZeroDivisionError("one over nothing"), "Fault", 70),
    (FileNotFoundError(errno.ENOENT, "x", "inside.py"), "Fault", 70),
]


@pytest.mark.parametrize(("error", "kind", "code"), ENDS)
def test_exit_codes(ends_with, capsys, tmp_path, monkeypatch, error, kind, code):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ends_with(error)
    assert app.run(["doctor"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    if isinstance(error, EdgeattnError):
        assert said.err == "\n".join(filter(None, [f"error: {error.fact}", error.mend])) + "\n"
    if isinstance(error, OSError) and code == 2:
        assert "/data/a.onnx" in said.err


@pytest.mark.parametrize(("error", "kind", "code"), ENDS)
def test_errors_as_json(ends_with, capsys, tmp_path, monkeypatch, error, kind, code):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ends_with(error)
    assert app.run(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out)["error"]
    assert set(document) == {"kind", "fact", "mend", "exit_code"}
    assert document["kind"] == kind
    assert document["exit_code"] == code


def test_a_fault_is_kept_in_a_file_with_its_traceback(ends_with, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ends_with(ZeroDivisionError("one over nothing"))
    app.run(["doctor"])
    said = capsys.readouterr().err
    (kept,) = tmp_path.iterdir()
    assert str(kept) in said
    assert "ZeroDivisionError: one over nothing" in said
    story = kept.read_text()
    assert "Traceback" in story
    assert "edgeattn doctor" in story


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_verbose_prints_the_traceback_of_a_fault(ends_with, capsys, tmp_path, monkeypatch, flag):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ends_with(ZeroDivisionError("one over nothing"))
    assert app.run(["doctor", flag]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_is_told_where_nothing_can_be_kept(ends_with, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    ends_with(ZeroDivisionError("one over nothing"))
    assert app.run(["doctor"]) == 70
    assert "one over nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exprot"], "export"),
        (["export"], "MODEL"),
        (["export", "resnet50", "--opsett", "17"], "--opset"),
        (["export", "resnet50", "--atention", "se"], "--attention"),
        (["export", "resnet50", "--opset", "seventeen"], "--opset"),
        (["export", "resnet50", "--opset", "12"], "13"),
        (["export", "resnet50", "--num-classes", "0"], "--num-classes"),
        (["export", "resnet50", "extra"], "extra"),
        (["export", "resnet50", "--opset"], "--opset"),
        (["export", "resnet50", "--no-lower", "--target", "onnxruntime"], "--no-lower"),
        (["optimize"], "IN.onnx"),
        (["optimize", "a.onnx"], "--output"),
        (["parity"], "A.onnx"),
        (["parity", "a.onnx"], "--reference"),
        (["parity", "a.onnx", "b.onnx", "--reference", "resnet50"], "--reference"),
        (["parity", "a.onnx", "b.onnx", "--attention", "se"], "--reference"),
        (["list", "modells"], "No such command"),
        (["doctor", "now"], "now"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_usage_errors(capsys, arguments, said, as_json):
    assert app.run([*arguments, *(["--json"] if as_json else [])]) == 2
    seen = capsys.readouterr()
    assert said in seen.err
    assert seen.err.startswith("error: ")
    if as_json:
        assert said in str(json.loads(seen.out)["error"])
    else:
        assert seen.out == ""


def test_a_group_alone_is_a_usage_error(capsys):
    assert app.run(["list"]) == 2
    assert capsys.readouterr().err == "error: Missing command.\nSee: edgeattn list --help\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], *([*c, "--help"] for c in COMMANDS)])
def test_help(capsys, arguments):
    assert app.run(arguments) == 0
    seen = capsys.readouterr()
    assert seen.out.startswith("Usage: edgeattn")
    assert seen.err == ""


def test_names_command_no_terminal_and_fill_no_screen(ends_with, capsys):
    name = f"\x1b[31m\u202e\x9bname{'x' * 100_000}"
    ends_with(InputError(f"{name} is no model.", mend=f"Give {name}."))
    assert app.run(["doctor", "--json"]) == 2
    said, told = capsys.readouterr()
    assert len(told) < 5000
    assert r"error: \x1b[31m\u202e\x9bname" in told
    assert "is no model." in told
    assert json.loads(said)["error"]["fact"] == f"{name} is no model."


def test_version(capsys):
    from importlib.metadata import version

    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == version("edgeattn") + "\n"


def test_every_command_takes_the_common_options(capsys):
    for command in COMMANDS:
        if command in (["list"], ["devices"]):
            continue
        app.run([*command, "--help"])
        told = capsys.readouterr().out
        for option in ("--json", "-v, --verbose", "-q, --quiet"):
            assert option in told, command


def noisy(tmp_path: Path) -> Path:
    """A model file that prints in every way there is."""
    path = tmp_path / "noisy.py"
    path.write_text(
        "import ctypes, logging, os, subprocess, sys, warnings\n"
        "print('from python')\n"
        "os.write(1, b'from the descriptor\\n')\n"
        "ctypes.CDLL(None).printf(b'from C\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(\"from a child\")'])\n"
        "warnings.warn('a warning')\n"
        "logging.getLogger('torch').error('a log record')\n"
        "def make():\n"
        "    raise ValueError('the model file is done')\n"
    )
    return path


@pytest.mark.parametrize("verbose", [pytest.param(False, marks=pytest.mark.slow), True])
def test_libraries_that_print_do_not_reach_stdout(edgeattn, tmp_path, verbose):
    source = f"{noisy(tmp_path)}:make"
    run = edgeattn("export", source, "--json", *(["-v"] if verbose else []), in_process=False)
    assert json.loads(run.stdout)["error"]["exit_code"] == 2
    assert "from python" in run.stderr  # it may be the user's own
    for place in ("the descriptor", "C", "a child"):
        assert (f"from {place}" in run.stderr) is verbose
    assert ("a warning" in run.stderr) is verbose
    assert ("a log record" in run.stderr) is verbose


@pytest.mark.parametrize(
    "sent", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_an_interrupted_command_leaves_nothing(tmp_path, sent):
    model = tmp_path / "slow.py"
    model.write_text(
        "import pathlib, time\n"
        "def make():\n"
        "    pathlib.Path(__file__).with_suffix('.ready').touch()\n"
        "    time.sleep(60)\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "slow.onnx").write_bytes(b"old")
    code = "from edgeattn.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, "export", f"{model}:make", "-o", str(out / "slow.onnx")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not model.with_suffix(".ready").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(sent)
        said, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ""
    assert "Traceback" not in told
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("slow.onnx", b"old")]


@pytest.mark.parametrize(
    "arguments",
    [[], ["export", "--help"], ["--version"], ["list", "rules"]],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_is_no_fault(arguments):
    read, write = os.pipe()
    os.close(read)
    code = "from edgeattn.cli.app import main; main()"
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert run.returncode == 141
    assert run.stderr == ""


def test_a_full_disk_behind_stdout_is_an_input_error():
    code = "from edgeattn.cli.app import main; main()"
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-P", "-c", code, "list", "rules"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 2
    assert re.match(r"error: .*No space left", run.stderr)
    assert "Traceback" not in run.stderr


def test_a_terminal_that_cannot_show_a_character_is_no_fault(edgeattn, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("PYTHONUTF8", "0")
    run = edgeattn("report", "naïve×.json", in_process=False)
    assert run.returncode == 2
    assert "na" in run.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault_and_lend_their_number_to_no_file(tmp_path, closed):
    text = (
        "from edgeattn.cli.app import main; from edgeattn.cli.commands import app\n"
        "@app.command()\n"
        "def write():\n"
        "    with open('file', 'w') as file:\n"
        "        print('shown', flush=True)\n"
        "        assert file.fileno() > 2\n"
        "        file.write('written')\n"
        "main()\n"
    )
    (tmp_path / "run.py").write_text(text)
    command = f"{shlex.quote(sys.executable)} run.py write {closed}"
    assert subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "file").read_text() == "written"


@pytest.mark.parametrize("library", ["timm", "torchvision", "onnxruntime"])
def test_a_library_that_does_not_load_is_missing(ends_with, capsys, library):
    ends_with(ModuleNotFoundError(f"No module named '{library}'", name=library))
    assert app.run(["doctor"]) == MissingError.exit_code
    said = capsys.readouterr().err
    assert library in said
    assert "edgeattn doctor" in said


WAITS = (
    "import pathlib, time\n"
    "pathlib.Path(__file__).with_suffix('.ready').touch()\n"
    "try:\n"
    "    time.sleep(60)\n"
    "except BaseException as error:\n"
    "    raise {error}\n"
)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "error", ["error", "ImportError('initialization failed', name='typer')", "SystemError('odd')"]
)
def test_an_interrupt_while_a_library_loads_is_one(stub, sent, error):
    folder = stub(typer=WAITS.format(error=error))
    code = "from edgeattn.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, "list", "rules", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    ) as process:
        while not (folder / "typer.ready").exists():
            assert process.poll() is None
            time.sleep(0.02)
        said, told = _interrupted(process, sent)
    assert process.returncode == 130
    assert told == "error: Interrupted.\n"
    assert json.loads(said)["error"]["kind"] == "Interrupted"


def _interrupted(process, sent):
    """Sends a signal until it is heard: Python drops one that comes while it finalises."""
    for _ in range(5):
        process.send_signal(sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)
    process.kill()
    return process.communicate()


def test_an_interrupt_that_a_library_swallowed_ends_the_next_stage(monkeypatch):
    monkeypatch.setattr(signals._State, "caught", True)
    with pytest.raises(KeyboardInterrupt), screen.Screen().working() as stage:
        stage("next")


def test_a_name_that_no_library_takes_is_refused(capsys):
    assert app.run(["optimize", "b\udcff.onnx", "-o", "c.onnx", "--json"]) == 2
    said, told = capsys.readouterr()
    assert told.startswith("error: The name b\\udcff.onnx is not in UTF-8")
    assert json.loads(said)["error"]["exit_code"] == 2


def test_a_folder_that_is_gone_is_no_fault(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert app.run(["list", "attentions"]) == 2
    assert "is gone" in capsys.readouterr().err


def test_hidden_folders_are_not_named():
    assert InputError("x" * 10**6).fact == "x" * 10**6  # at once
    error = InputError(
        "ONNX Runtime cannot load /tmp/.edgeattn-abcd_123/scratch/a.onnx.",
        mend="See /a b/.edgeattn-abcd_123/new/c.onnx, and '.edgeattn-abcd_123/new/d'.",
    )
    assert (error.fact, error.mend) == (
        "ONNX Runtime cannot load a.onnx.",
        "See /a b/c.onnx, and 'd'.",
    )
