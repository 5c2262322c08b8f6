"""What doctor tries, step by step, in a process of its own: a step that crashes takes only it down.

Run as `python -m edgeattn.workflows.doctor_steps FOLDER STEP...`. Every step appends one line of
JSON to `results.jsonl` in the folder. Later steps use the files of earlier ones, not their memory,
so that a new process can go on after a crash.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edgeattn.base.errors import MissingError
from edgeattn.engine.gpu import ask_driver

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
    """`import timm` works, where need be with torchvision's operators declared by us."""
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
    error = float(np.abs(y - expected["y"]).max())
    if error > 1e-5:
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


def try_tensorrt(_folder: Path) -> str:
    """TensorRT loads."""
    import tensorrt

    return str(tensorrt.__version__)


def try_tensorrt_rtx(_folder: Path) -> str:
    """TensorRT for RTX loads."""
    import tensorrt_rtx

    return str(tensorrt_rtx.__version__)


STEPS: Final[Mapping[str, Callable[[Path], str]]] = {
    "torch": try_torch,
    "timm": try_timm,
    "export": try_export,
    "onnxruntime": try_onnxruntime,
    "onnxsim": try_onnxsim,
    "gpu": try_gpu,
    "tensorrt": try_tensorrt,
    "tensorrt-rtx": try_tensorrt_rtx,
}


def main(folder: Path, steps: list[str]) -> None:
    """Try the steps in order, and write down after each how it went."""
    for step in steps:
        state = "works"
        try:
            detail = STEPS[step](folder)
        except ModuleNotFoundError as error:
            # What is absent is the library itself; one that lacks a library of its own fails.
            state = "absent" if error.name == step.replace("-", "_") else "fails"
            detail = str(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            state, detail = "fails", f"{type(error).__name__}: {error}"
        with (folder / RESULTS).open("a", encoding="utf-8") as results:
            results.write(json.dumps({"step": step, "state": state, "detail": detail}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
