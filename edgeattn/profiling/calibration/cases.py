"""What a calibration runs: single operators, at sizes that networks for images of 224 pixels have.

No network is among them. Each class of layers has maps of several widths, so that what the ends of
rows cost can be told from the rest; operators have maps that no cache line or core is the bound of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgeattn.profiling.calibration import graphs
from edgeattn.profiling.calibration.graphs import Model

_WHOLE: Final = (1, 64, 112, 112)
_LARGE: Final = (1, 64, 56, 56)
_MIDDLE: Final = (1, 128, 28, 28)
_SIZES: Final = (_LARGE, _MIDDLE)
_TOKENS: Final = (1, 196, 384)
_SCORES: Final = (1, 4, 196, 196)
_ROW: Final = 1024
_COMMON_KIB: Final = 8192
_CACHES: Final = 4
_PAUSES_MS: Final = (0, 0.25, 0.5, 1, 2, 4, 8, 16)
# Channels that a block does not divide, and a multiple of four does not either.
_UNEVEN: Final = 58


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model that is run.

    Attributes:
        name: What it is, in words, for a file's comments.
        model: The ONNX model.
        role: What it is for: `table`, a figure of a class or an operator; `reads`, what reads
            weights out of the cache, and `memory`, out of memory; `hold`, after a pause; `wake`.
        pause_s: How long nothing else is touched before each run that is timed.
    """

    name: str
    model: Model
    role: str = "table"
    pause_s: float = 0.0


