"""Small copies of exported models, and what TensorRT-RTX's parser says of a file.

What `check` says rests on the graph, not on the weights: a copy's weights are a file of holes,
which takes no room and reads as zeros. No parity is checked.

    python benchmarks/check_models.py SOURCE [--attention NAME --at PLACE] OUT.onnx

writes OUT.onnx as torch wrote it, and OUT.lowered.onnx and OUT.dla.onnx as lowered for TensorRT and
for a DLA; with --opset 17 13 the same at opset 13 too, as OUT.13.onnx, and so on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import onnx_ir as ir

#: How the forms of a model are called, and the target of each.
FORMS: Final = {"": None, ".lowered": "tensorrt", ".dla": "dla"}
OPSET: Final = 17


def form_of(path: Path, form: str, opset: int = OPSET) -> Path:
    """Return the path of another form of a model, or of one at another opset."""
    return path.with_name(f"{path.stem}{form}{'' if opset == OPSET else f'.{opset}'}.onnx")


def exported(source: str, path: Path, *flags: str, limit_s: float = 600.0) -> str:
    """Export a model in a process of its own, unless it is there.

    Args:
        source: The model, as `export` takes it.
        path: Where the file as torch wrote it goes.
        flags: As this program takes them.
        limit_s: After how long it is given up.

    Returns:
        Why there is none; empty if there is.
    """
    if path.exists():
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, source, str(path), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return f"no end within {limit_s:g} s"
    if done.returncode == 0 and path.exists():
        return ""
    return (done.stderr.strip().splitlines() or ["no output"])[-1]


def parsed(path: Path) -> list[dict[str, Any]]:
    """Return what TensorRT-RTX's parser refuses of a file, asked once and then kept."""
    kept = path.with_suffix(".parser.json")
    if not kept.exists() or not kept.stat().st_size:
        command = [sys.executable, __file__, "--parse", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        refused = [{"node": "", "op": "", "why": f"the parser crashed: {done.returncode}"}]
        refused = json.loads(lines[-1]) if lines and not done.returncode else refused
        kept.write_text(json.dumps(refused, indent=1))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def parse(path: Path) -> list[dict[str, Any]]:
    """Return what TensorRT-RTX's parser refuses, by node; it may crash this process."""
    from edgeattn.engine.libraries import load
    from edgeattn.engine.log import Log, logger_of

    trt = load("tensorrt-rtx").module
    log = Log()
    logger = logger_of(trt, log)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(path)):
        return []
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = [
        {"node": e.node_name(), "op": e.node_operator(), "why": " ".join(e.desc().split())}
        for e in errors
    ]
    return found or [{"node": "", "op": "", "why": "; ".join(log.errors)}]


def _write(asked: argparse.Namespace) -> None:
    from edgeattn.base.errors import InputError
    from edgeattn.lowering.target import TARGETS
    from edgeattn.models.build import build
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.workflows.pipeline import captured
    from edgeattn.workflows.workspace import workspace

    attention = AttentionRequest(name=asked.attention, at=asked.at) if asked.attention else None
    built = build(ModelRequest(source=asked.source, attentions=(attention,) if attention else ()))
    options = ExportOptions()
    with (
        tempfile.TemporaryDirectory(dir=asked.out.parent) as folder,
        workspace(Path(folder) / "model.onnx", options) as work,
    ):
        work.begin("model", captured(built, options), built)
        if reason := work.why_unsimplified():
            print(reason, file=sys.stderr)
        for form, target in reversed(FORMS.items()):  # the first is there once all are
            for opset in reversed(asked.opset) if target is None or target in TARGETS else ():
                path = form_of(asked.out, form, opset)
                if path.exists():
                    continue
                try:
                    _save(work.simplified("model"), target, opset, path)
                except InputError as error:
                    print(f"{path.name}: {error.fact}", file=sys.stderr)


def _save(model: ir.Model, target: str | None, opset: int, path: Path) -> None:
    """Lower a model and write it, with a file of holes for its weights."""
    from edgeattn.base.clock import Clock
    from edgeattn.graph.writing import save
    from edgeattn.legalise import legalise
    from edgeattn.options.export import ExportOptions
    from edgeattn.workflows.forms import Forming

    if target is not None:
        Forming(ExportOptions(opset=opset, target=target)).lower(model, Clock(lambda _: None))
    legalise(model, opset)
    save(model, path, external=True)
    data = path.with_name(f"{path.name}.data")
    if data.exists():
        size = data.stat().st_size
        data.write_bytes(b"")
        os.truncate(data, size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one model's files, or print what the parser says of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parse", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("source", nargs="?", default="")
    parser.add_argument("out", type=Path, nargs="?", default=Path())
    parser.add_argument("--attention")
    parser.add_argument("--at")
    parser.add_argument("--opset", type=int, nargs="+", default=[OPSET])
    asked = parser.parse_args(arguments)
    if asked.parse is not None:
        print(json.dumps(parse(asked.parse)))
    else:
        _write(asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
