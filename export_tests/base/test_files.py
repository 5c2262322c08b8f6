"""Files land whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
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
        "from edgeattn.base import files\n"
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


@pytest.fixture
def elsewhere():
    """A folder on another file system."""
    place = Path("/dev/shm")
    if not place.is_dir() or place.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def linked(tmp_path, target, *, relative=False, chain=False):
    """Makes here/r.json a link."""
    here = tmp_path / "here"
    here.mkdir()
    link = here / "r.json"
    if chain:
        (tmp_path / "between").symlink_to(target)
        target = tmp_path / "between"
    link.symlink_to(os.path.relpath(target, here) if relative else target)
    return link


@pytest.mark.parametrize("old", [b"old", None], ids=["there", "dangling"])
@pytest.mark.parametrize("more", [{}, {"relative": True}, {"chain": True}], ids=str)
def test_a_link_is_written_through(tmp_path, old, more):
    real = tmp_path / "real"
    real.mkdir()
    (real / "r.json").write_bytes(b"another's")
    if old is not None:
        (real / "real-r.json").write_bytes(old)
    link = linked(tmp_path, real / "real-r.json", **more)
    files.check_target(link)
    files.write(link, "new")
    assert link.is_symlink()
    assert everything(real) == {"r.json": b"another's", "real-r.json": b"new"}
    assert everything(link.parent) == {"r.json": b"new"}


def test_a_link_within_a_folder_and_a_hard_link(tmp_path):
    (tmp_path / "v1.json").write_bytes(b"old")
    (tmp_path / "latest.json").symlink_to("v1.json")
    os.link(tmp_path / "v1.json", tmp_path / "other-name.json")
    files.write(tmp_path / "latest.json", "new")
    assert everything(tmp_path) == {
        "latest.json": b"new",
        "v1.json": b"new",
        "other-name.json": b"old",
    }


def test_a_link_across_file_systems(tmp_path, elsewhere):
    (elsewhere / "real.json").write_bytes(b"old")
    link = linked(tmp_path, elsewhere / "real.json")
    with pytest.raises(RuntimeError):
        replace_half(link, RuntimeError())
    assert everything(elsewhere) == {"real.json": b"old"}
    files.write(link, "new")
    assert everything(elsewhere) == {"real.json": b"new"}
    assert link.is_symlink()
    assert everything(tmp_path) == {"here/r.json": b"new"}


def test_a_full_disk_behind_a_link_is_named(tmp_path, monkeypatch):
    real = tmp_path / "real"
    real.mkdir()
    link = linked(tmp_path, real / "real.json")

    def fill_up(source, _):
        raise OSError(errno.ENOSPC, "x", str(source))

    monkeypatch.setattr("shutil.move", fill_up)
    with pytest.raises(InputError, match=f"^{real}: No space left"):
        files.write(link, "new")
    assert everything(real) == {}
    real.rmdir()
    with pytest.raises(InputError, match="does not exist"):
        files.write(link, "new")


def test_links_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "missing").symlink_to(tmp_path / "no" / "such" / "file")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "device").symlink_to("/dev/null")
    for name, said in (
        ("missing", "does not exist"),
        ("folder", "a folder"),
        ("device", "not a regular file"),
        ("file/below", "does not exist"),
    ):
        with pytest.raises(InputError, match=said):
            files.check_target(tmp_path / name)


def test_two_things_for_one_file_are_refused(tmp_path):
    (tmp_path / "link").symlink_to("a.json")
    for other in ("a.json", "link", "sub/../a.json"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="two things"):
            files.check_apart([tmp_path / "a.json", tmp_path / other])
    files.check_apart([tmp_path / "a.json", tmp_path / "b.json"])


def fill(folders, last=lambda: None):
    with files.staged_in(folders) as stagings:
        for folder in folders:
            for name in ("x", "y"):
                (stagings[folder] / name).write_bytes(b"new")
        last()


@pytest.fixture
def several(tmp_path):
    """Folders, the last reached by a link from the second."""
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "x").write_bytes(b"old x")
    (folders[2] / "y").write_bytes(b"old y")
    (folders[1] / "y").symlink_to(folders[2] / "y")
    return folders


def test_a_set_lands_in_several_folders(tmp_path, several):
    fill(several[:2])
    assert everything(tmp_path) == dict.fromkeys(
        ("one/x", "one/y", "two/x", "two/y", "three/y"), b"new"
    )


@pytest.mark.parametrize("failing", [None, 0, 1, 2, 3])
def test_a_set_in_several_folders_lands_whole_or_not_at_all(
    tmp_path, several, monkeypatch, failing
):
    before = everything(tmp_path)
    moves = []
    replace = Path.replace

    def replace_until(self, target):
        if self.parent.name == "new":
            if len(moves) == failing:
                raise OSError(errno.EIO, "broken")
            moves.append(target)
        return replace(self, target)

    def leave():
        if failing is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", replace_until)
    with pytest.raises(KeyboardInterrupt if failing is None else OSError):
        fill(several[:2], leave)
    assert len(moves) == (failing or 0)
    assert everything(tmp_path) == before


def test_a_full_disk_of_temporary_files_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path)) as caught, files.scratch() as folder:
        raise OSError(errno.ENOSPC, "x", str(folder / "a"))
    assert "TMPDIR" in caught.value.mend
    assert everything(tmp_path) == {}


def test_no_place_for_temporary_files_is_told(monkeypatch):
    def refuse():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", refuse)
    with pytest.raises(InputError, match="No usable") as caught, files.scratch():
        pass
    assert "TMPDIR" in caught.value.mend


def test_a_folder_that_another_holds_locked_is_written_to(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(files, "_LONGEST_WAIT_S", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    files.write(tmp_path / "a", b"new")
    os.close(descriptor)
    assert everything(tmp_path) == {"a": b"new"}
