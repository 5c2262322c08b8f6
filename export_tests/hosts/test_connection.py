"""Connections to a real sshd: what runs there, what is refused, and what is left: nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.worker import SlowError
from edgeattn.hosts import connection
from edgeattn.hosts.address import addresses
from edgeattn.hosts.connection import BusyError, FullError, LostError, RemoteError, Room, connect
from export_tests import sshd as servers
from export_tests.sshd import Sshd

# A shell that a host may have as its `sh`.
_SHELLS = ("dash", "busybox", "bash")


@pytest.fixture
def room(sshd: Sshd) -> Iterator[Room]:
    """A folder there."""
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        yield room
    assert sshd.left == []


def _until(is_so: Callable[[], bool], *, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _runs(words: str) -> bool:
    return bool(subprocess.run(["pgrep", "-f", words], check=False, capture_output=True).stdout)


@pytest.mark.parametrize(
    "text", ["a", "me@a", "a:22", "me@a.b-c:2222", "[::1]:22", "[fe80::1%eth0]"]
)
def test_reads_addresses(text: str) -> None:
    """An address is what ssh takes."""
    (found,) = addresses([text])
    assert str(found) == text
    assert found.user in (None, "me")


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=id", "-l@a", "me@-a", "a b", "a;id", "$(id)", "a`id`", "a\nb"]
)
@pytest.mark.parametrize("port", ["", ":22"])
def test_refuses_what_ssh_or_a_shell_would_run(text: str, port: str) -> None:
    """A name that they would take for something else is refused, not run."""
    with pytest.raises(InputError):
        addresses([f"{text}{port}"])


@pytest.mark.parametrize("text", ["a:0", "a:70000", "a:b", "::1", "a/b", "@a", "a@", "a:"])
def test_refuses_what_is_no_address(text: str) -> None:
    """A name that nobody can be reached by is refused."""
    with pytest.raises(InputError):
        addresses([text])


def test_several_addresses() -> None:
    """Commas and repetition are the same; one that is given twice is refused."""
    assert addresses(["a,b", "c"]) == addresses(["a", "b,c"])
    for texts in (["a,"], ["a,a"], ["a", "a"]):
        with pytest.raises(InputError):
            addresses(texts)


@pytest.mark.parametrize(
    "text", ["a b", "it's", 'say "x"', "$HOME `id` $(id)", "a\nb", "-n", "ü\\"]
)
def test_arguments_are_what_they_are(room: Room, text: str) -> None:
    """No shell on the way makes anything of them."""
    assert room.sh('printf %s "$1"', text, limit_s=5).stdout == text.encode()


def test_output_and_input_are_bytes(room: Room) -> None:
    """Every byte goes there and comes back."""
    data = bytes(range(256)) * 1000
    assert room.sh("cat", limit_s=5, stdin=data).stdout == data


def test_exit_code_and_errors(room: Room) -> None:
    """What failed says so in its own words."""
    ran = room.sh("echo first >&2; echo 'no such op' >&2; exit 3", limit_s=5)
    assert ran.code == 3
    with pytest.raises(RemoteError, match="It fails: no such op"):
        ran.check("It fails")
    assert room.sh("exit 255", limit_s=5).code == 255


def test_a_limit_ends_a_command_and_its_children(room: Room) -> None:
    """What takes too long is ended, whatever it started."""
    with pytest.raises(SlowError, match="within 1 s"):
        room.sh("sleep 4711 & sleep 4712; wait", limit_s=1)
    assert _until(lambda: not _runs("^sleep 471[12]"))


def test_files_are_copied(room: Room, tmp_path: Path) -> None:
    """A file arrives as it is, whatever it is called."""
    source, back = tmp_path / "a b'c\".onnx", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    assert room.put(source, source.name) == f"{room.folder}/{source.name}"
    assert room.get(source.name, back).read_bytes() == source.read_bytes()
    assert room.read(source.name) == source.read_bytes()
    room.sh("ln -s /dev/zero endless", limit_s=5)
    for name in ("nothing", "endless"):
        with pytest.raises(RemoteError, match="No such file"):
            room.get(name, back)
        with pytest.raises(RemoteError, match="No such file"):
            room.read(name)
    with pytest.raises(RemoteError, match="more than 5 bytes"):
        room.read(source.name, most_bytes=5)


def test_one_at_a_time(sshd: Sshd, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second is told who is there."""
    monkeypatch.setattr("getpass.getuser", lambda: "another")
    with connect(addresses([f"root@orin:{sshd.port}"])[0]) as host:
        assert host.sh("echo hi", limit_s=5).text == "hi\n"
        with (
            pytest.raises(BusyError, match=rf"process {os.getpid()} is on .* s so far"),
            host.stay(),
        ):
            pass
    assert room.sh("pwd", limit_s=5).text.strip() == room.folder


