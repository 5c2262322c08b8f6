"""What is on a host: its module, its software, its power, and what would and would not work."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal, get_args

from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible
from edgeattn.base.versions import numbers
from edgeattn.devices import profile
from edgeattn.hosts.looks import whole
from edgeattn.hosts.modules import identify
from edgeattn.hosts.trtexec.flags import parse_version

if TYPE_CHECKING:
    from edgeattn.devices.schema import DeviceProfile
    from edgeattn.hosts.connection import Host

# Far above what any says.
_MOST_BYTES, _MOST_LINES, _LONGEST = 1 << 18, 2000, 400
_LIMIT_S: Final = 300.0
# JetPack by Jetson Linux release, as NVIDIA's archive of JetPack has it; of others, the device
# profiles know the range.
_JETPACKS: Final = {
    "32.6.1": "4.6", "32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4",
    "32.7.5": "4.6.5", "32.7.6": "4.6.6", "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1",
    "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4", "35.6.1": "5.1.5", "36.3.0": "6.0",
    "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1",
}  # fmt: skip
_RELEASE: Final = re.compile(r"R(\d+) .*?REVISION: *(\d+(?:\.\d+)*)")
# A mode with what its processors do behind it: 15W_2CORE, MAXP_CORE_ALL.
_MODE: Final = re.compile(r"(?:MODE_)?(\d+W|MAX[PQ])(?:_.*)?")
# What trtexec says first, or of its options: it runs.
_TRTEXEC: Final = ("[TensorRT v", "=== Model Options")
_ILLEGAL: Final = 128 + 4  # SIGILL
#: What a Python runs models by, the first before others.
PythonRuntime = Literal["onnxruntime", "openvino"]
PYTHON_RUNTIMES: Final[tuple[PythonRuntime, ...]] = get_args(PythonRuntime)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFacts:
    """A Python of a host.

    Attributes:
        path: Where it is there.
        version: Its version.
        onnxruntime: The version of ONNX Runtime that it loads; None if it loads none.
        numpy: The same of numpy.
        providers: ONNX Runtime's execution providers.
        fault: Why one of both is there and does not load; "" if it does.
        openvino: The version of OpenVINO that it loads; None if it loads none.
        devices: OpenVINO's devices.
        openvino_fault: Why it is there and does not load; "" if it does.
    """

    path: str
    version: str
    onnxruntime: str | None = None
    numpy: str | None = None
    providers: tuple[str, ...] = ()
    fault: str = ""
    openvino: str | None = None
    devices: tuple[str, ...] = ()
    openvino_fault: str = ""

    @property
    def can_run(self) -> bool:
        """Whether it runs models."""
        return any(map(self.version_of, PYTHON_RUNTIMES))

    def version_of(self, runtime: PythonRuntime) -> str | None:
        """Return the version of a runtime that it runs models by; None if it does not."""
        return None if self.numpy is None else getattr(self, runtime)

    def fault_of(self, runtime: PythonRuntime) -> str:
        """Return why a runtime is there and does not load; "" if it does, or is not there."""
        return self.fault if runtime == "onnxruntime" else self.openvino_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What is on a host.

    Attributes:
        address: Where it is.
        title: "Jetson Orin Nano 8 GB" of a module that we know, else what it calls itself.
        model: What it calls itself.
        device: The name of its device profile; None if there is none.
        system: Its Linux distribution.
        kernel: The release of its Linux.
        architecture: As `uname -m` has it.
        cores: Processors that can be used.
        cpu: What its processor calls itself; "" if it does not say.
        gpu: What its NVIDIA GPU on a card calls itself; "" if there is none.
        memory_bytes: Its memory; of a Jetson, what its GPU has too.
        memory_free_bytes: What of that is to be had.
        disk_free_bytes: What is free where our folder is made.
        folder: Where our folder is made.
        dla_cores: Its DLA cores.
        l4t: The Jetson Linux release, as in 36.4.3; None if it is no Jetson.
        jetpack: The JetPack that this is.
        cuda: The version of CUDA; None if there is none.
        tensorrt: The version of TensorRT; None if there is none.
        trtexec: Where trtexec is there; None if it is not, or does not run.
        trtexec_fault: Why it does not run.
        pythons: Its Pythons, those that run models first.
        power_mode: Its power mode, as the device profile has it where that knows it.
        power_modes: Its power modes by their numbers.
        clocks_mhz: Clocks by what they are of: GPU, memory, CPU 0.
        temperatures_c: Temperatures by where.
        rails: The rails whose power can be read, and how.
        clock_off_s: By how much its clock is ahead of ours, in seconds.
        lacks: What our connection needs, and is not there.
        notes: What else a reader should know.
    """

    address: str
    title: str
    model: str
    device: str | None
    system: str
    kernel: str
    architecture: str
    cores: int
    cpu: str
    gpu: str
    memory_bytes: int
    memory_free_bytes: int
    disk_free_bytes: int
    folder: str
    dla_cores: int
    l4t: str | None
    jetpack: str | None
    cuda: str | None
    tensorrt: str | None
    trtexec: str | None
    trtexec_fault: str
    pythons: tuple[PythonFacts, ...]
    power_mode: str | None
    power_modes: dict[int, str]
    clocks_mhz: dict[str, float]
    temperatures_c: dict[str, float]
    rails: tuple[str, ...]
    clock_off_s: float
    lacks: tuple[str, ...]
    notes: tuple[str, ...]

    def python(self, *runtimes: PythonRuntime) -> PythonFacts | None:
        """Return the Python that runs models by each of some runtimes; None if none does."""
        return next((one for one in self.pythons if all(map(one.version_of, runtimes))), None)

    @property
    def opset(self) -> int | None:
        """The highest opset that its TensorRT parses; None if that is not known."""
        wanted = numbers(self.tensorrt or "")[:2]
        for name in profile.names() if wanted else ():
            for row in profile.find(name).jetpack:
                if numbers(row.tensorrt)[:2] == wanted:
                    return row.opset
        return None

    def words(self, by: str) -> str:
        """Say what was measured on: the board, its software, its power mode, and by what.

        Args:
            by: What measured: "trtexec", or "ONNX Runtime 1.19.2".
        """
        is_trtexec = by == "trtexec"
        said = [self.gpu or self.title if is_trtexec else self.title]
        said += [f"JetPack {self.jetpack}"] if self.jetpack else []
        if is_trtexec and self.tensorrt:
            said.append(f"TensorRT {self.tensorrt.removesuffix('.0')}")
        said += [self.power_mode] if self.power_mode else []
        return ", ".join([*said, f"by {by}"])


