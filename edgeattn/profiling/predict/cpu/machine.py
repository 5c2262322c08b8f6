"""A CPU as its kernels see it: what a core computes and moves, and what it costs to share work.

What a device file does not say is a guess: what ONNX Runtime's kernels reach on one processor, a
Zen 3 with AVX2, as parts of its peak and of its cache's bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.devices.efficiency import Efficiency
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.records.kinds import Kind
from edgeattn.records.work import Layer

#: Guesses for what a file does not say, by class of layer: a part of the peak, over that of dense
#: convolutions.
LAYERS: Final[Mapping[Layer, float]] = {
    "dense": 1.0,
    "pointwise": 0.9,
    "stem": 0.75,
    "grouped": 0.8,
    "depthwise": 0.33,
    "plain": 0.5,
    "plain-depthwise": 0.06,
    "product": 0.8,
}
#: The same: what the ends of a run cost, in places of it.
ENDS: Final[Mapping[Layer, float]] = {
    "dense": 2.5,
    "grouped": 2.5,
    "depthwise": 6,
    "plain-depthwise": 400,
}
#: The same: parts of the bandwidth of the last cache, for all cores where they share the work.
OPERATORS: Final[Mapping[str, float]] = {
    "Add": 0.5,
    "AveragePool": 1.0,
    "BatchNormalization": 0.5,
    "Clip": 0.5,
    "Concat": 0.6,
    "Div": 0.55,
    "Erf": 0.16,
    "Exp": 0.3,
    "Expand": 0.45,
    "Gather": 0.6,
    "Gelu": 0.1,
    "Gemm": 0.3,
    "GlobalAveragePool": 0.35,
    "HardSigmoid": 0.5,
    "InstanceNormalization": 0.3,
    "LayerNormalization": 0.12,
    "MaxPool": 1.0,
    "MaxPool-strided": 0.8,
    "Mul-broadcast": 0.5,
    "Pad": 0.2,
    "Pow": 0.2,
    "QuickGelu": 0.2,
    "ReduceMax": 0.45,
    "ReduceMax-strided": 0.09,
    "ReduceMean": 0.45,
    "ReduceMean-strided": 0.08,
    "ReduceSumSquare": 0.08,
    "Relu": 0.5,
    "ReorderInput": 0.37,
    "ReorderOutput": 0.33,
    "ReorderOutput-strided": 0.2,
    "Sigmoid": 0.33,
    "Slice": 0.8,
    "Softmax": 0.2,
    "Softmax-strided": 0.012,
    "Softplus": 0.01,
    "Split": 0.56,
    "Sqrt": 0.35,
    "Tanh": 0.35,
    "Transpose": 0.42,
    "Upsample": 0.25,
}
#: The operators whose loops are like that of another, which stands for them.
_ALIKE: Final[Mapping[str, str]] = {
    "Relu": "Abs Neg Floor Ceil Not LeakyRelu PRelu ThresholdedRelu",
    "Add": "Mul Sub Sum Max Min Mean And Or Equal Greater Less Where Cast",
    "Mul-broadcast": (
        "Add-broadcast Sub-broadcast Div-broadcast Pow-broadcast Max-broadcast Min-broadcast"
        " Mean-broadcast Sum-broadcast Where-broadcast"
    ),
    "Exp": "Elu Selu Celu Mish Softsign Log",
    "Gelu": "BiasGelu FastGelu",
    "HardSigmoid": "HardSwish",
    "QuickGelu": "Swish",
    "Div": "Reciprocal",
    "ReduceMean": "ReduceSum ReduceL1 GlobalLpPool",
    "ReduceMax": "ReduceMin",
    "ReduceSumSquare": "ReduceL2",
    "ReduceMean-strided": (
        "ReduceSum-strided ReduceL1-strided ReduceL2-strided ReduceSumSquare-strided"
    ),
    "ReduceMax-strided": "ReduceMin-strided ArgMax",
    "GlobalAveragePool": "GlobalMaxPool",
    "Softmax": "LogSoftmax",
    "Softmax-strided": "LogSoftmax-strided",
    "LayerNormalization": (
        "SkipLayerNormalization SimplifiedLayerNormalization RMSNormalization LpNormalization"
    ),
    "InstanceNormalization": "GroupNorm MeanVarianceNormalization",
    "Transpose": "DepthToSpace SpaceToDepth",
    "Gather": "GatherElements GatherND ScatterND",
    "Upsample": "Resize",
    "Expand": "Tile",
}
_STANDS_FOR: Final = {name: one for one, names in _ALIKE.items() for name in names.split()}
# Of a file that does not say it: bytes that a core moves per clock while its cache holds them, and
# what it takes to wake another.
_CACHE_BYTES: Final = 12
_WAKE_US: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMachine:
    """A CPU with some of its cores at work.

    Attributes:
        threads: Cores at work.
        core_gflops: Peak of one, by precision.
        core_gbps: What one moves while the cache holds it.
        memory_gbps: What all move, of memory.
        cache_bytes: The last cache.
        cache_holds_us: How long it holds what nobody touches; None for as long as there is room.
        floor_us: What the smallest kernel adds.
        wake_us: What waking the others adds to a kernel that all share.
        efficiency: What kernels reach of these.
    """

    threads: int
    core_gflops: Mapping[str, float]
    core_gbps: float
    memory_gbps: float
    cache_bytes: float
    cache_holds_us: float | None
    floor_us: float
    wake_us: float
    efficiency: Efficiency

    def layer_gflops(self, layer: Layer, precision: str) -> float:
        """Return what one core computes of a class of layers, where each run is long."""
        said = self.efficiency
        part = said.layers.get(layer)
        if part is None and layer == "depthwise":
            part = said.depthwise
        if part is None:
            part = said.compute * LAYERS[layer]
        return part * self.core_gflops.get(precision, self.core_gflops["fp32"])

    def ends(self, layer: Layer) -> float:
        """Return what the ends of each run cost, in places."""
        return self.efficiency.ends.get(layer, ENDS.get(layer, 0.0))

    def operator_gbps(self, operator: str, kind: Kind) -> float:
        """Return what one core moves by an operator."""
        known = {**OPERATORS, **self.efficiency.operators}
        name = _known(operator)
        part = self.efficiency.of_bandwidth(kind) if name is None else known[name]
        return part * self.core_gbps


def is_known(operator: str) -> bool:
    """Return whether there is a rate of an operator, or of one like it."""
    return _known(operator) is not None


def _known(operator: str) -> str | None:
    """Return the operator whose rate stands for this one's."""
    names = (operator, _STANDS_FOR.get(operator, ""), operator.partition("-")[0])
    return next((name for name in names if name in OPERATORS), None)


