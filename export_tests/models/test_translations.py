"""What torchlib cannot translate, run by ONNX Runtime beside torch; and what is refused by name."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.models import capture

SIZES = (1, 5, (3, 4), (1, 5), (None, 3), (20, 7))


class Function(nn.Module):
    """A function as a module, in another one."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def exported(function, x, *, dynamic_batch):
    module = nn.Sequential(Function(function)).eval()
    program = capture.trace(module, (x,), dynamic_batch=dynamic_batch)
    return capture.fold(capture.translate(program))


def check(function, *shape):
    """Compares a function with its translation, at several batches; returns the graph."""
    generator = torch.Generator().manual_seed(0)
    model = exported(function, torch.randn(2, *shape, generator=generator), dynamic_batch=True)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    for batch in (1, 3):
        x = torch.randn(batch, *shape, generator=generator)
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        wanted = function(x)
        for have, want in zip(found, wanted, strict=True):
            assert have.shape == tuple(want.shape)
            np.testing.assert_allclose(have, want.numpy(), rtol=1e-5, atol=1e-5)
    return [node.op_type for node in model.graph]


def test_adaptive_maxima_are_a_gather_an_axis_and_a_pooling():
    def maxima(x):
        found = [F.adaptive_max_pool2d(x, size, return_indices=True) for size in SIZES]
        return [part for pair in found for part in pair]

    check(maxima, 4, 13, 11)
    assert check(lambda x: [F.adaptive_max_pool2d(x, (5, 7))], 4, 13, 16) == ["Gather"] * 2 + [
        "MaxPool"
    ]


def test_adaptive_means_are_a_product_an_axis():
    check(lambda x: [F.adaptive_avg_pool2d(x, size) for size in SIZES], 4, 13, 11)
    assert check(lambda x: [F.adaptive_avg_pool2d(x, (5, 7))], 4, 13, 16) == ["MatMul"] * 2
    assert check(lambda x: [F.adaptive_avg_pool2d(x, (5, 4))], 4, 11, 16) == ["AveragePool"]


@pytest.mark.slow
def test_adaptive_pooling_of_other_ranks():
    size = (2, 3, 5)
    check(
        lambda x: [
            *F.adaptive_max_pool3d(x, size, return_indices=True),
            F.adaptive_avg_pool3d(x, size),
            F.adaptive_max_pool1d(x.flatten(2), 7),
            F.adaptive_avg_pool1d(x.flatten(2), 7),
            *(F.adaptive_max_pool3d(x, 1, return_indices=True)),
        ],
        4, 5, 13, 11,
    )  # fmt: skip


def drawn(x, *shape):
    """Weights that every sample has its own of, drawn from the sample."""
    own = torch.arange(x.shape[1] * int(np.prod(shape))).sin().reshape(x.shape[1], -1)
    return (x.flatten(2).mean(2) @ own).reshape(x.shape[0], *shape)


def per_sample(x, convolve, channels, *kernel, bias, groups=1, **how):
    """A convolution whose groups are the samples', and perhaps more."""
    N, C = x.shape[:2]
    weight = drawn(x, *channels, *kernel).flatten(0, 1)
    biases = drawn(x, bias).flatten() if bias else None
    flat = x.reshape(1, N * C, *x.shape[2:])
    y = convolve(flat, weight, biases, groups=N * groups, **how)
    return y.reshape(N, -1, *y.shape[2:])


def test_every_sample_has_its_own_kernels():
    def convolved(x):
        line = x.flatten(2)
        return [
            per_sample(x, F.conv2d, (5, 4), 3, 3, bias=5, padding=1),
            per_sample(x, F.conv2d, (4, 1), 3, 3, bias=4, groups=4, stride=2),
            per_sample(x, F.conv2d, (6, 2), 3, 2, bias=6, groups=2, dilation=2, padding=(1, 0)),
            per_sample(x, F.conv2d, (5, 4), 3, 3, bias=0, padding="same"),
            per_sample(x, F.conv2d, (5, 4), 1, 1, bias=5),
            per_sample(line, F.conv1d, (5, 4), 3, bias=5, padding=1),
            per_sample(x, F.conv_transpose2d, (4, 5), 3, 3, bias=5, stride=2, output_padding=1),
            per_sample(line, F.conv_transpose1d, (4, 5), 3, bias=0, dilation=2, padding=1),
        ]

    check(convolved, 4, 9, 8)


def decide(x):
    return x if x.mean() > 0 else -x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (decide, r"trace 0 \(Function\) at .*test_translations.py:\d+: its control flow .* values"),
        (
            lambda x: x.median(-1)[0],
            r"translate aten.median.dim in 0 \(Function\) at .*\.py:\d+ to .* for it\.\ntorch.sort",
        ),
        (
            lambda x: torch.linalg.svd(x)[1],
            r"aten._linalg_svd.default in 0 .*\nWrite it with other",
        ),
        (lambda x: x.view(1, 256), r"0 \(Function\)"),
    ],
)
def test_what_cannot_be_is_named(function, message, capfd):
    with pytest.raises(InputError, match=message) as raised:
        exported(function, torch.randn(1, 4, 8, 8), dynamic_batch=True)
    assert len(str(raised.value).splitlines()) == 2
    assert capfd.readouterr() == ("", "")