def probe(host: Host) -> HostFacts:
    """Find out what is on a host, in one round trip; nothing is written there.

    Raises:
        InputError: What answers is no Linux that can be asked.
        MissingError: The connection broke, or it takes too long.
    """
    began = time.time()
    ran = host.sh(script(), "", limit_s=_LIMIT_S, most_bytes=_MOST_BYTES)
    if b"\narchitecture\t" not in b"\n" + ran.stdout:
        ran.check(f"{host.address} cannot be asked what is there")
        raise InputError(
            f"{host.address} does not say what is there.", mend="Is it Linux, with a POSIX shell?"
        )
    return read(str(host.address), ran.text, asked=began)


def script() -> str:
    """Return the script that says what is on a host; its argument is put before every path."""
    folder = resources.files("edgeattn.hosts")
    parts = (folder.joinpath(name).read_text("utf-8") for name in ("sensors.sh", "probe.sh"))
    return "\n".join(["root=${1:-}", *parts])


def read(address: str, text: str, *, asked: float) -> HostFacts:
    """Read what the script says; whatever a host says, it is bounded and can be shown.

    Args:
        address: Where the host is.
        text: What the script printed.
        asked: When it was asked, in seconds since 1970.
    """
    told = _Told(text)
    model = told.first("model").strip()
    board = identify(
        model=model,
        told=[one for key in _BOARD_KEYS for one in told.all(key)],
        memory_bytes=1024 * told.number("memory-kib"),
        cpu=told.first("cpu"),
        gpu=told.first("gpu"),
        architecture=told.first("architecture"),
    )
    device = profile.find(board.device) if board.device else None
    l4t, trtexec, banner = _l4t(told), told.first("trtexec") or None, told.all("trtexec-says")
    runs = any(one in line for line in banner for one in _TRTEXEC)
    fault = "" if runs or trtexec is None else (banner or ["it says nothing"])[0]
    clocks, temperatures = _clocks(told), _temperatures(told)
    return HostFacts(
        address=address,
        title=board.title,
        model=model or told.first("cpu"),
        device=board.device,
        system=told.first("system").strip('"'),
        kernel=told.first("kernel"),
        architecture=told.first("architecture"),
        cores=max(1, told.number("cores")),
        cpu=told.first("cpu"),
        gpu=told.first("gpu"),
        memory_bytes=1024 * told.number("memory-kib"),
        memory_free_bytes=1024 * told.number("available-kib"),
        disk_free_bytes=1024 * told.number("free-kib"),
        folder=told.first("folder"),
        dla_cores=told.number("dla") or (device.dla_cores if device else 0),
        l4t=l4t,
        jetpack=_jetpack(told, l4t, device),
        cuda=_version(told.first("cuda")),
        tensorrt=_tensorrt(told),
        trtexec=None if fault else trtexec,
        trtexec_fault=f"{trtexec}: {fault}" if fault else "",
        pythons=tuple(sorted(_pythons(told), key=lambda one: not one.can_run)),
        power_mode=_power_mode(told, device),
        power_modes=_power_modes(told),
        clocks_mhz=clocks,
        temperatures_c=temperatures,
        rails=_rails(told),
        clock_off_s=_clock_off_s(told, asked),
        lacks=tuple(told.all("lacks")),
        notes=board.notes,
    )


