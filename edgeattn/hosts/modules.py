"""Which of our device profiles a board is: by part numbers, by what it calls itself, by memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.devices import profile

_PART: Final = re.compile(r"\b[p1]?(\d{4})[-:](\d{4})")  # p3767-0005, and 699-13767-0005
_NEAREST: Final = "No device profile is of this very module: {} is the nearest, {}."


@dataclass(frozen=True, slots=True)
class Board:
    """What a board is.

    Attributes:
        device: The name of its device profile; None if there is none.
        title: What it is called.
        notes: Where the profile is only near.
    """

    device: str | None
    title: str
    notes: tuple[str, ...] = ()


# By part number of the module (jetson_stats' table, and the device trees of Jetson Linux), the
# device profile, and where that is only near, what differs.
_MODULES: Final[dict[str, tuple[str, str]]] = {
    "3448-0000": ("jetson-nano", ""),
    "3448-0002": ("jetson-nano", ""),
    "3448-0003": ("jetson-nano", "with twice its memory"),
    "3310-1000": ("jetson-tx2", ""),
    "3489-0000": ("jetson-tx2", "a TX2 that is no TX2i"),
    "3489-0888": ("jetson-tx2", "with twice its memory"),
    "3636-0001": ("jetson-tx2", "a TX2 that is no TX2 NX"),
    "2888-0001": ("jetson-agx-xavier", ""),
    "2888-0003": ("jetson-agx-xavier", ""),
    "2888-0004": ("jetson-agx-xavier", ""),
    "2888-0005": ("jetson-agx-xavier", ""),
    "2888-0006": ("jetson-agx-xavier", "with more SMs than its 8 GB variant has"),
    "2888-0008": ("jetson-agx-xavier", "with higher clocks than the Industrial has"),
    "3668-0000": ("jetson-xavier-nx", ""),
    "3668-0001": ("jetson-xavier-nx", ""),
    "3668-0003": ("jetson-xavier-nx", ""),
    "3701-0000": ("jetson-agx-orin-64gb", "with the GPU of this developer kit, of 32 GB or 64"),
    "3701-0002": ("jetson-agx-orin-64gb", "an AGX Orin that is no IGX"),
    "3701-0004": ("jetson-agx-orin-32gb", ""),
    "3701-0005": ("jetson-agx-orin-64gb", ""),
    "3701-0008": ("jetson-agx-orin-64gb", "with higher clocks than the Industrial has"),
    "3767-0000": ("jetson-orin-nx-16gb", ""),
    "3767-0001": ("jetson-orin-nx-8gb", ""),
    "3767-0003": ("jetson-orin-nano-8gb", ""),
    "3767-0004": ("jetson-orin-nano-4gb", ""),
    "3767-0005": ("jetson-orin-nano-8gb", ""),
    "3834-0008": ("jetson-agx-thor-t5000", ""),
    "3834-0000": ("jetson-agx-thor-t5000", "with more SMs than a T4000 has"),
}
# Where no part number is told: words of the model or of what it is compatible with, and up to how
# many GB of memory it has; the first that fits.
_NAMES: Final[tuple[tuple[str, float, str], ...]] = (
    (r"orin nano", 6, "jetson-orin-nano-4gb"),
    (r"orin nano", 99, "jetson-orin-nano-8gb"),
    (r"orin nx", 12, "jetson-orin-nx-8gb"),
    (r"orin nx", 99, "jetson-orin-nx-16gb"),
    (r"agx orin", 48, "jetson-agx-orin-32gb"),
    (r"agx orin", 99, "jetson-agx-orin-64gb"),
    (r"xavier nx", 99, "jetson-xavier-nx"),
    (r"agx.xavier|jetson-agx\b|jetson-xavier", 99, "jetson-agx-xavier"),
    (r"jetson.tx2|\bquill\b|\blanai\b", 99, "jetson-tx2"),
    (r"jetson.nano", 99, "jetson-nano"),
    (r"thor", 999, "jetson-agx-thor-t5000"),
    (r"raspberry pi (5|compute module 5)|bcm2712", 99, "raspberry-pi-5"),
    (r"raspberry pi (4|compute module 4)|bcm2711", 99, "raspberry-pi-4"),
    (r"rk3588", 99, "rk3588"),
)
_MAKERS: Final = re.compile(r"\b(nvidia|geforce|tesla|quadro)\b|-|\bgb\b")


def identify(
    *, model: str, told: Sequence[str], memory_bytes: int, cpu: str, gpu: str, architecture: str
) -> Board:
    """Say what a board is.

    Args:
        model: What its device tree calls it; "" where there is none.
        told: What else the device tree says of it: compatible strings, part numbers.
        memory_bytes: Its memory.
        cpu: What its processor calls itself.
        gpu: What its NVIDIA GPU calls itself; "" if there is none on a card.
        architecture: As `uname -m` has it.
    """
    own = model or gpu or cpu or architecture
    for text in told:
        for number, variant in _PART.findall(text):
            if (part := f"{number}-{variant}") in _MODULES:
                device, near = _MODULES[part]
                title = profile.find(device).title
                notes = (_NEAREST.format(title, near),) if near else ()
                return Board(device, own if near else title, notes)
    text, memory_gb = " ".join([model, *told]).lower(), memory_bytes / 1e9
    for words, most_gb, device in _NAMES:
        if re.search(words, text) and memory_gb <= most_gb:
            is_jetson = device.startswith("jetson")
            return Board(device, profile.find(device).title if is_jetson else model or own)
    if gpu and (known := _of_gpu(gpu)):
        return Board(known, gpu)
    if architecture in ("x86_64", "amd64", "i686"):
        return Board("generic-x86", own)
    return Board(None, own)


def _of_gpu(name: str) -> str | None:
    """Return the device profile of a GPU on a card; None if there is none."""
    wanted = _words(name)
    for device in profile.names():
        found = profile.find(device)
        if found.kind == "gpu" and _words(found.title) == wanted:
            return device
    return None


def _words(name: str) -> list[str]:
    return _MAKERS.sub(" ", name.lower()).replace("gb", " ").split()
