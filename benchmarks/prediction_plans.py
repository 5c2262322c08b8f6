"""Plans of TensorRT-RTX against published times, on devices of which there is no engine here.

The times are those of docs/sources.md, at batch 1; what the call from Python takes is taken off
where it is in them. INT8 is predicted on the kernels of the FP16 plan: TensorRT fuses into its
convolutions what a plan of Q/DQ keeps beside them.

YOLO models are made from ultralytics' YAML files, if ultralytics is installed, with random weights
whose activations are brought to the size of trained ones.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pydantic

from edgeattn.base.errors import EdgeattnError
from edgeattn.devices.architecture import TENSORRT_RTX, nearest_architecture
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.plan import plan
from edgeattn.engine.work import kind_of
from edgeattn.profiling.predict.difference import difference
from edgeattn.profiling.predict.gpu.predict import How, Prediction, predict
from edgeattn.profiling.sources.engines.kernels import trace_kernels
from edgeattn.records.layers import Kernel, KernelTensor, LayerInformation


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published time; a range where several were.

    Attributes:
        by: Whose; the device and this name a table.
        call_ms: What of it the call from Python takes.
    """

    by: str
    model: str
    precision: str
    device: str
    low_ms: float
    high_ms: float
    power_mode: str | None = None
    call_ms: float = 0.0

    @property
    def table(self) -> tuple[str, str]:
        """The rows that were measured alike."""
        return self.by, self.device

    @property
    def engine_ms(self) -> float:
        """What the engine takes of it."""
        return (self.low_ms + self.high_ms) / 2 - self.call_ms


def _row(by: str, model: str, precision: str, device: str, *times_ms: float) -> Published:
    return Published(
        by=by, model=model, precision=precision, device=device,
        low_ms=min(times_ms), high_ms=max(times_ms),
    )  # fmt: skip


def _yolo(
    by: str, device: str, mode: str | None, call_ms: float, rows: Mapping[str, Mapping[str, float]]
) -> list[Published]:
    return [
        replace(
            _row(by, f"ultralytics:{model}", precision, device, time_ms),
            power_mode=mode,
            call_ms=call_ms,
        )
        for model, times in rows.items()
        for precision, time_ms in times.items()
    ]


def _three(fp32: float, fp16: float, int8: float) -> dict[str, float]:
    return {"fp32": fp32, "fp16": fp16, "int8": int8}


SHUFFLENETS: Final = {
    f"torchvision:shufflenet_v2_{size}": time_ms
    for size, time_ms in {"x0_5": 2.17, "x1_0": 2.43, "x1_5": 2.37, "x2_0": 2.48}.items()
}
PUBLISHED: Final = (
    _row("MLPerf", "resnet50", "int8", "jetson-xavier-nx", 2.42),
    _row("MLPerf", "resnet50", "int8", "jetson-agx-xavier", 1.82),
    replace(_row("MLPerf", "resnet50", "int8", "jetson-orin-nx-16gb", 1.085), power_mode="MAXN"),
    _row("MLPerf", "resnet50", "int8", "jetson-agx-orin-64gb", 0.64, 0.69),
    _row("MLPerf", "resnet50", "int8", "a2", 0.70),
    _row("MLPerf", "resnet50", "int8", "t4", 1.00),
    _row("MLPerf", "resnet50", "int8", "l4", 0.355),
    _row("torch2trt", "timm:resnet18", "fp16", "jetson-nano", 11.4),
    _row("torch2trt", "resnet50", "fp16", "jetson-nano", 29.8),
    _row("torch2trt", "timm:resnet18", "fp16", "jetson-agx-xavier", 1.64),
    _row("torch2trt", "resnet50", "fp16", "jetson-agx-xavier", 3.37),
    _row("torch2trt", "timm:mobilenetv2_100", "fp16", "jetson-agx-xavier", 1.67),
    *(
        _row("torch2trt", model, "fp16", "jetson-agx-xavier", time_ms)
        for model, time_ms in SHUFFLENETS.items()
    ),
    _row("EfficientFormer#10", "timm:mobilenetv2_100", "fp32", "jetson-nano", 27.2),
    *_yolo(
        "Ultralytics", "jetson-orin-nx-16gb", "MAXN", 1.0,
        {
            "yolo11n": _three(8.05, 4.85, 4.37),
            "yolo11s": _three(14.13, 7.55, 5.63),
            "yolo11m": _three(30.72, 14.45, 10.19),
            "yolo11l": _three(38.68, 18.53, 13.36),
            "yolo11x": _three(76.44, 35.99, 22.32),
        },
    ),
    *_yolo(
        "the0807", "jetson-orin-nano-8gb", "15W", 1.0,
        {
            "yolov8n": {"fp16": 7.3, "int8": 5.8},
            "yolov8s": {"fp16": 11.4, "int8": 8.2},
            "yolov8m": {"fp16": 23.6, "int8": 17.1},
        },
    ),
    *_yolo(
        "hokwangchoi", "jetson-orin-nano-8gb", "MAXN_SUPER", 0.0,
        {"yolov8n": _three(8.36, 4.43, 3.49)},
    ),
    *_yolo(
        "PragalvaXFREZ", "jetson-nano", "MAXN", 0.0,
        {"yolov8n@416": {"fp32": 33.2, "fp16": 25.6}, "yolov8n@320": {"fp16": 16.9}},
    ),
    *_yolo(
        "ultralytics' README", "t4", None, 0.0,
        {
            "yolo11n": {"fp16": 1.5},
            "yolo11s": {"fp16": 2.5},
            "yolo11m": {"fp16": 4.7},
            "yolo11l": {"fp16": 6.2},
            "yolo11x": {"fp16": 11.3},
        },
    ),
)  # fmt: skip
#: The tables whose Orins are fitted on, one model left out; YOLO in INT8 is left out of the fit.
FITTED: Final = ("MLPerf", "Ultralytics")
# What is fitted: the floor of all Orins, in clocks of the GPU.
FLOOR_CLOCKS: Final = range(4000, 14001, 250)
# Brings the activations of random weights to the size of trained ones, so that FP16 holds them.
_FACTORY: Final = """
import torch
from ultralytics.nn.tasks import DetectionModel


def make(name):
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", verbose=False).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
        if hasattr(module, "format"):
            module.export, module.format = True, "onnx"
    with torch.no_grad():
        model(torch.randn(4, 3, 640, 640))
    return model.eval().fuse(verbose=False)
"""
# No table says that it was measured with a CUDA graph.
BY_TENSORRT: Final = How(runtime="tensorrt", cuda_graph=False)
_KERNELS: Final = pydantic.TypeAdapter(tuple[Kernel, ...])


