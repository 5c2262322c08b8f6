"""What a killed run left goes with the next one; what a living one uses stays."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from edgeattn.base import files, rooms
from edgeattn.base.errors import shown

STAGING = (
    "import pathlib, sys\n"
    "from edgeattn.base import files\n"
    "with files.staged(pathlib.Path(sys.argv[1])) as staging:\n"
    "    (staging / 'a').write_bytes(b'half')\n"
    "    print(staging.parent, flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def staging(tmp_path):
    """A process that is about to write, and its room."""
    with subprocess.Popen(
        [sys.executable, "-c", STAGING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_processs_room_is_removed_and_said(tmp_path, staging):
    process, left = staging
    process.kill()
    process.wait()
    assert (left / "new" / "a").read_bytes() == b"half"
    with pytest.warns(rooms.LeftoverWarning, match=left.name):
        files.write(tmp_path / "b", b"new")
    assert names(tmp_path) == ["b"]


def test_a_living_processs_room_is_not(tmp_path, staging):
    process, room = staging
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files.write(tmp_path / "b", b"new")
    assert (room / "new" / "a").exists()
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert names(tmp_path) == ["a", "b"]


def test_a_second_room_of_one_process_leaves_the_first(tmp_path):
    with rooms.room(tmp_path) as one, rooms.room(tmp_path) as other:
        assert one.exists()
        assert other.exists()
    assert names(tmp_path) == []


def test_only_rooms_are_removed(tmp_path):
    ours, lockless = tmp_path / ".edgeattn-notes", tmp_path / ".edgeattn-abcdefgh"
    for folder in (ours, lockless):
        folder.mkdir()
        (folder / "lock").touch()
    (lockless / "lock").rename(lockless / "kept")
    (tmp_path / ".edgeattn-abcdefg1").mkdir()  # killed before it had its lock
    (tmp_path / ".edgeattn-abcdefg2").write_text("a file of that name")
    (tmp_path / ".edgeattn-abcdefg3").symlink_to(ours)
    files.write(tmp_path / "b", b"new")
    assert names(tmp_path) == [
        ".edgeattn-abcdefg2",
        ".edgeattn-abcdefg3",
        ".edgeattn-abcdefgh",
        ".edgeattn-notes",
        "b",
    ]


def test_temporary_files_of_killed_runs_go_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os, tempfile\n"
        "from edgeattn.base import files\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "with files.scratch() as folder:\n"
        "    (folder / 'large').write_bytes(b'x')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    with pytest.warns(rooms.LeftoverWarning), files.scratch() as folder:
        assert list(folder.iterdir()) == []
    assert names(tmp_path) == []


def test_a_room_that_a_block_never_left_goes_when_the_process_ends(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from edgeattn.base import rooms\n"
        "kept = rooms.room(pathlib.Path(sys.argv[1]))\n"
        "print(kept.__enter__().name)\n"
        "import os; sys.modules['kept'] = kept\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(rooms.PREFIX)
    assert names(tmp_path) == []


def test_without_locks_nothing_is_removed(tmp_path, staging, monkeypatch):
    process, left = staging
    process.kill()
    process.wait()
    monkeypatch.setattr(rooms, "lock", lambda *_, **__: False)
    files.write(tmp_path / "b", b"new")
    assert left.exists()


@pytest.fixture
def when_locked(monkeypatch):
    """Does something once, where a room is about to be locked by its maker, or by a sweep."""

    def arrange(what, *, wait):
        def lock(descriptor, **how):
            if how == wait:
                monkeypatch.setattr(rooms, "lock", real)
                what()
            return real(descriptor, **how)

        real = rooms.lock
        monkeypatch.setattr(rooms, "lock", lock)

    return arrange


def test_a_room_that_is_being_made_may_be_swept_and_is_made_again(tmp_path, when_locked):
    swept = []

    def sweep():
        swept.extend(names(tmp_path))
        rooms._sweep(tmp_path)

    when_locked(sweep, wait={"wait": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with rooms.room(tmp_path) as made:
            assert len(swept) == 1
            assert [made.name] == names(tmp_path) != swept


def test_a_room_that_its_owner_leaves_as_it_is_swept_is_no_leftover(tmp_path, when_locked):
    with contextlib.ExitStack() as stack:
        room = stack.enter_context(rooms.room(tmp_path))
        (room / "a").write_bytes(b"half")
        when_locked(stack.close, wait={})
        assert not rooms._removed(room)
    assert names(tmp_path) == []


def test_threads_tell_nothing_of_each_others_rooms(tmp_path):
    told = []

    def work():
        for _ in range(100):
            try:
                with rooms.room(tmp_path) as made:
                    (made / "a").write_bytes(b"x")
            except rooms.LeftoverWarning as warning:
                told.append(warning)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    finally:
        sys.setswitchinterval(interval)
    assert told == []
    assert names(tmp_path) == []


def test_a_hidden_folder_is_told_by_where_it_is() -> None:
    inner = "/tmp/.edgeattn-a1b2c3d4/scratch/.edgeattn-e5f6a7b8/scratch"
    assert shown(f"{inner}: No space left on device.") == "/tmp: No space left on device."
    assert shown(f"'{inner}/model.onnx' is none.") == "'model.onnx' is none."
