"""Every module through torch.export and the ONNX exporter, with a batch that stays dynamic."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgeattn.attention import registry
from edgeattn.attention.registry import ATTENTIONS, SiteShape

# The sides differ, so that swapped axes show; STN needs 26, and the hidden widths are above 1.
SHAPES = {"stn": (3, 29, 34), "gc": (32, 5, 6), "sk": (32, 5, 6)}


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_onnx_runtime_agrees_at_every_batch(ref, name):
    spec = ATTENTIONS[name]
    channels, height, width = SHAPES.get(name, (16, 5, 6))
    conv = nn.Conv2d(channels, channels, 3, padding=1) if spec.replaces_conv else None
    place = SiteShape(channels=channels, height=height, width=width, conv=conv)
    module = ref.randomise(registry.build(spec, place, {}))
    if name == "stn":
        with torch.no_grad():  # a warp that stays inside
            module.fc2.weight.mul_(0.01)
            module.fc2.bias.copy_(torch.tensor([0.8, 0.2, 0.1, -0.3, 0.9, -0.05]))
    example = (torch.randn(2, channels, height, width),)
    program = torch.export.export(
        module, example, dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )
    exported = torch.onnx.export(program, dynamo=True, opset_version=18, verbose=False)
    assert exported is not None
    model = exported.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3):
        x = torch.randn(batch, channels, height, width)
        with torch.no_grad():
            expected = module(x).numpy()
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4)
        assert np.abs(got - x.numpy()).max() > 1e-3
