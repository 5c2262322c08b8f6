"""What kernels move: padding, strides, and names that lead nowhere."""

from __future__ import annotations

import pytest

from edgeattn.profiling.predict.gpu.traffic import stored_bytes, traffic_of
from export_tests.profiling.predict.gpu.kernels import (
    convolution,
    kernel,
    pointwise,
    tensor,
    weights,
)


@pytest.mark.parametrize(
    ("dtype", "layout", "channels"),
    [
        ("fp32", "Row major linear FP32", 3),
        ("fp16", "Channel major FP16 format where channel % 4 == 0", 4),
        ("fp16", "Channel major FP16 format where channel % 8 == 0", 8),
        ("int8", "Four wide channel vectorized row major Int8 format", 4),
        ("int8", "Thirty-two wide channel vectorized row major Int8 format", 32),
        ("fp16", "Two wide channel vectorized row major FP16 format", 4),
        ("fp16", "(NHWC) Channel major format", 3),
    ],
)
def test_padded_channels(dtype, layout, channels):
    size = {"fp32": 4, "fp16": 2, "int8": 1}[dtype]
    one = tensor("x", (2, 3, 224, 224), dtype, layout)
    assert stored_bytes(one) == 2 * channels * 224 * 224 * size


@pytest.mark.parametrize(
    ("area", "layout", "part"),
    [
        (1, "Channel major FP16 format where channel % 8 == 0", 1 / 4),
        (1, "Row major linear FP16 format", 1 / 2),
        (9, "Channel major FP16 format where channel % 8 == 0", 1),
    ],
)
def test_what_a_stride_skips(area, layout, part):
    side = 1 if area == 1 else 3
    x = tensor("x", (1, 64, 56, 56), "fp16", layout)
    y = tensor("y", (1, 128, 28, 28), "fp16", layout)
    one = kernel("k", "CaskConvolution", [x], [y], [weights((128, 64, side, side))])
    (moved,) = traffic_of([one])
    data, constants = moved.reads
    assert data.size == 64 * 56 * 56 * 2 * part
    assert constants.size == 128 * 64 * area * 2
    assert moved.size == data.size + constants.size + 128 * 28 * 28 * 2


def test_a_tensor_that_is_read_twice_counts_once():
    x, y = tensor("x", (1, 64, 56, 56)), tensor("y", (1, 64, 56, 56))
    (moved,) = traffic_of([kernel("k", "ElementWise", [x, x], [y])])
    assert moved.size == 2 * 64 * 56 * 56 * 2


def test_who_wrote_it():
    kernels = [pointwise("x", "a"), pointwise("a", "b"), convolution("b", "c")]
    found = [[piece.source for piece in moved.reads] for moved in traffic_of(kernels)]
    assert found == [[None, None], [0, None], [1, None]]


def test_names_that_needless_copies_gave():
    """TensorRT 8 lists the copies as NoOps, which the reader leaves out."""
    out = "Reformatted Output Tensor 0 to k"
    kernels = [
        pointwise("x", "a"),
        pointwise("Reformatted Input Tensor 0 to k", out),
        pointwise("b", "c"),
        pointwise("Reformatted Input Tensor 0 to l", "d", shape=(1, 64, 28, 28)),
    ]
    found = [(moved.reads[0].name, moved.reads[0].source) for moved in traffic_of(kernels)]
    assert found == [("x", None), ("a", 0), (out, 1), ("Reformatted Input Tensor 0 to l", None)]


def test_another_input_is_no_copy():
    """It has the type and size of what was written, and a name of its own."""
    kernels = [pointwise("x", "a"), pointwise("z", "b")]
    assert traffic_of(kernels)[1].reads[0].source is None
