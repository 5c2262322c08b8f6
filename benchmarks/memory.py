"""Compares the planned peak of activations with what ONNX Runtime takes for them.

    python benchmarks/memory.py [--models resnet50 …] [--attention simam] [--batches 1 8]

Each model is exported with an open batch, and run three times in a process of its own, whose arena
grows by what is asked of it and no more. What a run needs is known to ONNX Runtime after its first,
and from then on it asks for it in one block, into which all activations are put but inputs, which
are the caller's, and outputs. So the block is compared with the plan less inputs. `each once` is
the block where ONNX Runtime hands no buffer on to a later value of the same size, nor writes over
one: what it may hand on, it holds meanwhile. `arena` is what the arena takes as it is by default:
in powers of two, the first run's included.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from edgeattn.graph.memory import plan
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.profiling.sources.model import Subject, read_subject
from edgeattn.workflows.export import export

_MODELS: Final = ("resnet50", "mobilenetv2_100")
_GREW: Final = re.compile(r"Extended allocation by (\d+) bytes|^run$", re.MULTILINE)


def run(path: str, batch: int, exact: bool, reuse: bool) -> None:
    """Run a model three times; ONNX Runtime logs how its arena grows."""
    import numpy as np
    import onnxruntime as ort
    from onnxruntime.capi import _pybind_state as state

    ort.set_default_logger_severity(1)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.enable_mem_reuse = reuse
    if exact:
        kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
        where = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(where, state.OrtArenaCfg(0, 1, -1, -1))
        options.add_session_config_entry("session.use_env_allocators", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    image = np.zeros([batch, *taken.shape[1:]], np.float32)
    for _ in range(3):
        print("run", file=sys.stderr, flush=True)
        session.run(None, {taken.name: image})


def grown(path: Path, batch: int, *, exact: bool, reuse: bool = True) -> list[int]:
    """Return by how much the arena grew in each run."""
    job = json.dumps([str(path), batch, exact, reuse])
    command = [sys.executable, __file__, "--job", job]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    runs: list[int] = []
    for found in _GREW.finditer(said):
        if found.group(1) is None:
            runs.append(0)
        elif runs:
            runs[-1] += int(found.group(1))
    return runs


def inputs_bytes(subject: Subject) -> int:
    """Return the bytes of a model's inputs."""
    values: list[Any] = list(subject.model.graph.inputs)
    return sum(math.prod(value.shape.numpy()) * int(value.dtype.itemsize) for value in values)


def main() -> None:
    """Compare, and print a line for each model and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=_MODELS)
    parser.add_argument("--attention", nargs="*", default=["simam", "cbam"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--job", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        run(*json.loads(asked.job))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.models:
            for attention in ("", *asked.attention):
                path = Path(folder) / f"{name}-{attention or 'plain'}.onnx"
                wanted = (AttentionRequest(name=attention),) if attention else ()
                request = ModelRequest(source=name, attentions=wanted)
                export(request, ExportOptions(dynamic_batch=True, target="onnxruntime"), path)
                for batch in asked.batches:
                    subject = read_subject(path, batch=batch)
                    found = plan(subject.model)
                    assert found.activations_bytes is not None
                    block = grown(path, batch, exact=True)[1]
                    single = grown(path, batch, exact=True, reuse=False)[1]
                    arena = sum(grown(path, batch, exact=False))
                    planned = found.activations_bytes - inputs_bytes(subject)
                    print(
                        f"{path.stem:24} batch {batch:3}  planned {planned:12,}"
                        f"  block {block:12,} ({block / planned - 1:+.1%})"
                        f"  each once {single:12,} ({single / planned - 1:+.1%})"
                        f"  arena {arena:12,} ({arena / planned - 1:+.1%})  at {found.at}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