_BOARD_KEYS: Final = ("compatible", "dtsfilename", "boardids", "chosen/ids")


class _Told:
    """What a host said, by key; without what would be too much."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, list[str]] = {}
        self.order: list[tuple[str, str]] = []
        for line in text[:_MOST_BYTES].split("\n")[:_MOST_LINES]:
            key, tab, value = line.partition("\t")
            if tab:
                value = legible(value[:_LONGEST].rstrip())
                self._lines.setdefault(key, []).append(value)
                self.order.append((key, value))

    def all(self, key: str) -> list[str]:
        return [one for one in self._lines.get(key, ()) if one]

    def first(self, key: str) -> str:
        return next(iter(self.all(key)), "")

    def number(self, key: str) -> int:
        return whole(self.first(key)) or 0

    def columns(self) -> Iterator[tuple[str, str, float]]:
        """Yield the kind, the label and the value of each file that sensors.sh found."""
        for line in self.all("column"):
            parts = line.split("\t")
            if len(parts) == 4 and re.fullmatch(r"-?\d{1,18}", parts[3]):
                yield parts[0], parts[1], float(parts[3])


def _version(text: str) -> str | None:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else None


def _packages(told: _Told) -> dict[str, str]:
    """Return the versions of packages: 10.3.0 of 10.3.0.30-1+cuda12.5."""
    pairs = (line.partition(" ") for line in told.all("package"))
    return {name: version for name, _, version in pairs if version}


def _l4t(told: _Told) -> str | None:
    if found := _RELEASE.search(told.first("release")):
        return f"{found[1]}.{found[2]}"
    return _version(_packages(told).get("nvidia-l4t-core", "").partition("-")[0])


def _jetpack(told: _Told, l4t: str | None, device: DeviceProfile | None) -> str | None:
    if l4t is None:
        return None
    if said := _version(_packages(told).get("nvidia-jetpack", "")):
        return said
    release = (*numbers(l4t), 0, 0)[:3]
    if exact := _JETPACKS.get(".".join(map(str, release))):
        return exact
    for row in device.jetpack if device else ():
        low, _, high = row.l4t.partition("-")
        first, last = numbers(low), numbers(high or low)
        if first <= release[: len(first)] and release[: len(last)] <= last:
            return row.jetpack
    return None


def _tensorrt(told: _Told) -> str | None:
    """Return the version of TensorRT: trtexec's own, else the package's, else the library's."""
    packages = _packages(told)
    said = [line for line in told.all("trtexec-says") if _TRTEXEC[0] in line]
    said += [packages.get(one, "") for one in ("libnvinfer-bin", "libnvinfer10", "libnvinfer8")]
    for text in (*said, told.first("libnvinfer")):
        if version := parse_version(text):
            return ".".join(map(str, version))
    return None


