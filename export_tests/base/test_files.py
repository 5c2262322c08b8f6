"""Files land whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeattn.base import files
from edgeattn.base.errors import InputError


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def replace_half(path: Path, exception: BaseException) -> None:
    with files.staged(path.parent) as room:
        (room / path.name).write_bytes(b"half")
        raise exception


def stage(folder: Path, *names: str) -> None:
    with files.staged(folder) as room:
        for name in names:
            (room / name).write_bytes(b"new")


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    stage(tmp_path, "a.bin")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a.bin")}
    assert len(modes) == 1


@pytest.mark.parametrize("exception", [RuntimeError(), KeyboardInterrupt(), SystemExit()])
def test_an_exception_leaves_what_was_there(tmp_path, exception):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(type(exception)):
        replace_half(tmp_path / "a.bin", exception)
    assert everything(tmp_path) == {"a.bin": b"old"}


def test_several_files_land_together(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"old")
    (tmp_path / "other").write_bytes(b"untouched")
    with files.staged(tmp_path) as room:
        for name in ("a.onnx", "a.onnx.data", "a.json"):
            (room / name).write_bytes(name.encode())
        assert (tmp_path / "a.onnx").read_bytes() == b"old"
    assert everything(tmp_path) == {
        "a.json": b"a.json",
        "a.onnx": b"a.onnx",
        "a.onnx.data": b"a.onnx.data",
        "other": b"untouched",
    }


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("exception", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_move_that_fails_is_undone(tmp_path, monkeypatch, failing, exception):
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "c").write_bytes(b"old c")
    moves = []
    replace = Path.replace

    def replace_until(self, target):
        if Path(target).parent == tmp_path and self.parent.name == "new":
            if len(moves) == failing:
                raise exception
            moves.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_until)
    with pytest.raises(type(exception)):
        stage(tmp_path, *"abc")
    assert len(moves) == failing
    assert everything(tmp_path) == {"a": b"old a", "c": b"old c"}


def test_undoing_works_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="not a regular file"):
        stage(tmp_path, "a", "b")
    assert everything(tmp_path) == {"a": b"old"}


def test_a_full_disk_is_an_input_error_with_the_path(tmp_path):
    def fill():
        with files.staged(tmp_path) as room, Path("/dev/full").open("wb") as full:
            (room / "a").write_bytes(b"half")
            full.write(b"x" * 100_000)

    with pytest.raises(InputError, match="No space left") as caught:
        fill()
    assert str(tmp_path) in caught.value.fact
    assert everything(tmp_path) == {}


def test_another_fault_in_the_block_is_not_dressed_up(tmp_path):
    with pytest.raises(FileNotFoundError), files.staged(tmp_path):
        (tmp_path / "missing").read_bytes()


def test_a_killed_process_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import pathlib, sys, time\n"
        "from edgeattn import files\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with files.staged(path.parent) as room:\n"
        "    (room / path.name).write_bytes(b'half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert everything(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("kind", ["missing", "file", "read-only"])
def test_check_writable_refuses(tmp_path, kind, monkeypatch):
    folder = tmp_path / "out"
    if kind == "file":
        folder.touch()
    elif kind == "read-only":
        folder.mkdir()
        if os.geteuid() == 0:
            # Root may write anywhere; what a read-only file system answers is put in its place.
            def refuse(*_, **__):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))

            monkeypatch.setattr(os, "mkdir", refuse)
        else:
            folder.chmod(0o500)
    with pytest.raises(InputError, match=str(folder)):
        files.check_writable(folder)


def test_check_writable_leaves_nothing(tmp_path):
    files.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_check_target_refuses_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="a folder"):
        files.check_target(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        files.check_target(Path("/dev/null"))
    files.check_target(tmp_path / "new.onnx")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"edge" * 100_000)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"edge" * 100_000).hexdigest()


def test_how_to_create_a_missing_folder_is_what_a_shell_takes(tmp_path):
    missing = tmp_path / "a b"
    with pytest.raises(InputError) as caught:
        files.check_writable(missing)
    assert not missing.exists()
    subprocess.run(caught.value.mend.removeprefix("Create it: "), shell=True, check=True)
    assert missing.is_dir()


def test_links_in_a_circle_and_names_too_long_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("loop", "x" * 300):
        with pytest.raises(InputError, match="Use another name"):
            files.check_target(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has /proc")
def test_a_folder_that_takes_no_files_is_refused():
    with pytest.raises(InputError, match="/proc"):
        files.check_writable(Path("/proc"))