def machine_of(device: DeviceProfile, point: OperatingPoint, threads: int | None) -> CpuMachine:
    """Return a CPU with some of its cores at work.

    Args:
        device: The CPU.
        point: Its operating point.
        threads: Cores at work; None for all that its file tells of.

    Raises:
        InputError: There are not so many.
    """
    cores = device.cores or 1
    if threads is not None and threads > cores:
        raise InputError(
            f"The figures of {device.title} are of {cores} thread{'s' if cores > 1 else ''}, and"
            f" --threads asks for {threads}.",
            mend=f"Ask for at most {cores}; or measure them on that machine: edgeattn devices"
            f" calibrate --threads {threads} -o mine.toml",
        )
    return CpuMachine(
        threads=threads or cores,
        core_gflops={name: 1e3 * peak / cores for name, peak in point.peak_tflops.items()},
        core_gbps=(
            device.last_level_gbps / cores
            if device.last_level_gbps is not None
            else _CACHE_BYTES * point.clock_mhz / 1e3
        ),
        memory_gbps=point.bandwidth_gbps * device.efficiency.bandwidth["other"],
        cache_bytes=1024.0 * device.last_level_cache_kib,
        cache_holds_us=device.last_level_holds_us,
        floor_us=point.kernel_floor_us,
        wake_us=device.wake_us or _WAKE_US,
        efficiency=device.efficiency,
    )
