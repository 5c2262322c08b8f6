"""The steps that doctor tries in a process of its own: a crash ends only that process.

Run as `python -m edgeattn.workflows.doctor_steps FOLDER STEP...`. Every step appends one line of
JSON to `results.jsonl` in the folder. Later steps use the files of earlier ones, not their memory,
so that a new process can go on after a crash.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeattn.base.errors import MissingError
from edgeattn.engine.gpu import ask_driver
from edgeattn.runtimes.runner import load_openvino

RESULTS: Final = "results.jsonl"


def try_torch(_folder: Path) -> str:
    """A small convolution runs."""
    import torch

    y = torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 8, 8))
    assert y.shape == (1, 4, 6, 6)
    return f"{torch.__version__}, " + (
        f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    )


def try_timm(_folder: Path) -> str:
    """`import timm` works, with torchvision's operators declared here if necessary."""
    import torch

    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import timm

    models = len(timm.list_models())
    try:
        torch.ops.torchvision.nms(torch.ones(1, 4), torch.ones(1), 0.5)
    except (AttributeError, NotImplementedError):
        return (
            f"{models} models; torchvision is built for another torch, which edgeattn works around"
        )
    return f"{models} models"


def try_export(folder: Path) -> str:
    """torch.export and the ONNX exporter write a small model."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    x = torch.randn(1, 3, 8, 8)
    program = torch.onnx.export(model.eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    program.save(folder / "tiny.onnx")
    np.savez(folder / "tiny.npz", x=x.numpy(), y=model(x).detach().numpy())
    return f"{len(program.model.graph)} nodes"


def try_onnxruntime(folder: Path) -> str:
    """ONNX Runtime computes what torch computed."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "tiny.onnx", providers=["CPUExecutionProvider"])
    expected = np.load(folder / "tiny.npz")
    (y,) = session.run(None, {session.get_inputs()[0].name: expected["x"]})
    return _difference(y, expected["y"])


def try_openvino(folder: Path) -> str:
    """OpenVINO computes what torch computed, in float32; its devices, and what it takes itself."""
    import numpy as np

    core = load_openvino().Core()
    compiled = core.compile_model(folder / "tiny.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = np.load(folder / "tiny.npz")
    said = [_difference(compiled([expected["x"]])[0], expected["y"])]
    said.append(f"devices {', '.join(core.available_devices)}")
    own = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    said += [f"{own} unless told otherwise, as edgeattn does"] if own != "f32" else []
    return "; ".join(said)


def _difference(found: Any, expected: Any) -> str:
    """Say how far a result is from torch's.

    Raises:
        RuntimeError: It is another one.
    """
    error = float(abs(found - expected).max())
    if not error <= 1e-5:
        raise RuntimeError(f"the result differs from torch's by {error:g}")
    return f"differs from torch by at most {error:.1g}"


def try_onnxsim(folder: Path) -> str:
    """The simplifier simplifies the small model."""
    import onnx
    import onnxsim

    simplified, same = onnxsim.simplify(onnx.load(folder / "tiny.onnx"))
    if not same:
        raise RuntimeError("it says that its result is not the same function")
    return f"{len(simplified.graph.node)} nodes"


def try_gpu(_folder: Path) -> str:
    """The CUDA driver answers and names a GPU. Asked directly: torch may be the CPU build."""
    try:
        driver = ask_driver()
    except MissingError as error:
        raise ModuleNotFoundError(error.fact, name="gpu") from error
    found = [
        f"{gpu.name} (compute capability {'.'.join(map(str, gpu.compute_capability))})"
        for gpu in driver.gpus
    ]
    return f"{', '.join(found)}; CUDA {'.'.join(map(str, driver.cuda))}"


def _try_library(module: str) -> Callable[[Path], str]:
    """Return a step that loads a library and returns its version."""
    return lambda _folder: str(importlib.import_module(module).__version__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to try.

    Attributes:
        title: What it is, for people.
        run: Tries it in a folder, and returns what it found.
        needed: Whether `edgeattn export` needs it.
        after: The steps without which it cannot be tried.
        mend: What to do if it does not work.
    """

    title: str
    run: Callable[[Path], str]
    needed: bool
    after: tuple[str, ...] = ()
    mend: str


STEPS: Final[Mapping[str, Step]] = {
    "torch": Step(
        title="torch computes",
        run=try_torch,
        needed=True,
        mend="pip install --force-reinstall 'torch>=2.9,<2.14'",
    ),
    "timm": Step(
        title="timm loads",
        run=try_timm,
        needed=True,
        after=("torch",),
        mend="pip install -U timm; and torchvision from the index that torch came from",
    ),
    "export": Step(
        title="torch exports to ONNX",
        run=try_export,
        needed=True,
        after=("torch",),
        mend="pip install -U onnx onnxscript onnx-ir",
    ),
    "onnxruntime": Step(
        title="ONNX Runtime agrees with torch",
        run=try_onnxruntime,
        needed=True,
        after=("export",),
        mend="pip install --force-reinstall onnxruntime",
    ),
    "openvino": Step(
        title="OpenVINO agrees with torch",
        run=try_openvino,
        needed=False,
        after=("export",),
        mend="export needs none; to run and measure files by it: pip install 'edgeattn[openvino]'",
    ),
    "onnxsim": Step(
        title="onnxsim simplifies",
        run=try_onnxsim,
        needed=False,
        after=("export",),
        mend="export goes on without it; to have it: pip install -U onnxsim",
    ),
    "gpu": Step(
        title="an NVIDIA GPU answers",
        run=try_gpu,
        needed=False,
        mend="export needs none; engines and measurements do: install NVIDIA's driver",
    ),
    "tensorrt": Step(
        title="TensorRT loads",
        run=_try_library("tensorrt"),
        needed=False,
        mend="export needs none; to build engines: pip install 'edgeattn[tensorrt]'"
        " (on Jetson, JetPack brings it)",
    ),
    "tensorrt-rtx": Step(
        title="TensorRT for RTX loads",
        run=_try_library("tensorrt_rtx"),
        needed=False,
        mend="export needs none; x86-64 Linux and Windows: pip install tensorrt-rtx",
    ),
}


def main(folder: Path, steps: list[str]) -> None:
    """Try the steps in order, and write down after each how it went."""
    for step in steps:
        state = "works"
        try:
            detail = STEPS[step].run(folder)
        except ModuleNotFoundError as error:
            # Only the library itself can be absent; one that lacks a dependency fails.
            state = "absent" if error.name == step.replace("-", "_") else "fails"
            detail = str(error)
        except Exception as error:  # noqa: BLE001  # any error is the finding
            state, detail = "fails", f"{type(error).__name__}: {error}"
        with (folder / RESULTS).open("a", encoding="utf-8") as results:
            results.write(json.dumps({"step": step, "state": state, "detail": detail}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
