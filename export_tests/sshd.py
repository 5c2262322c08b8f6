"""A real sshd on loopback, with keys, config and folders of its own: a host to test with."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Where Debian has it: it is not on the PATH of a user.
_SSHD: Final = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
_SERVER: Final = """
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
SetEnv HOME={folder}/home
ForceCommand export {environment}; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
_CLIENT: Final = """
Host *
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  GlobalKnownHostsFile none
  UserKnownHostsFile {folder}/known_hosts
Host orin
  HostName {ip}
  Port {port}
"""


@dataclass
class Sshd:
    """An sshd that runs.

    Attributes:
        folder: Its files: `ssh_config`, `known_hosts`, keys.
        port: Its port there; the name `orin` of its config leads there too.
        ip: The number that it listens on.
        path: A folder that comes first on the PATH of what runs there: stand-ins go into it.
        tmp: The folder for temporary files there. It is empty when nothing of ours is left.
        command: How sshd is started.
        process: sshd itself.
    """

    folder: Path
    ip: str
    port: int
    path: Path
    tmp: Path
    command: list[str]
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """The address, as `--on` takes it."""
        return f"{self.ip}:{self.port}"

    @property
    def ssh(self) -> str:
        """The command that finds its config: what EDGEATTN_SSH is to be."""
        return f"ssh -F {self.folder / 'ssh_config'}"

    @property
    def left(self) -> list[str]:
        """What was left there."""
        return sorted(one.name for one in self.tmp.iterdir())

    def clear(self) -> None:
        """Remove what was installed there, and what a test that failed has left."""
        for folder in (self.path, self.tmp):
            for one in folder.iterdir():
                if one.is_dir() and not one.is_symlink():
                    shutil.rmtree(one, ignore_errors=True)
                else:
                    one.unlink()

    def install(self, name: str, program: Path) -> Path:
        """Put a Python program on the PATH there, which this Python runs."""
        path = self.path / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {program} "$@"\n')
        path.chmod(0o755)
        return path


def is_here() -> bool:
    """Return whether there is an sshd that can be started."""
    return _SSHD is not None and shutil.which("ssh") is not None


def start(
    folder: Path,
    *,
    path: str = "/usr/local/bin:/usr/bin:/bin",
    ip: str = "127.0.0.1",
    within: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Sshd:
    """Start an sshd with a folder of its own.

    Args:
        folder: A folder that is empty, but for `tmp` perhaps.
        path: The PATH of what runs there, behind the folder of stand-ins.
        ip: The number that it listens on.
        within: A command that runs it elsewhere, as in another network namespace.
        options: Further options of its config.
    """
    assert _SSHD is not None
    stand_ins, tmp, home = folder / "path", folder / "tmp", folder / "home"
    stand_ins.mkdir(parents=True)
    # Not the user's own: a login shell that is killed in its start may leave a lock there, as
    # pyenv's does, for which every later login waits.
    home.mkdir()
    tmp.mkdir(exist_ok=True)
    for key in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    port = 22
    if not within:
        with socket.socket() as free:
            free.bind((ip, 0))
            port = free.getsockname()[1]
    environment = {
        "PATH": f"{stand_ins}:{path}",
        "TMPDIR": str(tmp),
        "EDGEATTN_LOCK": str(folder / "lock"),
    }
    # Exported by the login shell itself: what its own files say of PATH is another machine's.
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    (folder / "sshd_config").write_text(
        _SERVER.format(address=f"{ip}:{port}", folder=folder, environment=said)
    )
    (folder / "ssh_config").write_text(_CLIENT.format(folder=folder, ip=ip, port=port))
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    known = ip if port == 22 else f"[{ip}]:{port}"
    (folder / "known_hosts").write_text(f"{known} {host_key}\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [*within, _SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    command += [f"-o{one}" for one in options]
    return Sshd(
        folder=folder,
        ip=ip,
        port=port,
        path=stand_ins,
        tmp=tmp,
        command=command,
        process=_started(folder, command, ip, port),
    )


def restart(host: Sshd) -> None:
    """Start an sshd again that was killed."""
    host.process.wait()
    host.process = _started(host.folder, host.command, host.ip, host.port)


def _started(folder: Path, command: Sequence[str], ip: str, port: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log)
    for _ in range(100):
        with socket.socket() as trial:
            if trial.connect_ex((ip, port)) == 0:
                break
        time.sleep(0.05)
    return process
