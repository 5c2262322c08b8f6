"""The commit that is checked out here, if there is one."""

from __future__ import annotations

import subprocess

import pytest

from edgeattn.base.git import head


def git(*arguments):
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    (tmp_path / "a.py").write_text("1\n")
    git("add", "a.py")
    git("commit", "-q", "-m", "A first line\n\nand more")
    return tmp_path


def test_a_commit(repository, monkeypatch):
    found = head()
    assert len(found.sha) == 40
    assert (found.subject, found.is_changed) == ("A first line", False)
    assert found.date[:2] == "20"
    (repository / "new.py").write_text("2\n")  # git does not know it
    (repository / "folder").mkdir()
    monkeypatch.chdir(repository / "folder")
    assert head() == found
    (repository / "a.py").touch()
    assert not head().is_changed
    (repository / "a.py").write_text("3\n")
    assert head().is_changed


def test_what_a_repository_names_is_not_run(repository):
    for key in ("core.fsmonitor", "diff.external"):
        git("config", key, "sh -c 'touch ran'")
    (repository / "a.py").write_text("3\n")
    assert head().is_changed
    assert not (repository / "ran").exists()


def test_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert head() is None
    git("init", "-q")
    assert head() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head() is None