def test_a_stay_ends_what_it_started(sshd: Sshd) -> None:
    """Nothing runs there afterwards, and the host can be had again."""
    with connect(addresses([sshd.address])[0]) as host:
        with host.stay() as room:
            talk = room.talk("trap '' TERM; sleep 4713 & echo up; sleep 4714; wait")
            assert talk.stdout is not None
            assert talk.stdout.readline() == b"up\n"
        assert not _runs("^sleep 471[34]")
        assert sshd.left == []
        with host.stay() as room:
            assert room.notes == ()


def test_what_an_earlier_run_left_is_removed(sshd: Sshd) -> None:
    """And it is said; what is not ours stays."""
    for name in ("edgeattn.aB3dE6", "edgeattn.else", "others"):
        (sshd.tmp / name).mkdir()
    (sshd.tmp / "edgeattn.link00").symlink_to(sshd.tmp / "others")
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        assert ["edgeattn.aB3dE6" in note for note in room.notes] == [True]
    assert sshd.left == ["edgeattn.else", "edgeattn.link00", "others"]
    (sshd.tmp / "edgeattn.link00").unlink()
    for name in ("edgeattn.else", "others"):
        (sshd.tmp / name).rmdir()


@pytest.mark.parametrize("shell", _SHELLS)
def test_any_sh_will_do(sshd: Sshd, shell: str, tmp_path: Path) -> None:
    """The keeper and what runs there are plain sh."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} is installed")
    sh = sshd.path / "sh"
    sh.write_text(f'#!/bin/bash\nexec {shell} {"sh" if shell == "busybox" else ""} "$@"\n')
    sh.chmod(0o755)
    source = tmp_path / "a b"
    source.write_bytes(b"abc" * 100_000)
    with connect(addresses([sshd.address])[0]) as host:
        with host.stay() as room:
            room.put(source, "a b")
            talk = room.talk("echo up; sleep 4715")
            assert talk.stdout is not None
            assert talk.stdout.readline() == b"up\n"
            assert room.sh("cat; exit 4", limit_s=5, stdin=b"x").code == 4
        assert sshd.left == []
        assert not _runs("^sleep 4715")


def test_a_shell_that_talks(sshd: Sshd) -> None:
    """What a login prints first is skipped, even without a line's end."""
    sh = sshd.path / "sh"
    sh.write_text(
        '#!/bin/bash\n[ "$1" != -s ] || printf "Welcome to\\n\\033[31mL4T"\nexec dash "$@"\n'
    )
    sh.chmod(0o755)
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        assert room.sh("echo hi", limit_s=5).text == "hi\n"