def _pythons(told: _Told) -> Iterator[PythonFacts]:
    found: list[dict[str, str]] = []
    for key, value in told.order:
        if key == "python":
            found.append({"path": value})
        elif key.startswith("python-") and found:
            found[-1][key.removeprefix("python-")] = value
    for one in found:
        if "version" in one:
            code = one.get("ended", "0")
            trying = one.get("trying", "it")
            died = f"{trying} kills it: {_death(code)}" if code != "0" else ""
            by_openvino = died if trying == "openvino" else ""
            yield PythonFacts(
                path=one["path"],
                version=one["version"],
                onnxruntime=one.get("onnxruntime"),
                numpy=one.get("numpy"),
                providers=tuple(one.get("providers", "").split()),
                fault=one.get("fault", "") or (died if not by_openvino else ""),
                openvino=_plain_version(one.get("openvino")),
                devices=tuple(one.get("devices", "").split()),
                openvino_fault=one.get("openvino-fault", "") or by_openvino,
            )


def _plain_version(said: str | None) -> str | None:
    """Return a version as it is released: 2026.4.1 of 2026.4.1-22982-e213a147257-releases."""
    return said and said.partition("-")[0]


def _death(code: str) -> str:
    number = whole(code)
    if number == _ILLEGAL:
        return "an illegal instruction (OPENBLAS_CORETYPE=ARMV8 in the login's environment helps)"
    return "it takes longer than a minute" if number == 124 else f"exit code {code}"


def _power_modes(told: _Told) -> dict[int, str]:
    pairs = (line.partition(" ") for line in told.all("power-mode"))
    return {mode: name for said, _, name in pairs if name and (mode := whole(said)) is not None}


def _power_mode(told: _Told, device: DeviceProfile | None) -> str | None:
    """Return the power mode: what nvpmodel says, else what it noted of the last time."""
    said = [one for line in told.all("nvpmodel") if (one := line.partition("NV Power Mode: ")[2])]
    noted = re.search(r"pmode:0*(\d{1,3})", told.first("status"))
    modes = _power_modes(told)
    name = said[0].strip() if said else modes.get(int(noted[1])) if noted else None
    return name and as_in_profile(name, device)


def as_in_profile(name: str, device: DeviceProfile | None) -> str:
    """Return a mode as its device profile names it: 15W for MODE_15W_2CORE; else as it stands."""
    known = {mode.name for mode in device.power_mode} if device else set()
    found = _MODE.fullmatch(name)
    short = name.removeprefix("MODE_")
    return found[1] if found and name not in known and found[1] in known else short


def _clocks(told: _Told) -> dict[str, float]:
    found = {}
    for kind, label, value in told.columns():
        if kind == "gpu_hz":
            found["GPU"] = value / 1e6
        elif kind == "memory_hz":
            found["memory"] = value / 1e6
        elif kind == "cpu_khz":
            found[f"CPU {label}"] = value / 1e3
    return found


def _temperatures(told: _Told) -> dict[str, float]:
    of = ((label, value) for kind, label, value in told.columns() if kind == "millidegrees")
    return {label.removesuffix("-thermal"): value / 1e3 for label, value in of if value > -40e3}


def _rails(told: _Told) -> tuple[str, ...]:
    kinds = {"ma": "hwmon", "uw": "hwmon", "mw": "iio", "uj": "RAPL"}
    found = [
        f"{label} by {kinds[kind]}"
        for key, label, _ in told.columns()
        if (kind := key.partition(":")[0]) in kinds
    ]
    found += ["card by nvidia-smi"] if told.first("gpu") else []
    return tuple(found) or (("those of tegrastats",) if told.first("tegrastats") else ())


def _clock_off_s(told: _Told, asked: float) -> float:
    said = told.number("clock")
    return round(said - asked) if said else 0.0
