"""Part of the matrix: attentions x precisions x architectures, built without a GPU; slow.

benchmarks/build_matrix.py builds all of it.
"""

from __future__ import annotations

import pytest

from edgeattn.engine.target import choose
from edgeattn.options.build import EngineOptions
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.workflows.build import BuildOptions, build
from edgeattn.workflows.export import export

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

ATTENTIONS = ("se", "simam")
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0")


@pytest.mark.slow
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_resnet18(tmp_path, attention):
    request = ModelRequest(
        source="resnet18",
        attentions=(AttentionRequest(name=attention),),
        shapes=((1, 3, 64, 64),),
    )
    onnx = tmp_path / "net.onnx"
    export(request, ExportOptions(simplify=False), onnx)
    for precision in ("fp32", "fp16", "int8"):
        source = onnx
        for capability in CAPABILITIES:
            target = choose(
                device=None, capability=capability, runtime="tensorrt-rtx", as_plan=False
            )
            cast = None
            if source == onnx and precision != "fp32":
                cast = CastOptions(precision=precision, calibration="random", samples=4)
            asked = BuildOptions(
                target=target, engine=EngineOptions(), precision=precision, cast=cast
            )
            manifest = build(source, asked, tmp_path)
            source = tmp_path / manifest.onnx  # cast once, for the first
            assert manifest.precision.asked == precision
            assert manifest.traffic_bytes == sum(k.traffic_bytes for k in manifest.layers.kernels)
            # TensorRT-RTX computes what is quantised in float32 on Turing, and the audit says so.
            is_wrong = (precision, capability) == ("int8", "7.5")
            assert bool(manifest.precision.mismatches) == is_wrong
            assert any("--precision fp16" in note for note in manifest.notes) == is_wrong
            if not is_wrong:
                assert manifest.precision.built[precision] > 15