def cases(said_kib: int | None) -> Iterator[Case]:
    """Return what is run for the tables.

    Args:
        said_kib: The last cache, as the system has it; None if it does not say.
    """
    yield from _convolutions()
    yield from _products()
    yield from _pointwise()
    yield from _reductions()
    yield from _copies()
    # Far more than the cache, and no more than small boards have.
    columns = min(6144, max(1024, _CACHES * (said_kib or _COMMON_KIB) * 1024 // (4 * 4096)))
    yield Case(
        name=f"a row of 4096 by weights of 4096x{columns}",
        model=graphs.product(1, 4096, columns),
        role="memory",
    )


def holds(said_kib: int | None) -> Iterator[Case]:
    """Return what is run on one thread: weights of an eighth of the cache, read again after pauses.

    Args:
        said_kib: The last cache, as the system has it; None if it does not say.
    """
    columns = max(1, (said_kib or _COMMON_KIB) * 1024 // 8 // (4 * _ROW))
    model = graphs.product(1, _ROW, columns)
    for pause_ms in _PAUSES_MS:
        yield Case(name=f"{pause_ms} ms", model=model, role="hold", pause_s=pause_ms / 1e3)


def wakes() -> Iterator[Case]:
    """Return what is run on one thread and on all: long enough to be shared, and no longer."""
    for channels, kernel, size in ((64, 1, 14), (32, 3, 14), (96, 1, 14), (64, 1, 20)):
        yield _conv((channels, channels), kernel, size, role="wake")
    for size in (28, 20):
        yield _conv((96, 96), 3, size, groups=96, role="wake")


def _conv(
    channels: tuple[int, int],
    kernel: int,
    size: int,
    *,
    step: int = 1,
    groups: int = 1,
    role: str = "table",
) -> Case:
    words = f"{channels[0]} to {channels[1]} channels, {kernel}x{kernel}, of {size}x{size}"
    if step > 1:
        words += f", step {step}"
    model = graphs.convolution(channels, kernel, size, step=step, groups=groups)
    return Case(name=words, model=model, role=role)


def _convolutions() -> Iterator[Case]:
    for channels, size in ((64, 56), (128, 28), (96, 28), (256, 14), (160, 14), (320, 7)):
        yield _conv((channels, channels), 3, size)
    for c_in, c_out, size in (
        (64, 256, 56), (256, 64, 56), (512, 128, 28), (128, 512, 28), (24, 144, 56), (96, 24, 56),
        (1024, 256, 14), (256, 1024, 14), (384, 64, 14), (160, 960, 7), (960, 160, 7),
    ):  # fmt: skip
        yield _conv((c_in, c_out), 1, size)
    for c_out, kernel, size in ((64, 7, 224), (32, 3, 224), (16, 3, 224)):
        yield _conv((3, c_out), kernel, size, step=2)
    for channels, size in ((64, 56), (128, 28), (320, 14), (640, 7)):
        yield _conv((channels, channels), 3, size, groups=channels // 16)
    for channels, kernel, size, step in (
        (32, 3, 112, 1), (96, 3, 112, 2), (144, 3, 56, 1), (192, 3, 28, 1), (384, 3, 14, 1),
        (576, 3, 14, 2), (960, 3, 7, 1), (72, 5, 56, 2), (120, 5, 28, 1), (480, 5, 14, 1),
        (192, 7, 28, 1), (384, 7, 14, 1),
    ):  # fmt: skip
        yield _conv((channels, channels), kernel, size, step=step, groups=channels)
    for kernel, size in ((1, 28), (1, 14), (3, 28), (3, 14)):
        yield _conv((_UNEVEN, _UNEVEN), kernel, size)
    for size, step in ((28, 1), (28, 2), (14, 1)):
        yield _conv((_UNEVEN, _UNEVEN), 3, size, step=step, groups=_UNEVEN)


def _products() -> Iterator[Case]:
    for rows, inner, columns in (
        (196, 384, 1536),
        (196, 192, 576),
        (196, 768, 192),
        (49, 768, 768),
    ):
        yield Case(
            name=f"{rows} rows of {inner} by weights of {inner}x{columns}",
            model=graphs.product(rows, inner, columns),
        )
    for inner, columns in ((512, 1000), (1280, 1000), (1024, 256)):
        yield Case(
            name=f"a row of {inner} by weights of {inner}x{columns}",
            model=graphs.product(1, inner, columns),
            role="reads",
        )
    for rows, inner, columns in ((196, 64, 196), (196, 196, 64)):
        yield Case(
            name=f"6 of {rows}x{inner} by {inner}x{columns}",
            model=graphs.batched_product(6, rows, inner, columns),
        )


def _pointwise() -> Iterator[Case]:
    for shape in _SIZES:
        for op_type in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "HardSigmoid", "Softplus"):
            yield _of(graphs.unary(op_type, shape), shape)
        yield _of(graphs.swish(shape), shape)
        yield _of(graphs.with_constants("Clip", shape, np.float32(0), np.float32(6)), shape)
        yield _of(graphs.with_constants("Pow", shape, np.float32(2)), shape)
        for op_type in ("Add", "Div"):
            yield _of(graphs.binary(op_type, shape, shape), shape)
        yield _of(graphs.binary("Mul", shape, (1, shape[1], 1, 1)), shape)


def _reductions() -> Iterator[Case]:
    for shape in _SIZES:
        for op_type in ("ReduceMean", "ReduceMax", "ReduceSumSquare"):
            yield _of(graphs.unary(op_type, shape, axes=[2, 3]), shape)
        for op_type in ("ReduceMean", "ReduceMax"):
            yield _of(graphs.unary(op_type, shape, axes=[1]), shape)
        yield _of(graphs.blocked("GlobalAveragePool", shape), shape)
        pool = {"kernel_shape": [3, 3], "pads": [1] * 4}
        for op_type in ("MaxPool", "AveragePool"):
            yield _of(graphs.blocked(op_type, shape, **pool), shape)
        scale, bias = np.ones((2, shape[1]), np.float32)
        yield _of(graphs.with_constants("InstanceNormalization", shape, scale, bias), shape)
        batch = (scale, bias, bias, scale)
        yield _of(graphs.with_constants("BatchNormalization", shape, *batch), shape)
    halves = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}
    yield _of(graphs.blocked("MaxPool", _WHOLE, **halves), _WHOLE)
    yield _of(graphs.unary("Softmax", _SCORES, axis=-1), _SCORES)
    yield _of(graphs.unary("Softmax", (1, 64, 28, 28), axis=1), (1, 64, 28, 28))
    scale, bias = np.ones((2, _TOKENS[-1]), np.float32)
    yield _of(graphs.with_constants("LayerNormalization", _TOKENS, scale, bias), _TOKENS)


def _copies() -> Iterator[Case]:
    for shape in _SIZES:
        _, channels, height, width = shape
        half = (1, channels // 2, height, width)
        yield _of(graphs.unary("Transpose", shape, perm=[0, 2, 3, 1]), shape)
        yield _of(graphs.binary("Concat", half, half, axis=1), shape)
        sizes = np.array([channels // 2] * 2)
        yield _of(graphs.with_constants("Split", shape, sizes, outputs=2, axis=1), shape)
        ends = (np.array([0]), np.array([channels // 2]), np.array([1]))
        yield _of(graphs.with_constants("Slice", shape, *ends), shape)
        order = np.arange(channels)[::-1].copy()
        yield _of(graphs.with_constants("Gather", shape, order, axis=1), shape)
        pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
        yield _of(graphs.with_constants("Pad", shape, pads), shape)
        yield _of(graphs.with_constants("Expand", (1, channels, 1, 1), np.array(shape)), shape)
        yield _of(graphs.resized((1, channels, height // 2, width // 2), 2), shape)
        yield _of(graphs.resized((1, channels, 1, 1), height), shape)
        yield _of(graphs.channels_last(shape), shape)


def _of(model: Model, shape: Sequence[int]) -> Case:
    return Case(name="x".join(map(str, shape[1:])), model=model)
