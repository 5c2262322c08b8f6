"""What torch's exporter writes at opset 18, legalised and compared with torch."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeattn.base.errors import InputError

OPSETS = [13, 15, 17, 18, 20, 21]
IMAGE = (2, 8, 9, 10)


class _All(nn.Module):
    """Functions of one tensor, behind a convolution with random weights: one export for all."""

    def __init__(self, functions):
        super().__init__()
        self.first = nn.Conv2d(8, 8, 1)
        self.functions = functions
        self.modules_of = nn.ModuleList(f for f in functions if isinstance(f, nn.Module))

    def forward(self, x):
        x = self.first(x)
        return tuple(function(x) for function in self.functions)


def _norm(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def _warp(x):
    theta = torch.tensor([[[0.9, 0.2, 0.1], [-0.1, 1.1, 0.0]]]).expand(x.shape[0], 2, 3)
    rows = torch.linspace(-1, 1, x.shape[2]).view(-1, 1).expand(x.shape[2], x.shape[3])
    columns = torch.linspace(-1, 1, x.shape[3]).expand(x.shape[2], x.shape[3])
    grid = torch.stack([columns, rows, torch.ones_like(rows)], -1).view(-1, 3)
    points = (grid @ theta.transpose(1, 2)).view(-1, x.shape[2], x.shape[3], 2)
    return F.grid_sample(x, points, align_corners=False)


CASES = {
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "mish": F.mish,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "layer norm": lambda x: F.layer_norm(x, (10,), torch.arange(10.0), torch.ones(10)),
    "layer norm of channels": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,)),
    "group norm": lambda x: F.group_norm(x, 4, torch.arange(8.0), torch.arange(8.0) - 3),
    "instance norm": F.instance_norm,
    "rms": lambda x: x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-6),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "corners": lambda x: F.interpolate(x, size=(13, 15), mode="bilinear", align_corners=True),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "bicubic": lambda x: F.interpolate(x, size=(12, 14), mode="bicubic"),
    "split": lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1),
    "chunk": lambda x: torch.cat([c * k for k, c in enumerate(x.chunk(3, 1))], 1),
    "unbind": lambda x: x.unbind(1)[2],
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5),
    "reflect": lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 3, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 3, 1), mode="circular"),
    "softmax": lambda x: x.flatten(2).softmax(-1),
    "log softmax": lambda x: x.log_softmax(1),
    "adaptive mean": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 1),
    "adaptive parts": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "pool of ceiling": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "mean pool": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "moments": lambda x: x.mean((2, 3)) + x.var((2, 3)) + x.std((2, 3)) + x.amax((2, 3)),
    "norms": lambda x: x.norm(dim=1) + x.abs().sum((1,)) + x.logsumexp(1),
    "tril": lambda x: x.tril() + x.triu(1),
    "argmax": lambda x: x.argmax(1),
    "top": lambda x: x.flatten(2).topk(3, -1)[0],
    "einsum": lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "roll": lambda x: x.roll(2, 1),
    "flip": lambda x: x.flip(1),
    "cumulative": lambda x: x.cumsum(1),
    "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "unshuffle": lambda x: F.channel_shuffle(x, 2),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "clamp": lambda x: x.clamp(-0.5, 0.5) + F.relu6(x),
    "norm module": _norm(nn.GroupNorm(2, 8)),
}


def _run(proto, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


def _export(functions):
    torch.manual_seed(3)
    module = _All(functions).eval()
    x = torch.randn(IMAGE)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(
        module, (x,), dynamo=True, opset_version=18, verbose=False, dynamic_shapes=({0: batch},)
    )
    return module, x, ir.to_proto(program.model)


@pytest.fixture(scope="module")
def exported():
    return _export(list(CASES.values()))


@pytest.fixture(scope="module")
def warp():
    return _export([_warp])


def _compare(module, proto, x, names):
    for batch in (x, torch.cat([x, x.flip(0)])[:3]):
        with torch.no_grad():
            wanted = module(batch)
        for name, want, got in zip(names, wanted, _run(proto, batch), strict=True):
            assert got.dtype == want.numpy().dtype, name
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("opset", OPSETS)
def test_exports(opset, exported, legal):
    module, x, proto = exported
    _compare(module, legal(proto, opset), x, CASES)


@pytest.mark.parametrize("opset", [16, 17, 20, 21])
def test_a_warp(opset, warp, legal):
    module, x, proto = warp
    _compare(module, legal(proto, opset), x, ["warp"])


def test_a_warp_needs_opset_16(warp, legal):
    with pytest.raises(InputError, match="lowest opset that works is 16") as caught:
        legal(warp[2], 13)
    assert "GridSample exists from opset 16" in str(caught.value)
