"""The whole way to an aarch64 host, with onnxruntime's real wheel, under emulation: does it work?

    python benchmarks/aarch64.py

Makes a Debian of that architecture (debootstrap, unpacked and not configured), puts onnxruntime's
wheel from PyPI into it, starts sshd in it on loopback, and then probes, measures and compares
outputs as on a board. Programs there run by qemu-user: what they compute is what a board computes,
and what they take means nothing. Needs root, and debootstrap, qemu-user-static and openssh-server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from edgeattn.hosts.address import addresses
from edgeattn.hosts.connection import connect
from edgeattn.hosts.onnxruntime import Bench
from edgeattn.hosts.probe import probe
from edgeattn.hosts.visit import Visit
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.measure.hosts.onnxruntime import measure
from edgeattn.profiling.measure.onnxruntime.run import profile_kernels
from edgeattn.profiling.sources.model import read_subject

sys.path.insert(0, str(Path(__file__).parents[1]))
from export_tests import sshd  # it is beside this folder
from export_tests.profiling.nets import residual

# sshd wants every folder above it to be root's alone.
ROOT = Path("/var/lib/edgeattn-aarch64")
MIRROR, SUITE, PYTHON = "http://deb.debian.org/debian", "bookworm", "3.11"
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (17, 26, 27, 28, 31, 34)]
BINFMT = Path("/proc/sys/fs/binfmt_misc")
NAME = "edgeattn-aarch64"
MAGIC = (
    rf":{NAME}:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{}:F"
)


def make() -> None:
    """Make the userland, unless it is there."""
    if (ROOT / "made").is_file():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    packages = ["--arch=arm64", "--foreign", "--variant=minbase", "--include=python3"]
    run("debootstrap", *packages, SUITE, str(ROOT), MIRROR)
    # Configuring them under emulation takes minutes, and nothing here needs it.
    for package in sorted((ROOT / "var/cache/apt/archives").glob("*.deb")):
        unpack = ["tar", "-x", "--keep-directory-symlink", "--skip-old-files", "-C", str(ROOT)]
        tar = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True
        )
        subprocess.run(unpack, check=True, input=tar.stdout)
    (ROOT / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    target = str(ROOT / f"usr/local/lib/python{PYTHON}/dist-packages")
    options = [f"--platform={one}" for one in PLATFORMS]
    options += [f"--python-version={PYTHON}", "--only-binary=:all:", "--target", target]
    run(sys.executable, "-m", "pip", "install", "-q", *options, "onnxruntime")
    (ROOT / "made").touch()


def run(*command: str) -> None:
    """Run a command, its output hidden unless it fails."""
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")


@contextlib.contextmanager
def emulated() -> Iterator[None]:
    """Have the kernel run programs of aarch64 by qemu, as long as the block lasts."""
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        raise SystemExit("apt install debootstrap qemu-user-static openssh-server")
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
    known = BINFMT / NAME
    if not known.exists():
        (BINFMT / "register").write_text(MAGIC.format(qemu))
    try:
        for name in ("proc", "dev"):
            if (ROOT / name).is_symlink():
                (ROOT / name).unlink()
            (ROOT / name).mkdir(exist_ok=True)
            run("mount", "--bind", f"/{name}", str(ROOT / name))
        yield
    finally:
        for name in ("proc", "dev"):
            subprocess.run(["umount", "--lazy", ROOT / name], check=False)
        known.write_text("-1")


def main() -> None:
    """Make it, measure in it, and say what came of it."""
    if os.geteuid() != 0:
        raise SystemExit("It takes root, to make devices and to register qemu.")
    began = time.monotonic()
    make()
    print(f"a userland of aarch64, made in {time.monotonic() - began:.0f} s: {ROOT}")
    with emulated(), tempfile.TemporaryDirectory(prefix="aarch64-") as folder:
        host = sshd.start(
            Path(folder) / "sshd", options=(f"ChrootDirectory={ROOT}",), path="/usr/bin:/bin"
        )
        there = ROOT / str(host.tmp).lstrip("/")
        there.mkdir(parents=True)
        os.environ["EDGEATTN_SSH"] = host.ssh
        try:
            visit_it(host.address, Path(folder))
            left = sorted(one.name for one in there.iterdir())
            print(f"left there: {', '.join(left) or 'nothing'}")
        finally:
            host.process.kill()
            shutil.rmtree(ROOT / str(host.folder).lstrip("/"))


def visit_it(address: str, folder: Path) -> None:
    """Probe, measure and compare outputs, over SSH."""
    paths = [residual(folder / "simam.onnx"), residual(folder / "plain.onnx", "none")]
    items = [Item(path=path, name=path.stem) for path in paths]
    with connect(addresses([address])[0]) as connected:
        facts = probe(connected)
        print(f"probe: {facts.architecture}, {facts.system}, {facts.python}")
        assert facts.architecture == "aarch64"
        with connected.stay() as room:
            rows = measure(
                items,
                ProfileOptions(threads=2, limit_s=2.0),
                Visit(connected, facts, room),
                folder,
                marginal=True,
                on_stage=lambda _: None,
            )
            for path, one in zip(paths, rows, strict=True):
                trace, subject = one.row.trace, read_subject(path)
                here = profile_kernels(
                    path, subject.model, subject.macs, ProfileOptions(), once=True
                )
                owned = [kernel for kernel in trace.kernels if kernel.nodes or kernel.causes]
                print(f"{trace.name}: {trace.machine.title}")
                print(
                    f"  {len(trace.kernels)} kernels there, {len(here.kernels)} here;"
                    f" {len(owned)} attributed; {sum(k.macs for k in trace.kernels):,} MACs;"
                    f" {len(trace.latency_ms.samples)} rounds, {trace.latency_ms.p50:.1f} ms under"
                    " emulation, which means nothing"
                )
            with Bench(room, facts) as bench:
                compare_outputs(bench, paths[0])


def compare_outputs(bench: Bench, path: Path) -> None:
    """Run a model there and here on the same inputs, and say how far the outputs are apart."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    generator = np.random.default_rng(0)
    inputs = [
        {taken.name: generator.standard_normal(taken.shape).astype(np.float32)} for _ in range(3)
    ]
    theirs = bench.outputs(path, inputs)
    ours = [session.run(None, one) for one in inputs]
    far = max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for run, known in zip(theirs, ours, strict=True)
        for a, b in zip(run, known, strict=True)
    )
    print(f"outputs there and here, of {len(inputs)} inputs: {far:.1e} of the largest apart")
    assert far < 1e-4


if __name__ == "__main__":
    main()