@pytest.mark.parametrize("way", ["TERM", "INT", "KILL", "keeper"])
def test_nothing_is_left_by_who_is_killed(sshd: Sshd, way: str) -> None:
    """Neither a folder nor a process, and the lock is free."""
    code = (
        "import sys, time\n"
        "from edgeattn.base import signals\n"
        "from edgeattn.hosts.address import addresses\n"
        "from edgeattn.hosts.connection import connect\n"
        "signals.catch()\n"
        "with connect(addresses(sys.argv[1:])[0]) as host, host.stay() as room:\n"
        "    talk = room.talk('sleep 4716')\n"
        "    room.sh('echo $PPID', limit_s=5)\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, sshd.address],
        env={**os.environ, "TMPDIR": str(sshd.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert _until(lambda: _runs("^sleep 4716"))
    if way == "keeper":  # the ssh process goes, as when the line is cut here
        subprocess.run(["pkill", "-KILL", "-P", str(process.pid), "ssh"], check=True)
    else:
        process.send_signal(getattr(signal, f"SIG{way}"))
    assert _until(lambda: sshd.left == [] and not _runs("^sleep 4716"))
    process.kill()
    process.wait()
    process.stdout.close()
    for one in sshd.path.iterdir():
        shutil.rmtree(one)
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        assert room.notes == ()


def test_a_keeper_without_a_word_leaves(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is dead without anybody being told is no reason to stay."""
    monkeypatch.setattr(connection, "_PATIENCE_S", 2)
    monkeypatch.setattr(connection, "_BEAT_S", 60.0)
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        room.talk("sleep 4717")
        assert _until(lambda: sshd.left == [] and not _runs("^sleep 4717"))
        assert _until(lambda: not host.is_alive)
        with pytest.raises(LostError):
            room.sh("true", limit_s=5)


def test_a_keeper_that_never_hears_a_word_leaves(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after a stay too, a dead line is no reason to wait."""
    monkeypatch.setattr(connection, "_PATIENCE_S", 1)
    monkeypatch.setattr(connection, "_BEAT_S", 60.0)
    with connect(addresses([sshd.address])[0]) as host:
        assert _until(lambda: not host.is_alive)
    with connect(addresses([sshd.address])[0]) as host:
        with host.stay():
            pass
        assert _until(lambda: not host.is_alive)


def test_who_comes_and_goes_at_once_leaves_no_guard(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What watches the line ends with it, however early it is told to; nobody waits for it."""
    monkeypatch.setattr(connection, "_PATIENCE_S", 4718)

    def come_and_go(_: int) -> float:
        began = time.monotonic()
        with connect(addresses([sshd.address])[0]):
            pass
        return time.monotonic() - began

    with ThreadPoolExecutor(6) as pool:
        assert max(pool.map(come_and_go, range(36))) < 15
    assert _until(lambda: not _runs("^sleep 4718"))


def test_a_long_path_of_temporary_files(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket is short, whatever that of temporary files is."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with connect(addresses([sshd.address])[0]) as host:
        assert host.sh("echo hi", limit_s=5).text == "hi\n"


def test_words_keep_a_keeper(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays for as long as it hears from us."""
    monkeypatch.setattr(connection, "_PATIENCE_S", 1)
    monkeypatch.setattr(connection, "_BEAT_S", 0.2)
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        assert room.sh("sleep 3; echo still", limit_s=9).text == "still\n"


def test_who_is_not_there(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each refusal says what it is, and what to do."""
    config = (sshd.folder / "ssh_config").read_text()

    def refusal(address: str, old: str = "", new: str = "") -> str:
        changed = tmp_path / "config"
        changed.write_text(config.replace(old, new))
        monkeypatch.setenv("EDGEATTN_SSH", f"ssh -F {changed}")
        with pytest.raises(MissingError) as raised, connect(addresses([address])[0]):
            pass
        return str(raised.value)

    other = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    public = " ".join((tmp_path / "other_key.pub").read_text().split()[:2])
    (tmp_path / "changed").write_text(f"[127.0.0.1]:{sshd.port} {public}\n")
    known = str(sshd.folder / "known_hosts")
    assert "There is no host nowhere.invalid" in refusal("nowhere.invalid")
    assert "takes no SSH connection" in refusal("127.0.0.1:1")
    refused = refusal(sshd.address, str(sshd.folder / "user_key"), str(other))
    assert "lets nobody in without a password" in refused
    assert f"ssh {sshd.address}" in refused
    assert "is not known yet" in refusal(sshd.address, known, "/nonexistent")
    assert "another machine may answer" in refusal(sshd.address, known, str(tmp_path / "changed"))
    monkeypatch.setenv("EDGEATTN_SSH", "no-such-ssh")
    with pytest.raises(MissingError, match="no no-such-ssh here"), connect(addresses(["a"])[0]):
        pass


def _plays_sh(sshd: Sshd, script: str) -> None:
    sh = sshd.path / "sh"
    sh.write_text(script)
    sh.chmod(0o755)


@pytest.mark.parametrize("tool", ["timeout", "sleep", "flock", "sha256sum", "mktemp"])
def test_a_host_without_a_tool(sshd: Sshd, tool: str, tmp_path: Path) -> None:
    """Without what every run needs, nothing is begun: what is missing is said."""
    for name in {"timeout", "sleep", "flock", "mktemp", "sha256sum", "wc", "cat"} - {tool}:
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    _plays_sh(sshd, f'#!/bin/bash\nPATH={tmp_path} exec /bin/dash "$@"\n')
    with (
        pytest.raises(MissingError, match=f"no {tool} on"),
        connect(addresses([sshd.address])[0]) as host,
        host.stay(),
    ):
        pass


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exec yes", "says 'y'"),
        ("exec cat /dev/zero", "hangs up"),
        ("echo This account is not available.; exit 1", "says 'This account is not available'"),
        ("exec cat", "no `sh` answers"),
    ],
)
def test_what_is_no_shell(sshd: Sshd, script: str, says: str) -> None:
    """It is not waited for, nor read for ever; what it says is shown."""
    _plays_sh(sshd, f"#!/bin/sh\n{script}\n")
    began = time.monotonic()
    with pytest.raises(MissingError, match=says), connect(addresses([sshd.address])[0]):
        pass
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("busy ² me", "me is on"),
        (f"busy {'9' * 5000} me", "me is on"),
        ("busy 5 \033[31mme", r"\\x1b\[31mme is on .* for 5 s"),
        ("busy", "Somebody else"),
        ("what", "broke"),
    ],
)
def test_a_keeper_that_says_other_things(sshd: Sshd, answer: str, error: str) -> None:
    """What a host answers is read as what it is, or refused."""
    _plays_sh(
        sshd,
        "#!/bin/sh\nread -r first; mark=${first#*mark=}; mark=${mark%% *}\n"
        'printf "%s ready\\n" "$mark"\n'
        "while read -r word rest; do case $word in"
        f" stay) asked=1; printf '%s {answer}\\n' \"$mark\" ;;"
        ' leave) [ -z "$asked" ] || printf \'%s left\\n\' "$mark" ;;'
        " esac; done\n",
    )
    with (
        pytest.raises((MissingError, InputError), match=error),
        connect(addresses([sshd.address])[0]) as host,
        host.stay(),
    ):
        pass


def test_a_folder_that_is_relative(sshd: Sshd) -> None:
    """A TMPDIR that is no absolute path is where the login begins."""
    _plays_sh(
        sshd, f'#!/bin/bash\ncd {sshd.tmp.parent}; TMPDIR={sshd.tmp.name} exec /bin/dash "$@"\n'
    )
    with connect(addresses([sshd.address])[0]) as host, host.stay() as room:
        assert room.folder.startswith(f"{sshd.tmp}/")
    assert sshd.left == []


def test_a_host_of_one_session(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not called a line that broke."""
    alone = servers.start(tmp_path / "alone", options=["MaxSessions=1"])
    monkeypatch.setenv("EDGEATTN_SSH", alone.ssh)
    with (
        pytest.raises(LostError, match="opens no further session"),
        connect(addresses([alone.address])[0]) as host,
    ):
        host.sh("true", limit_s=5)
    alone.process.terminate()
    alone.process.wait()
    assert alone.left == sshd.left == []


def test_an_ssh_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command with a quote that does not end is refused."""
    monkeypatch.setenv("EDGEATTN_SSH", "ssh -F 'config")
    with pytest.raises(InputError, match="EDGEATTN_SSH"), connect(addresses(["a"])[0]):
        pass


def test_a_folder_that_cannot_be_made(sshd: Sshd) -> None:
    """It is said, and the lock is free again."""
    sh = sshd.path / "sh"
    sh.write_text('#!/bin/bash\nTMPDIR=/proc/nowhere exec dash "$@"\n')
    sh.chmod(0o755)
    with connect(addresses([sshd.address])[0]) as host:
        with pytest.raises(FullError, match="No folder can be made"), host.stay():
            pass
        with pytest.raises(FullError), host.stay():
            pass