def print_plans(folder: Path) -> None:
    """Export the models, plan them for each device, and print both times.

    Args:
        folder: Where ONNX files and plans are kept; what lies there is not made again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[Published, tuple[Sequence[Kernel], Prediction]] = {}
    print(
        f"{'by':20}{'model':36}{'':6}{'device':22}{'published':>13}{'predicted':>10}  error  holds"
    )
    for one in PUBLISHED:
        device = find(one.device)
        try:
            kernels = planned(one, device, folder)
        except (EdgeattnError, ImportError) as error:
            print(f"{one.by:20}{one.model:36}{one.precision:6}{one.device:22}no plan: {error}")
            continue
        prediction = predict(kernels, device, device.at(one.power_mode), BY_TENSORRT)
        found[one] = kernels, prediction
        print(
            f"{one.by:20}{one.model:36}{one.precision:6}{one.device:22}{one.engine_ms:10.3f} ms"
            f"{prediction.end_to_end_us / 1e3:10.3f}{_error(one, prediction):7.0%}"
            f"  {'yes' if _holds(one, prediction) else 'NO'}"
        )
    print()
    for table in dict.fromkeys(one.table for one in found):
        for precisions in (("fp32", "fp16"), ("int8",)):
            rows = {
                one: prediction
                for one, (_, prediction) in found.items()
                if one.table == table and one.precision in precisions
            }
            if rows:
                print(f"{' on '.join(table)}, {', '.join(precisions)}: {_summary(rows)}")
    print()
    print_pairs(found)
    print_left_out({one: kernels for one, (kernels, _) in found.items() if is_fitted(one)})


def print_pairs(found: Mapping[Published, tuple[Sequence[Kernel], Prediction]]) -> None:
    """Print how many published ratios, of two rows of a table, lie in the predicted interval."""
    holds: dict[tuple[str, str], list[bool]] = {}
    for one, other in itertools.combinations(found, 2):
        if one.table == other.table:
            holds.setdefault(one.table, []).append(_pair_holds(one, other, found))
    for table, each in holds.items():
        print(f"{' on '.join(table)}: {sum(each)} of {len(each)} ratios of two rows hold")
    each = [one for table in holds.values() for one in table]
    print(f"all: {sum(each)} of {len(each)} hold, {statistics.mean(each):.0%}\n")


def _pair_holds(
    one: Published,
    other: Published,
    found: Mapping[Published, tuple[Sequence[Kernel], Prediction]],
) -> bool:
    kernels = [
        trace_kernels(
            LayerInformation(kernels=tuple(found[each][0]), bindings=(), form=""),
            found[each][1].kernels,
        )
        for each in (one, other)
    ]
    ours, theirs = (found[each][1] for each in (one, other))
    said = difference(
        kernels[0], ours.end_to_end_us, kernels[1], theirs.end_to_end_us, ours.shared_spread
    ).predicted90
    assert said is not None, "the spread is known"
    return said[0] <= 100 * (one.engine_ms / other.engine_ms - 1) <= said[1]


def is_fitted(one: Published) -> bool:
    """Return whether a row is fitted on."""
    is_approximate = one.by != "MLPerf" and one.precision == "int8"
    return one.by in FITTED and "orin" in one.device and not is_approximate


def print_left_out(plans: Mapping[Published, Sequence[Kernel]]) -> None:
    """Fit the floor on all models but one, and predict that one."""
    tried: dict[Published, Prediction] = {}
    for model in dict.fromkeys(one.model for one in plans):
        others = {one: kernels for one, kernels in plans.items() if one.model != model}
        clocks = min(FLOOR_CLOCKS, key=lambda clocks: _cost(others, clocks))
        own = {one: kernels for one, kernels in plans.items() if one.model == model}
        left = {one: _with_floor(one, kernels, clocks) for one, kernels in own.items()}
        tried |= left
        errors = ", ".join(f"{one.precision} {_error(one, left[one]):+.1%}" for one in left)
        print(f"{model} left out: a floor of {clocks} clocks; {errors}")
    for by in FITTED:
        rows = {one: found for one, found in tried.items() if one.by == by}
        if rows:
            print(f"{by}, left out: {_summary(rows)}")


def _cost(plans: Mapping[Published, Sequence[Kernel]], clocks: int) -> float:
    found = {one: _with_floor(one, kernels, clocks) for one, kernels in plans.items()}
    return math.fsum(math.log(1 + _error(*pair)) ** 2 for pair in found.items())


def _with_floor(one: Published, kernels: Sequence[Kernel], clocks: int) -> Prediction:
    device = find(one.device)
    device = device.model_copy(update={"kernel_floor_us": clocks / device.clock_mhz})
    return predict(kernels, device, device.at(one.power_mode), BY_TENSORRT)


def _error(one: Published, found: Prediction) -> float:
    return found.end_to_end_us / 1e3 / one.engine_ms - 1


def _holds(one: Published, found: Prediction) -> bool:
    return found.low_us <= 1e3 * one.engine_ms <= found.high_us


def _summary(rows: Mapping[Published, Prediction]) -> str:
    errors = [abs(_error(*pair)) for pair in rows.items()]
    held = sum(_holds(*pair) for pair in rows.items())
    return (
        f"mean error {statistics.mean(errors):.1%}, largest {max(errors):.1%};"
        f" {held} of {len(rows)} intervals hold"
    )


def planned(one: Published, device: DeviceProfile, folder: Path) -> Sequence[Kernel]:
    """Plan a model for the architecture that is nearest to the device's."""
    assert device.compute_capability is not None, "it is a GPU"
    # Turing's plans are the only ones of before Ampere, and write depthwise convolution otherwise.
    of_ampere = sorted(one for one in TENSORRT_RTX if one >= (8, 6))
    capability = nearest_architecture(max(device.compute_capability, (8, 6)), of_ampere)
    precision = "fp32" if one.precision == "fp32" else "fp16"
    name = one.model.rpartition(":")[2]
    kept = folder / f"{name}.{precision}.sm{capability[0]}{capability[1]}.json"
    if not kept.exists():
        model = exported(one.model, precision, folder)
        kept.write_bytes(_KERNELS.dump_json(plan(model, compute_capability=capability)))
    kernels = _KERNELS.validate_json(kept.read_bytes())
    return [in_int8(kernel) for kernel in kernels] if one.precision == "int8" else kernels


