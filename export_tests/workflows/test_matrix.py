"""Every attention on every backbone at opsets 13, 17 and 20: with parity, or refused with a reason.

Parameters and statistics are drawn at random, so that nothing hides behind a fresh initialisation.
A model is captured and simplified once, and legalised for each opset. The default run takes a few
(`test_export.py` takes every attention on a small net); `-m ""` takes all.
"""

from __future__ import annotations

import onnx
import pytest

from edgeattn.attention.registry import ATTENTIONS
from edgeattn.base.errors import InputError
from edgeattn.legalise import legalise
from edgeattn.models.build import build
from edgeattn.models.capture import trace, translate
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.parity.compare import compare, runs_of
from edgeattn.parity.floor import judge
from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.randomise import randomise
from edgeattn.parity.references import module_reference
from edgeattn.workflows.workspace import workspace

BACKBONES = ("resnet18", "resnet50", "mobilenetv1", "mobilenetv2")
DEFAULT = {("resnet18", "stn")}
OPSETS = (13, 17, 20)
NAMES = ("none", *ATTENTIONS)

#: What cannot be written, by attention and opset, and how the refusal begins.
REFUSED = {("stn", 13): "GridSample"}


def cells():
    for backbone in BACKBONES:
        for name in NAMES:
            marks = () if (backbone, name) in DEFAULT else pytest.mark.slow
            yield pytest.param(name, backbone, marks=marks)


@pytest.mark.parametrize(("name", "backbone"), cells())
def test_matrix(name, backbone, tmp_path, record_property):
    results = []
    asked = AttentionRequest(name=name, options={}, at=None)
    built = build(ModelRequest(source=backbone, attentions=(asked,), shapes=((1, 3, 64, 64),)))
    assert len(built.sites) > 0 or name == "none"
    raw = translate(trace(built.module, built.inputs, dynamic_batch=False))
    randomise(built.module, built.inputs, seed=1)
    reference = module_reference(built.module, {1: built.inputs}, weights="random")
    with workspace(tmp_path / "model.onnx") as work:
        work.begin("random", raw, built)
        assert work.why_unsimplified() == ""
        model = work.simplified("random")
        for opset in OPSETS:
            if (name, opset) in REFUSED:
                with pytest.raises(InputError, match=REFUSED[name, opset]) as refusal:
                    legalise(model.clone(), opset)
                assert "attention" in str(refusal.value), "the module is named"
                assert "The lowest opset that works is 16." in str(refusal.value)
                results.append("x")
                continue
            legal = model.clone()
            legalise(legal, opset)
            path = work.finish("random", legal)
            written = onnx.load(path)
            assert [(entry.domain, entry.version) for entry in written.opset_import] == [
                ("", opset)
            ]
            onnx.checker.check_model(written, full_check=True)
            runs = runs_of(path, reference.inputs)
            cases = compare(runs, reference, tolerance_of("fp32")).cases
            mark = ""
            if not all(case.passed for case in cases):
                # As the export does: sampling a noise image between its pixels amplifies rounding.
                cases = [judge(case, tolerance_of("fp32"), reference.floor) for case in cases]
                mark = "~"
                assert name == "stn", cases
            assert all(case.passed for case in cases), cases
            worst = min(o.sqnr_db or 999 for case in cases for o in case.outputs)
            results.append(f"{mark}{worst:.0f}")
            owned = [node.name for node in written.graph.node if "attention" in node.name]
            # A replaced convolution keeps its own path.
            assert owned or name in {"none", "sk"}
    # Printed as a table at the end of the run, by conftest.
    record_property("matrix", (name, backbone, " ".join(f"{cell:>3}" for cell in results)))
