"""Every attention, stock and lowered for every target, in OpenVINO: what float64 says it gives.

Parameters and statistics are drawn at random, so that nothing hides behind a fresh initialisation.
"""

from __future__ import annotations

import copy

import pytest
import torch

from edgeattn.attention.registry import ATTENTIONS
from edgeattn.legalise import legalise
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.target import TARGETS
from edgeattn.models.build import build
from edgeattn.models.capture import trace, translate
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.parity.openvino import OpenVino
from edgeattn.parity.randomise import randomise
from edgeattn.parity.references import at_batches
from edgeattn.runtimes.onnxruntime import inputs_of
from edgeattn.workflows.workspace import workspace

pytest.importorskip("openvino")

#: What sampling a noise image between its pixels leaves of float32.
FLOORS_DB = {"stn": 100.0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", *ATTENTIONS])
def test_outputs_are_those_of_float64(name, tmp_path):
    asked = () if name == "none" else (AttentionRequest(name=name, options={}, at=None),)
    built = build(ModelRequest(source="resnet18", attentions=asked, shapes=((1, 3, 64, 64),)))
    raw = translate(trace(built.module, built.inputs, dynamic_batch=True))
    randomise(built.module, built.inputs, seed=1)
    inputs = at_batches(built.inputs, (1, 3))
    wide = copy.deepcopy(built.module).double()
    with torch.no_grad():
        want = {batch: wide(*(one.double() for one in x)).numpy() for batch, x in inputs.items()}
    arrays = {batch: [one.numpy() for one in x] for batch, x in inputs.items()}
    with workspace(tmp_path / "model.onnx") as work:
        work.begin("random", raw, built)
        assert work.why_unsimplified() == ""
        stock = work.simplified("random")
        for target in ("stock", *TARGETS):
            model = stock.clone()
            if target != "stock":
                lower(model, target=target)
            legalise(model, 17)
            path = work.finish("random", model)
            for run in OpenVino().runs(inputs_of(path), arrays):
                (output,) = run.outputs
                found = measure(target, want[run.batch], output, tolerance_of("fp32"))
                assert found.sqnr_db > FLOORS_DB.get(name, 115.0), (target, run.batch)
