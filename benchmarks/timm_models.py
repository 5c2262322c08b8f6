"""Exports convolutional and hybrid timm models at opset 17, beside stock torch, and prints a table.

    python benchmarks/timm_models.py [--opset 17] [--models a,b,c] [--json out.json]

Each model runs in a process of its own: stock `torch.onnx.export` first (at the opset that it
writes natively), then the whole edgeattn export with its parity gate. The last line says which
share of the models that stock torch exports comes out of edgeattn with parity.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASKED_PERCENT = 95.0

# fmt: off
MODELS = [
    "resnet18", "resnet50", "resnet50d", "resnext50_32x4d", "seresnet50", "ecaresnet50t",
    "skresnet18", "resnest14d", "wide_resnet50_2", "gcresnet33ts", "res2net50_26w_4s",
    "cspresnet50", "cspdarknet53", "darknet53", "dla34", "vgg11_bn", "densenet121",
    "inception_v3", "xception41", "hrnet_w18_small", "mobilenetv1_100", "mobilenetv2_100",
    "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium",
    "efficientnet_b0", "efficientnet_lite0", "tf_efficientnet_b0", "tf_efficientnetv2_b0",
    "mixnet_s", "mnasnet_100", "fbnetc_100", "spnasnet_100", "tinynet_a", "ghostnet_100",
    "ghostnetv2_100", "hardcorenas_a", "lcnet_050", "rexnet_100", "regnetx_004",
    "regnety_004", "regnetz_c16", "repvgg_a0", "mobileone_s0", "nfnet_f0", "dm_nfnet_f0",
    "nf_resnet50", "convnext_atto", "convnextv2_atto", "convmixer_768_32",
    "inception_next_tiny", "fastvit_t8", "repvit_m1", "starnet_s1", "edgenext_xx_small",
    "mobilevit_xxs", "mobilevitv2_050", "coatnet_pico_rw_224", "coatnet_rmlp_nano_rw_224",
    "maxvit_pico_rw_256", "levit_128", "efficientformer_l1", "efficientformerv2_s0",
    "efficientvit_b0", "efficientvit_m0", "poolformer_s12", "caformer_s18", "convit_tiny",
    "botnet26t_256", "lambda_resnet26t", "halonet26t", "eca_halonext26ts", "visformer_tiny",
    "pvt_v2_b0", "xcit_nano_12_p16_224", "nextvit_small", "focalnet_tiny_srf", "vovnet39a",
    "selecsls42b", "crossvit_9_240", "cait_xxs24_224", "gcvit_xxtiny", "hgnet_tiny",
    "hgnetv2_b0",
]
# fmt: on


def main() -> int:
    """Run all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--timeout", type=float, default=400.0, help="seconds per model")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_one(arguments.one, arguments.opset)))
        return 0
    rows = []
    for name in arguments.models.split(","):
        row = _in_process(name, arguments.opset, arguments.timeout)
        rows.append(row)
        print(_line(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    stock = [row for row in rows if row["stock"]]
    passed = [row for row in stock if row["passed"]]
    share = 100 * len(passed) / max(1, len(stock))
    print(
        f"{len(rows)} models, {len(stock)} exported by stock torch, {len(passed)} of these by"
        f" edgeattn at opset {arguments.opset} with parity: {share:.1f} %"
    )
    return 0 if share >= ASKED_PERCENT else 1


def _in_process(name: str, opset: int, timeout: float) -> dict[str, object]:
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, "--opset", str(opset)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        row = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        # Counted as a failure of edgeattn: which of the two exports took the time is not known.
        row = {"stock": True, "passed": False, "why": f"no end within {timeout:g} s"}
    except (IndexError, json.JSONDecodeError):
        lines = done.stderr.strip().splitlines()
        row = {"stock": True, "passed": False, "why": lines[-1] if lines else "no output"}
    return {"model": name, **row, "seconds": round(time.perf_counter() - began, 1)}


def _one(name: str, opset: int) -> dict[str, object]:
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):
        from edgeattn.base.errors import EdgeattnError
        from edgeattn.options.export import ExportOptions
        from edgeattn.options.model import ModelRequest
        from edgeattn.workflows.export import export

        stock, why_stock = _stock(name)
        with tempfile.TemporaryDirectory() as folder:
            try:
                manifest = export(
                    ModelRequest(source=f"timm:{name}"),
                    ExportOptions(opset=opset),
                    Path(folder) / "model.onnx",
                )
            except EdgeattnError as error:
                return {"stock": stock, "passed": False, "why": str(error), "why_stock": why_stock}
            except Exception as error:  # noqa: BLE001 - a fault of edgeattn is a row of the table
                why = f"FAULT {type(error).__name__}: {error}"
                return {"stock": stock, "passed": False, "why": why, "why_stock": why_stock}
    ratios = {
        weights: min(
            (
                o.sqnr_db
                for c in manifest.parity.cases
                if c.weights == weights
                for o in c.outputs
                if o.sqnr_db is not None
            ),
            default=None,
        )
        for weights in ("model", "random")
    }
    return {
        "stock": stock,
        "why_stock": why_stock,
        "passed": manifest.parity.passed and manifest.opset == opset,
        "sqnr_db": ratios,
        "max_rel": max(output.max_rel for output in manifest.parity.outputs),
        "nodes": [manifest.nodes.exported, manifest.nodes.final],
        "why": "; ".join(manifest.notes),
    }


def _stock(name: str) -> tuple[bool, str]:
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import timm
    import torch

    try:
        model = timm.create_model(name).eval()
        shape = (1, *model.pretrained_cfg["input_size"])
        torch.onnx.export(model, (torch.randn(shape),), dynamo=True, verbose=False)
    except Exception as error:  # noqa: BLE001 - stock torch raises anything
        return False, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return True, ""


def _line(row: dict[str, object]) -> str:
    state = "ok" if row["passed"] else "FAILED"
    stock = "ok" if row["stock"] else "failed"
    ratios = row.get("sqnr_db") or {}
    assert isinstance(ratios, dict)
    text = ", ".join(f"{k} {v:.0f} dB" for k, v in ratios.items() if v is not None)
    return (
        f"{row['model']:28} stock {stock:6} edgeattn {state:6} {row['seconds']:6} s  {text}"
        f"  {str(row.get('why') or '')[:300]}"
    )


if __name__ == "__main__":
    sys.exit(main())
