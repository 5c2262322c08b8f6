"""What the tests of lowering share: exports by both of torch's exporters, and small nets."""

from __future__ import annotations

import io
from collections import Counter

import onnx
import onnx_ir as ir
import onnxsim
import torch
from torch import nn

from edgeattn.models.quiet import quiet
from export_tests.lowering.float64 import as_double, assert_equal64, evaluate64

__all__ = [
    "as_double",
    "assert_equal64",
    "evaluate64",
    "export",
    "ops",
    "randomise_",
    "tiny_net",
]


def randomise_(module, seed=7):
    """Draws every parameter and statistic, different for every channel, and sets eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not tensor.is_floating_point() or tensor.ndim == 0:
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor[0].numel() > 1:  # a kernel: gates must not saturate, or they hide faults
                tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=generator)
            else:
                tensor.normal_(0.3, 0.6, generator=generator)
    return module.eval()


def export(module, shape, *, exporter="dynamo", opset=18, dynamic_batch=False, simplify=True):
    """Exports a module as a user of torch would, and simplifies it by onnxsim.

    Args:
        module: The module, in evaluation mode.
        shape: The input's shape.
        exporter: "dynamo", which writes opset 18 and above, or "torchscript", up to 20.
        opset: The opset.
        dynamic_batch: Leave the first dimension open.
        simplify: Run onnxsim.
    """
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with quiet():
        if exporter == "dynamo":
            program = torch.onnx.export(
                module,
                (x,),
                dynamo=True,
                opset_version=opset,
                input_names=["x"],
                output_names=["y"],
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
                if dynamic_batch
                else None,
            )
            proto = ir.to_proto(program.model)
        else:
            buffer = io.BytesIO()
            torch.onnx.export(
                module,
                (x,),
                buffer,
                dynamo=False,
                opset_version=opset,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}} if dynamic_batch else None,
            )
            proto = onnx.load_from_string(buffer.getvalue())
        if simplify:
            proto, _ = onnxsim.simplify(proto)
    assert {i.version for i in proto.opset_import if i.domain == ""} == {opset}
    return ir.from_proto(proto)


def ops(model):
    """Counts the operators of a model."""
    return Counter(node.op_type for node in model.graph.all_nodes())


class TinyNet(nn.Module):
    """A residual block with attention at its end, between a stem and a head, on odd sizes."""

    def __init__(self, attention, channels=24):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = attention
        self.act = nn.ReLU()
        self.last = nn.Conv2d(channels, 20, 1)
        self.fc = nn.Linear(20, 5)

    def forward(self, x):
        """Classifies `x: f32[N, 3, H, W]`."""
        x = self.stem(x)
        x = self.act(x + self.attention(self.norm(self.conv(x))))
        return self.fc(self.last(x).mean((2, 3)))


def tiny_net(attention, channels=24):
    """Gives a randomised net around `attention(channels)`; its input is f32[N, 3, H, W]."""
    torch.manual_seed(5)
    return randomise_(TinyNet(attention(channels), channels))