def exported(model: str, precision: str, folder: Path) -> Path:
    """Export a model as its author wrote it, unless it is there; FP16 is all of it in FP16."""
    framework, _, name = model.rpartition(":")
    path = folder / f"{name}.{precision}.onnx"
    if path.exists():
        return path
    edgeattn = str(Path(sys.executable).parent / "edgeattn")
    if precision == "fp16":
        whole = str(exported(model, "fp32", folder))
        options = ["--precision", "fp16", "--min-sqnr", "0", "-q", "-o", str(path)]
        subprocess.run([edgeattn, "cast", whole, *options], check=True)
        return path
    options = []
    if framework == "ultralytics":
        if importlib.util.find_spec(framework) is None:
            raise ImportError("ultralytics is not installed")
        factory, (yolo, _, size) = folder / "yolo.py", name.partition("@")
        factory.write_text(f"{_FACTORY}\n\ndef model():\n    return make({yolo!r})\n")
        shape = "x".join(["1x3", *[size or "640"] * 2])
        model, options = f"{factory}:model", ["--shape", shape, "--no-lower"]
    subprocess.run([edgeattn, "export", model, *options, "-q", "-o", str(path)], check=True)
    return path


def in_int8(kernel: Kernel) -> Kernel:
    """Return a kernel in INT8, if it is a product or lies between two."""
    if kind_of(kernel) in {"shuffle", "reduction"}:
        return kernel

    def cast(tensors: Sequence[KernelTensor]) -> tuple[KernelTensor, ...]:
        return tuple(replace(one, dtype="int8") if one.dtype == "fp16" else one for one in tensors)

    return replace(
        kernel,
        inputs=cast(kernel.inputs),
        constants=cast(kernel.constants),
        outputs=cast(kernel.outputs),
    )
