"""What lowering may be asked: its targets, each in one `TargetSpec`, and its rules."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, cast

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.base.versions import numbers

if TYPE_CHECKING:
    from edgeattn.lowering.targets.writer import Writer

MAP_OUTPUT: Final = "map-output"
DLA: Final = "dla"
RULES: Final[Mapping[str, str]] = {
    "affine-grid": "affine grids of a constant size, as one product of matrices",
    "linear-map": "averages and sums of rows and columns, however written, as constant products",
    "joined-lines": "layers over lines of a map that are joined and parted, as layers on each",
    "perceptron": "layers over the channels of each position, between transposes, as convolutions",
    "static-shapes": "target shapes that the graph computes, as constants",
    "global-mean": "means and maxima over the map or the channels, however they are written",
    "moments": "normalisations of one channel, as means and variances",
    "spatial-softmax": "softmax over the map, with the reshapes around it",
    "grouped-branches": "the same computation on each part of the channels, as one",
    "permuted-branch": "convolutions over planes of channels and rows, or columns, in any layout",
    "channel-shuffle": "reshapes, transposes and parts, as the order of indices",
    "hard-activation": "hard sigmoid and hard swish written with clip, relu6, max and min",
    "linear": "layers on what has no positions, as 1x1 convolutions",
    "spatial-pool": "pools that keep the map's size, between the others",
    "channel-permutation": "orders of channels, folded into weights or written as one Gather",
    "gate": "elementwise operators, between the others",
    "flat-layer": "layers on flattened maps, as convolutions, for a DLA",
    MAP_OUTPUT: "outputs (N, C) as maps (N, C, 1, 1), for a DLA, which has no last Reshape",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """All that a target of lowering is.

    Attributes:
        title: The runtime that it stands for, as it is written.
        runtime: The runtime, by its name; "" where it is for any.
        writer_path: The class that writes terms for it, which lists its forms: module and name.
        measured_by: What `--tune` compares: the engine's `plan`, or the `latency` on this machine.
        dissolves_wires: Whether Concat and Split beside a channel permutation are taken apart.
        takes_summed_grids: Whether an affine grid that is written as a sum becomes a product.
        takes_int32_biases: Whether a quantised layer may have an int32 bias with a scale.
        simplified_without: Passes of onnxsim that cost it more than they gain.
        rules: The rules that are used by default.
    """

    title: str
    runtime: Literal["tensorrt", "onnxruntime", "openvino", ""]
    writer_path: str
    measured_by: Literal["plan", "latency"]
    dissolves_wires: bool
    takes_summed_grids: bool
    takes_int32_biases: bool
    simplified_without: AbstractSet[str] = frozenset()
    rules: AbstractSet[str] = frozenset(RULES)

    @property
    def writer(self) -> type[Writer]:
        """The class that writes terms for it; loading it takes numpy and onnx_ir."""
        return cast("type[Writer]", pkgutil.resolve_name(self.writer_path))


# Products of rows and their biases become a Gemm between two Reshapes, which keep what follows from
# being fused: a text recogniser's plan (PP-OCRv6) has 3 kernels more.
_WITHOUT: Final = frozenset({"fuse_matmul_add_bias_into_gemm_batched"})

TARGETS: Final[Mapping[str, TargetSpec]] = {
    "tensorrt": TargetSpec(
        title="TensorRT",
        runtime="tensorrt",
        writer_path="edgeattn.lowering.targets.tensorrt:TensorRTWriter",
        measured_by="plan",
        dissolves_wires=False,
        takes_summed_grids=False,
        takes_int32_biases=False,
        simplified_without=_WITHOUT,
    ),
    "onnxruntime": TargetSpec(
        title="ONNX Runtime on a CPU",
        runtime="onnxruntime",
        writer_path="edgeattn.lowering.targets.onnxruntime:ONNXRuntimeWriter",
        measured_by="latency",
        dissolves_wires=True,
        takes_summed_grids=True,
        takes_int32_biases=True,
    ),
    "openvino": TargetSpec(
        title="OpenVINO on a CPU",
        runtime="openvino",
        writer_path="edgeattn.lowering.targets.openvino:OpenVINOWriter",
        measured_by="latency",
        dissolves_wires=True,
        takes_summed_grids=True,
        takes_int32_biases=True,
    ),
    "portable": TargetSpec(
        title="any runtime",
        runtime="",
        writer_path="edgeattn.lowering.targets.portable:PortableWriter",
        measured_by="latency",
        dissolves_wires=False,
        takes_summed_grids=False,
        takes_int32_biases=False,
        simplified_without=_WITHOUT,
    ),
    DLA: TargetSpec(
        title="a DLA of a Jetson",
        runtime="",
        writer_path="edgeattn.lowering.targets.dla:DLAWriter",
        measured_by="plan",
        dissolves_wires=False,
        takes_summed_grids=False,
        takes_int32_biases=False,
        simplified_without=_WITHOUT,
        rules=frozenset(RULES) - {"affine-grid", "linear-map"},  # products, which it has not
    ),
}


#: From this version on, TensorRT is taken to fuse as plans of TensorRT-RTX do, on which the forms
#: were picked. TensorRT-RTX came out beside 10.12 (June 2025), with the compiler that generates a
#: kernel for elementwise operators, slices and reductions alike. TensorRT 8 and the first of 10
#: fuse by the patterns that NVIDIA lists. Where between 10.3 and 10.16, which JetPacks have, such
#: graphs begin to be built otherwise, nobody measured.
RTX_GENERATION: Final = (10, 12)
_FIRST: Final = 8
_LAST: Final = 19  # none is there yet: what is above is a slip, such as 85


def is_rtx_generation(tensorrt: str | None) -> bool:
    """Return whether a version of TensorRT, or any if None, fuses as TensorRT-RTX does."""
    return tensorrt is None or numbers(tensorrt) >= RTX_GENERATION


def spec_of(target: str, tensorrt: str | None = None) -> TargetSpec:
    """Return what a target is for a version of its runtime.

    Args:
        target: The target.
        tensorrt: The version of TensorRT; None for any of TensorRT-RTX's generation.
    """
    spec = TARGETS[target]
    if target != "tensorrt" or is_rtx_generation(tensorrt):
        return spec
    path = "edgeattn.lowering.targets.documented:DocumentedWriter"
    return replace(spec, writer_path=path)


def check_version(target: str, tensorrt: str) -> None:
    """Refuse what is no version of TensorRT, or one of another target's.

    Raises:
        InputError: Says what is.
    """
    if target not in ("tensorrt", "dla"):  # a DLA is reached by it
        raise InputError(
            f"--tensorrt {tensorrt} is a version of TensorRT, and the target is {target}.",
            mend="Leave --tensorrt out, or add --target tensorrt.",
        )
    found = numbers(tensorrt)
    if not re.fullmatch(r"\d+(\.\d+)*", tensorrt) or not _FIRST <= found[0] <= _LAST:
        raise InputError(
            f"--tensorrt {tensorrt!r} is no version of TensorRT from {_FIRST}.0 on.",
            mend="For example: --tensorrt 8.5",
        )


def check(target: str, rules: Iterable[str] | None) -> None:
    """Refuse a target or a rule that there is not.

    Raises:
        InputError: Names the nearest ones that there are.
    """
    if target not in TARGETS:
        raise InputError(
            f"There is no target {target!r}; there are {', '.join(TARGETS)}.",
            mend=did_you_mean(nearest(target, TARGETS, count=1)),
        )
    for rule in rules or ():
        if rule not in RULES:
            offered = did_you_mean(nearest(rule, RULES))
            raise InputError(
                f"There is no rule {rule!r}.",
                mend=" ".join(filter(None, [offered, "See: edgeattn list rules"])),
            )
