"""Connections to hosts, by the system's OpenSSH: its config, agents, jumps and known hosts count.

One connection carries everything. It runs the keeper (keeper.sh), which holds the lock and removes
the folder when the connection ends, however it does; every further command is a channel of it.
Whatever runs there is a POSIX script that a plain `sh` reads from its stdin: what the user's login
shell makes of quotes does not matter, and what it prints first ends at a random mark.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import platform
import queue
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

from edgeattn.base import files, signals
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.legible import legible
from edgeattn.base.rooms import room
from edgeattn.base.worker import SlowError, last_line, start
from edgeattn.hosts.address import Address
from edgeattn.hosts.looks import whole

#: A command to be used in the place of `ssh`, as in `ssh -F my-config`.
SSH: Final = "EDGEATTN_SSH"
# Seconds: for TCP, for the whole login, between words to the keeper, and without any until it
# leaves by itself.
_TCP_S, _LOGIN_S, _BEAT_S, _PATIENCE_S = 10, 30, 5.0, 45
_LEAVE_S: Final = 20.0
_SLICE_S: Final = 0.2
# What a command gets above its limit until its channel is cut off, and exit codes of `timeout`.
_GRACE_S: Final = 15.0
_TIMED_OUT: Final = (124, 137, 143)  # 137 is of an out-of-memory killer as well
_CUT_OFF: Final = 255
_MOST_BYTES: Final = 1 << 26
# The path of a socket has 104 characters at most, and ssh adds 17 while it makes one.
_LONGEST_FOLDER: Final = 80
_MOST_BEFORE_MARK: Final = 1 << 20
_MOST_SHOWN: Final = 100
_FULL: Final = ("No space left", "Disk quota exceeded", "write error", "File too large")
# What never ends, or gives what it was not asked for, is no file.
_IS_FILE: Final = '[ -f "$1" ] || { echo "No such file" >&2; exit 1; }'
_OPTIONS: Final = (
    "BatchMode=yes",
    f"ConnectTimeout={_TCP_S}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=6",
    "ControlPersist=no",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "LogLevel=ERROR",
)
_BY_HAND: Final = "Log in by hand first, until `ssh {}` asks for nothing: {}"
# What ssh says, what that means, and what to do.
_REFUSALS: Final = (
    ("Could not resolve", "There is no host {}.", "Is its name right, and known to ~/.ssh/config?"),
    ("Connection refused", "{} takes no SSH connection: {}.", "Is sshd running there?"),
    (
        "IDENTIFICATION HAS CHANGED",
        "The host key of {} is not the one that is known: another machine may answer in its place.",
        "If it was set up anew, remove the old key with ssh-keygen -R, and log in by hand once.",
    ),
    (
        "Host key verification failed",
        "The host key of {} is not known yet.",
        _BY_HAND.format("HOST", "it shows the key for you to check."),
    ),
    (
        "Permission denied",
        "{} lets nobody in without a password: {}.",
        _BY_HAND.format("HOST", "ssh-copy-id puts your key there, ssh-add unlocks it."),
    ),
    ("", "{} cannot be reached: {}.", "Is it on, and in this network? Try it by hand: ssh HOST"),
)


class LostError(MissingError):
    """The connection to a host broke."""


class BusyError(MissingError):
    """Somebody else is on the host."""


class FullError(MissingError):
    """A host has no space."""


class RemoteError(InputError):
    """A command failed on a host: its own words are the fact."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command.

    Attributes:
        code: Its exit code.
        stdout: What it printed.
        stderr: What it printed besides; others' words in between, as of a login shell.
    """

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """What it printed, as text."""
        return self.stdout.decode(errors="replace")

    def check(self, fact: str) -> Ran:
        """Return this, if it is a success.

        Args:
            fact: What was tried, as in "orin does not build m.onnx".

        Raises:
            RemoteError: It failed: the last line that it printed says why.
        """
        if self.code == 0:
            return self
        why = last_line(self.stderr) or last_line(self.text) or f"exit code {self.code}"
        raise RemoteError(f"{fact}: {legible(why)}")


@contextlib.contextmanager
def connect(address: Address) -> Iterator[Host]:
    """Connect to a host for as long as the block lasts.

    Raises:
        MissingError: It cannot be reached, does not let us in, or its key is not known.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(files.scratch())
        if len(str(folder)) > _LONGEST_FOLDER:
            folder = stack.enter_context(room(Path("/tmp")))  # noqa: S108  # a room is its own
        host = Host(address, folder)
        try:
            host.open()
            yield host
        finally:
            with signals.deferred():
                host.close()


