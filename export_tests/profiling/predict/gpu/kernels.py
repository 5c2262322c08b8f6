"""Kernels made by hand, and those of real engines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from edgeattn.engine.layer_json import read_json
from edgeattn.records.layers import Kernel, KernelTensor

FILES = Path(__file__).parents[3] / "engine" / "files"
CHANNELS_LAST = "Channel major FP16 format where channel % 8 == 0"


def tensor(name, shape, dtype="fp16", layout=CHANNELS_LAST):
    return KernelTensor(name=name, shape=shape, strides=(), dtype=dtype, layout=layout)


def weights(shape, dtype="fp16"):
    return tensor("weights", shape, dtype, "")


def kernel(name, kind, reads, writes, constants=(), tactic="", stream=0):
    return Kernel(
        name=name,
        kind=kind,
        inputs=tuple(reads),
        constants=tuple(constants),
        outputs=tuple(writes),
        tactic=tactic,
        stream=stream,
        nodes=(),
    )


def convolution(
    read="x", write="y", *, batch=1, channels=(64, 64), size=56, area=3, dtype="fp16", tactic=""
):
    """A convolution of stride 1."""
    inside, outside = channels
    return kernel(
        f"conv {write}",
        "CaskConvolution",
        [tensor(read, (batch, inside, size, size), dtype)],
        [tensor(write, (batch, outside, size, size), dtype)],
        [weights((outside, inside, area, area), dtype)],
        tactic,
    )


def pointwise(read="x", write="y", shape=(1, 64, 56, 56), dtype="fp16", stream=0):
    """A kernel that computes element by element."""
    return kernel(
        f"pointwise {write}",
        "PointWiseV2",
        [tensor(read, shape, dtype)],
        [tensor(write, shape, dtype)],
        stream=stream,
    )


def real(name):
    """The kernels of a real engine."""
    text = gzip.decompress((FILES / f"{name}.layers.json.gz").read_bytes()).decode()
    return read_json(text).kernels


def profiled_us(name):
    """What each layer of a real engine took while it was profiled, by its name."""
    rows = json.loads(gzip.decompress((FILES / f"{name}.profile.json.gz").read_bytes()))
    return {row["name"]: row["averageMs"] * 1e3 for row in rows if "name" in row}