class Host:
    """A host that is connected to.

    Args:
        address: Where it is.
        folder: A folder here, for the socket of the connection.
    """

    def __init__(self, address: Address, folder: Path) -> None:
        self.address: Final = address
        self._socket = folder / "s"
        self._mark = secrets.token_hex(16)
        self._said: queue.Queue[str | None] = queue.Queue()
        self._besides = ""
        self._writing = threading.Lock()
        self._done = threading.Event()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the connection
        self._master: subprocess.Popen[bytes] | None = None
        self._is_in = False
        self._talks: Final[list[subprocess.Popen[bytes]]] = []

    def open(self) -> None:
        """Connect.

        Raises:
            MissingError: See `connect`.
        """
        keeper = resources.files("edgeattn.hosts").joinpath("keeper.sh").read_text("utf-8")
        script = f"{{ mark={self._mark} patience={_PATIENCE_S}\n{keeper}}}\n"
        self._master = self._start("ControlMaster=yes", stderr=self._log)
        threading.Thread(target=self._listen, args=(self._master.stdout,), daemon=True).start()
        with contextlib.suppress(LostError):  # ssh has ended already: its words say of what
            self._tell(script)
        match self._greeting():
            case ["ready"]:
                self._is_in = True
            case ["without", tool]:
                raise self._without(legible(tool))
            case _:
                raise self._refusal()
        threading.Thread(target=self._beat, daemon=True).start()

    def close(self) -> None:
        """Disconnect; the keeper leaves as its stdin ends."""
        self._done.set()
        for talk in self._talks:
            _ended(talk)
        if self._master is None:
            self._log.close()
            return
        with contextlib.suppress(OSError), self._writing:
            assert self._master.stdin is not None
            self._master.stdin.close()
        try:
            # What never came in has made no folder, and may never end by itself.
            self._master.wait(_LEAVE_S if self._is_in else 0)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        self._log.close()

    def sh(
        self,
        script: str,
        *arguments: str,
        limit_s: float,
        stdin: bytes | Path | None = None,
        sink: BinaryIO | None = None,
        most_bytes: int = _MOST_BYTES,
    ) -> Ran:
        """Run a POSIX script there.

        Args:
            script: The script; a plain `sh` runs it.
            *arguments: Its arguments, `$1` and further.
            limit_s: Seconds after which it is ended.
            stdin: What it reads: bytes, or a file here.
            sink: Where what it prints is written; None to return it.
            most_bytes: So much may it print.

        Raises:
            SlowError: It took longer.
            LostError: The connection broke.
            RemoteError: It printed more.
        """
        return self._ran(_bounded(script, arguments, limit_s), limit_s, stdin, sink, most_bytes)

    @contextlib.contextmanager
    def stay(self) -> Iterator[Room]:
        """Take the host for oneself, with a folder there, for as long as the block lasts.

        Raises:
            BusyError: Somebody else is there: who, and for how long.
            MissingError: No folder can be made, or no lock taken.
        """
        try:
            with signals.deferred():
                made = self._room()
            yield made
        finally:
            with signals.deferred(), contextlib.suppress(LostError):
                self._tell("leave\n")
                self._hear(_LEAVE_S, until="left")

    def _room(self) -> Room:
        who = " ".join(f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}".split())
        self._tell(f"stay {who}\n")
        notes: list[str] = []
        while True:
            word, *rest = self._hear(_LOGIN_S) or [""]
            if word == "stay":
                return Room(host=self, folder=f"{' '.join(rest)}/room", notes=tuple(notes))
            if word == "removed":
                left = legible(" ".join(rest))
                notes.append(f"{self.address}: removed {left}, which a run that broke had left.")
            elif word == "busy" and " ".join(rest[1:]) == who:
                raise BusyError(
                    f"This run is on {self.address} already, by another name: one at a time.",
                    mend="Name it once.",
                )
            elif word == "busy":
                raise self._busy(rest)
            elif word == "without":
                raise self._without(legible(" ".join(rest)))
            elif word == "nowhere":
                raise FullError(
                    f"No folder can be made on {self.address}: {legible(' '.join(rest))}",
                    mend="Free some space there, or have its login set TMPDIR to a folder with"
                    " space.",
                )
            else:
                raise self._lost()

    def _without(self, what: str) -> MissingError:
        return MissingError(
            f"There is no {what} on {self.address} that can be used.",
            mend="Tools come with coreutils and util-linux, and with most builds of busybox.",
        )

    def _busy(self, rest: Sequence[str]) -> BusyError:
        fact = f"Somebody else measures on {self.address}"
        if rest:
            seconds, *who = rest
            fact = f"{legible(' '.join(who))} is on {self.address}"
            if (since_s := whole(seconds)) is not None:
                since = f"{since_s // 60} min" if since_s >= 60 else f"{since_s} s"
                fact += f", for {since} so far"
        return BusyError(f"{fact}: one at a time.", mend="Wait, or ask them.")

    # What runs over a channel of its own.

    def _ran(
        self,
        script: str,
        limit_s: float,
        stdin: bytes | Path | None,
        sink: BinaryIO | None,
        most_bytes: int,
    ) -> Ran:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(tempfile.TemporaryFile())
            given: BinaryIO = (
                stack.enter_context(files.opened(stdin))
                if isinstance(stdin, Path)
                else io.BytesIO(stdin or b"")
            )
            began, channel = time.monotonic(), self._channel(script, log)
            timer = threading.Timer(limit_s + _GRACE_S, channel.kill)
            timer.start()
            stack.callback(_ended, channel)
            stack.callback(timer.cancel)
            feeder = threading.Thread(target=_feed, args=(channel, given), daemon=True)
            printed = sink or io.BytesIO()
            self._skip(channel)
            feeder.start()
            assert channel.stdout is not None
            count = 0
            while block := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]  # buffered
                count += len(block)
                if count > most_bytes:
                    raise RemoteError(f"{self.address} sends more than {most_bytes:,} bytes.")
                printed.write(block)
            code = channel.wait()
            was_cut_off = timer.finished.is_set()
            feeder.join()
            log.seek(0)
            stderr = log.read(_MOST_BEFORE_MARK).decode(errors="replace")
        if code < 0 and not was_cut_off:
            raise self._lost()
        is_late = time.monotonic() - began >= limit_s
        if was_cut_off or (is_late and code in _TIMED_OUT):
            raise SlowError(f"A command on {self.address} did not end within {limit_s:g} s.")
        if code == _CUT_OFF and not self.is_alive:
            raise self._lost()
        stdout = b"" if sink is not None else printed.getvalue()  # type: ignore[attr-defined]
        return Ran(code=code, stdout=stdout, stderr=stderr)

    def talk(self, script: str) -> subprocess.Popen[bytes]:
        """Start a script whose stdin and stdout are pipes; what a login shell printed is skipped.

        Raises:
            LostError: The connection broke.
        """
        channel = self._channel(script, subprocess.DEVNULL)
        self._talks.append(channel)
        self._skip(channel)
        return channel

    def _channel(self, script: str, stderr: Any) -> subprocess.Popen[bytes]:
        if not self.is_alive:
            raise self._lost()
        channel = self._start("ControlMaster=no", "ProxyCommand=false", stderr=stderr)
        assert channel.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            # Read whole before it runs: what follows on stdin is what it reads itself.
            channel.stdin.write(f"{{ printf '%s\\n' {self._mark}\n{script}\n}}\n".encode())
            channel.stdin.flush()
        return channel

    def _skip(self, channel: subprocess.Popen[bytes]) -> None:
        """Read a channel up to the mark."""
        assert channel.stdout is not None
        count = 0
        while line := channel.stdout.readline(_MOST_BEFORE_MARK):
            count += len(line)
            if line.rstrip(b"\r\n").endswith(self._mark.encode()):
                return
            if count > _MOST_BEFORE_MARK:
                break
        if not count and self._stays():
            raise LostError(
                f"{self.address} lets us in, but opens no further session on the connection.",
                mend="Its sshd is to allow several: MaxSessions 10, as by default.",
            )
        raise self._lost()

    def _stays(self) -> bool:
        """Return whether the connection itself lives on where a channel of it has ended."""
        assert self._master is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._master.wait(1)
        return self.is_alive

    def _start(self, *options: str, stderr: Any) -> subprocess.Popen[bytes]:
        try:
            program = shlex.split(os.environ.get(SSH) or "ssh")
        except ValueError as error:
            raise InputError(f"{SSH} cannot be read as a command: {error}.") from error
        if not program or shutil.which(program[0]) is None:
            raise MissingError(
                f"There is no {legible(program[0] if program else 'ssh')} here.",
                mend="Install OpenSSH's client: apt install openssh-client",
            )
        settings = (*_OPTIONS, f"ControlPath={self._socket}", *options)
        command = [*program, "-T", "-x", "-a", *(f"-o{one}" for one in settings)]
        if self.address.port is not None:
            command += ["-p", str(self.address.port)]
        if self.address.user is not None:
            command += ["-l", self.address.user]
        return start(
            [*command, "--", self.address.host, "exec sh -s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for us; and ssh finds no terminal to ask on
        )

    # What is said to the keeper, and what it says.

    @property
    def is_alive(self) -> bool:
        """Whether the connection holds, as far as is known."""
        return self._master is not None and self._master.poll() is None and not self._done.is_set()

    def _beat(self) -> None:
        while not self._done.wait(_BEAT_S):
            with contextlib.suppress(LostError):
                self._tell("beat\n")

    def _tell(self, line: str) -> None:
        assert self._master is not None
        assert self._master.stdin is not None
        try:
            with self._writing:
                self._master.stdin.write(line.encode())
                self._master.stdin.flush()
        except (OSError, ValueError) as error:
            if self._said.empty():
                raise self._lost() from error

    def _listen(self, stdout: IO[bytes]) -> None:
        count = 0
        for line in iter(lambda: stdout.readline(_MOST_BEFORE_MARK), b""):
            _, mark, said = line.decode(errors="replace").rstrip().rpartition(f"{self._mark} ")
            count += len(line)
            if mark:
                self._said.put(said)
            elif said:
                self._besides = said[:_MOST_SHOWN]
            if count > _MOST_BEFORE_MARK:
                break
        self._said.put(None)
        stdout.close()

    def _greeting(self) -> list[str]:
        """Return the keeper's first words; an interrupt, which the main thread gets, ends this."""
        for _ in range(round(_LOGIN_S / _SLICE_S)):
            if (words := self._hear(_SLICE_S)) or signals.was_caught():
                return words
        return []

    def _hear(self, seconds: float, *, until: str | None = None) -> list[str]:
        """Return the words of the keeper's next line, or of one; none if it says no more."""
        while True:
            try:
                said = self._said.get(timeout=seconds)
            except queue.Empty:
                return []
            if said is None:
                self._said.put(None)
                return []
            if until in (None, said):
                return said.split(" ")

    def _lost(self) -> LostError:
        return LostError(
            f"The connection to {self.address} broke{self._why(': {}')}.",
            mend="Is it still on? What was left there is removed by itself, or by the next run.",
        )

    def _refusal(self) -> MissingError:
        assert self._master is not None
        try:
            self._master.wait(1)
        except subprocess.TimeoutExpired:  # it is in, and sh does not answer
            return MissingError(
                f"{self.address} lets us in, and no `sh` answers there.",
                mend="Does `ssh HOST exec sh -c true` end by itself?",
            )
        said = self._why("{}")
        _, fact, mend = next(one for one in _REFUSALS if one[0] in said)
        last = last_line(said).rstrip(".")
        if not last:
            told = legible(self._besides).rstrip(".")
            last = f"it says '{told}', and hangs up" if told else "it hangs up without a word"
        shown = str(self.address)
        return MissingError(fact.format(shown, last), mend=mend.replace("HOST", shown))

    def _why(self, form: str) -> str:
        """Return what ssh says, in a form; "" if it says nothing."""
        with contextlib.suppress(ValueError):  # closed
            self._log.seek(0)
            said = legible(self._log.read(_MOST_BEFORE_MARK).decode(errors="replace").strip())
            if said:
                return form.format(said if form == "{}" else last_line(said).rstrip("."))
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A folder of ours on a host, which nobody else uses meanwhile.

    Attributes:
        host: The host.
        folder: Its absolute path there.
        notes: What a user should know: what an earlier run had left, and was removed.
    """

    host: Host
    folder: str
    notes: tuple[str, ...] = field(default=())

    def sh(
        self,
        script: str,
        *arguments: str,
        limit_s: float,
        stdin: bytes | Path | None = None,
        sink: BinaryIO | None = None,
        most_bytes: int = _MOST_BYTES,
    ) -> Ran:
        """Run a POSIX script in the folder; see `Host.sh`. It ends with the stay."""
        inner = self._registered(_bounded(script, arguments, limit_s))
        return self.host._ran(inner, limit_s, stdin, sink, most_bytes)  # noqa: SLF001  # its own

    def talk(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a script in the folder that is talked to by pipes; it ends with the stay.

        Raises:
            LostError: The connection broke.
        """
        return self.host.talk(self._registered(_command(script, arguments)))

    def put(self, path: Path, name: str) -> str:
        """Copy a file there, and check that it is the same.

        Args:
            path: The file here.
            name: What it is called there.

        Returns:
            Its path there.

        Raises:
            FullError: There is no space for it.
            RemoteError: What arrived is something else.
        """
        size = path.stat().st_size
        script = 'LC_ALL=C cat >"$1" && wc -c <"$1" && sha256sum <"$1"'
        ran = self.sh(script, name, limit_s=120 + size / 2e5, stdin=path)
        words = ran.text.split()
        if ran.code or words[:1] != [str(size)]:
            if any(one in ran.stderr for one in _FULL):
                raise FullError(
                    f"{self.host.address} has no space for {path.name}, of {size / 1e6:,.1f} MB.",
                    mend="Free some space there, or have its login set TMPDIR to a folder with"
                    " space.",
                )
            ran.check(f"{path.name} cannot be copied to {self.host.address}")
        if words[1:2] != [files.sha256(path)]:
            raise RemoteError(f"{path.name} arrived on {self.host.address} as something else.")
        return f"{self.folder}/{name}"

    def get(self, name: str, path: Path, *, most_bytes: int = 1 << 34) -> Path:
        """Copy a file from there, and check that it is the same.

        Args:
            name: What it is called there.
            path: The file to write here.
            most_bytes: So large may it be.

        Raises:
            RemoteError: There is no such file, it is larger, or what arrived is something else.
        """
        fact = f"{name} cannot be fetched from {self.host.address}"
        with path.open("wb") as sink:
            ran = self.sh(
                f'{_IS_FILE}; sha256sum <"$1" >&2 && exec cat "$1"',
                name,
                limit_s=3600,
                sink=sink,
                most_bytes=most_bytes,
            ).check(fact)
        if files.sha256(path) not in ran.stderr:
            raise RemoteError(f"{fact}: what arrived is something else.")
        return path

    def read(self, name: str, *, most_bytes: int = _MOST_BYTES) -> bytes:
        """Return what is in a small file there.

        Raises:
            RemoteError: There is no such file, or it is larger.
        """
        fact = f"{name} cannot be read on {self.host.address}"
        script = f'{_IS_FILE}; exec cat "$1"'
        return self.sh(script, name, limit_s=60, most_bytes=most_bytes).check(fact).stdout

    def _registered(self, command: str) -> str:
        """Return a script that runs a command in the folder; the keeper knows how to end it."""
        # A background job reads nothing unless it is handed its stdin by another number.
        return (
            f"cd {shlex.quote(self.folder)} || exit 97\n"
            f"exec 3<&0\n{command} <&3 3<&- &\n"
            'printf "%s %s\\n" $$ $! >"../pids/$$"\nwait $!\ncode=$?\n'
            'rm -f "../pids/$$"\nexit $code'
        )


def _command(script: str, arguments: Sequence[str]) -> str:
    return shlex.join(["sh", "-c", script, "sh", *arguments])


def _bounded(script: str, arguments: Sequence[str], limit_s: float) -> str:
    return f"timeout -k 5 {max(1, round(limit_s))} {_command(script, arguments)}"


def _feed(channel: subprocess.Popen[bytes], given: BinaryIO) -> None:
    """Send what a command reads."""
    assert channel.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # it reads no more
        shutil.copyfileobj(given, channel.stdin, 1 << 16)
    with contextlib.suppress(OSError, ValueError):
        channel.stdin.close()


def _ended(channel: subprocess.Popen[bytes]) -> None:
    """End a channel, whatever it does."""
    with contextlib.suppress(OSError, ValueError):
        if channel.stdin is not None:
            channel.stdin.close()
    if channel.poll() is None:
        channel.kill()
    channel.wait()
    if channel.stdout is not None:
        channel.stdout.close()
