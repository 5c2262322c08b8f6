"""Layer information: what each kernel of a TensorRT engine reads, writes and came from.

Whatever form TensorRT writes it in, `engine.layers` reads it into these records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field

from edgeattn.base.errors import InputError

Shape = tuple[int, ...]

#: Bits of an element, by our names of the types.
BITS: Final = {
    "fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "e8m0": 8, "fp4": 4,
    "int64": 64, "int32": 32, "int8": 8, "uint8": 8, "int4": 4, "bool": 8,
}  # fmt: skip
# What a manifest may say.
_Dtype = Annotated[str, Field(pattern=f"^({'|'.join(BITS)}|)$")]
# TensorRT's other names, in lower case.
_NAMES: Final = {"float": "fp32", "half": "fp16", "bfloat16": "bf16", "float8": "fp8"}
# Types of numbers that a network computes in, widest first; whole numbers besides are indices.
_WIDTHS: Final = ("fp32", "bf16", "fp16", "fp8", "int8", "uint8", "fp4", "int4")
_FLOATS: Final = frozenset({"fp32", "bf16", "fp16", "fp8", "fp4"})
# Synchronisation, sizes on the host, and what TensorRT lists though nothing runs: the profile of
# every engine that NVIDIA published gives a NoOp 0 ms.
_NO_WORK: Final = frozenset(
    {"signal", "wait", "shape_call", "ShapeHostToDevice", "DeviceToShapeHost", "TrainStation",
     "NoOp"}
)  # fmt: skip
_SIZES: Final = frozenset({"int32", "int64", "bool"})
_LARGEST_SHAPE: Final = 16
_PRODUCT: Final = re.compile(r"conv|correlation|gemm|mat_?mul|matrix|fully", re.IGNORECASE)
_MYELIN_STEPS: Final = re.compile(r"__myl_((?:[A-Z][a-z0-9]*)+)")
_CASTING: Final = frozenset({"Cast", "Move", "Tran", "Resh"})


def dtype_of(name: str) -> str:
    """Return our name of a TensorRT element type, or "" if the name is unknown."""
    lower = name.lower()
    known = _NAMES.get(lower, lower)
    return known if known in BITS else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTensor:
    """A tensor that a kernel reads or writes.

    Attributes:
        name: TensorRT's name for it, which often holds that of the ONNX value.
        shape: Its dimensions; -1 where the optimisation profile leaves one open.
        strides: Its strides, in elements; empty if TensorRT does not give them.
        dtype: The element type: fp32, fp16, bf16, fp8, fp4, int8, uint8, int4, int32, int64, bool;
            empty if TensorRT does not give it, as may happen with open shapes.
        layout: TensorRT's name of the layout.
    """

    name: str
    shape: Shape
    strides: Shape
    dtype: _Dtype
    layout: str

    @property
    def is_open(self) -> bool:
        """Whether a dimension is not known."""
        return any(size < 0 for size in self.shape)

    @property
    def elements(self) -> int:
        """Its elements, without what a layout pads.

        Raises:
            InputError: A dimension is not known.
        """
        if self.is_open:
            raise InputError(
                f"Tensor {self.name} has open dimensions: {list(self.shape)}.",
                mend="Say the shapes of the inputs that the engine is looked at for.",
            )
        return math.prod(self.shape)

    @property
    def traffic_bytes(self) -> int:
        """Bytes that one pass over it moves, without what a layout pads.

        Raises:
            InputError: A dimension or the type is not known.
        """
        if not self.dtype:
            raise InputError(
                f"TensorRT does not say what type tensor {self.name} has.",
                mend="It says so for an execution context with its shapes set: write the layer"
                " information with trtexec --loadEngine=... --shapes=...",
            )
        return math.ceil(self.elements * BITS[self.dtype] / 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One launch.

    Attributes:
        name: Its name in the engine.
        kind: TensorRT's kind: correlation, kgen, gemm, CaskConvolution and so on.
        inputs: What it reads.
        constants: The weights that it reads.
        outputs: What it writes.
        tactic: The tactic, or "" if TensorRT does not give it.
        stream: The stream that it runs on.
        nodes: The ONNX nodes that it came from; empty for most layout copies. For a region that
            TensorRT 8 names by its ends, the ends.
        profile: The optimisation profile that it runs for: an engine holds kernels for each.
    """

    name: str
    kind: str
    inputs: tuple[KernelTensor, ...]
    constants: tuple[KernelTensor, ...]
    outputs: tuple[KernelTensor, ...]
    tactic: str
    stream: int
    nodes: tuple[str, ...]
    profile: int = 0

    @property
    def activations(self) -> tuple[KernelTensor, ...]:
        """What it reads and writes, weights left out."""
        return (*self.inputs, *self.outputs)

    @property
    def tensors(self) -> tuple[KernelTensor, ...]:
        """Its inputs, constants and outputs."""
        return (*self.inputs, *self.constants, *self.outputs)

    @property
    def traffic_bytes(self) -> int:
        """Bytes that it moves: each input, constant and output once."""
        return sum(tensor.traffic_bytes for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights that it reads."""
        return sum(constant.traffic_bytes for constant in self.constants)

    @property
    def is_work(self) -> bool:
        """Whether it is more than synchronisation, or arithmetic on sizes done on the host."""
        if self.kind in _NO_WORK:
            return False
        return bool(self.tactic) or any(
            one.is_open or one.elements > _LARGEST_SHAPE or one.dtype not in _SIZES
            for one in self.tensors
        )

    @property
    def precision(self) -> str:
        """What it computes in: fp32, fp16, bf16, fp8, int8 and so on; empty if only on indices.

        A product with weights (convolution, gemm): int8 or fp8 when it reads activations of such
        a type, the type of its weights when they are floats, and otherwise (weights that are
        quantised alone) that of its activations. A cast, which computes nothing: the narrower of
        its two types. Any other: the widest among its activations, so that one tensor of fp32 makes
        it fp32. Constants beside the weights, such as a scale, do not count.
        """
        return _precision(self, self.activations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """An input or output of the engine.

    Attributes:
        name: Its name.
        is_input: Whether it is an input.
        dtype: The element type, as in `KernelTensor`; empty if it is not given.
        shape: Its dimensions, -1 where open; empty if they are not given.
        profiles: The smallest, optimal and largest shape of each optimisation profile; empty for an
            output, or if they are not given.
    """

    name: str
    is_input: bool
    dtype: _Dtype
    shape: Shape
    profiles: tuple[tuple[Shape, Shape, Shape], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInformation:
    """The layer information of an engine.

    Attributes:
        kernels: The kernels, in the order of the engine; synchronisation is left out.
        bindings: The engine's inputs and outputs.
        form: The form that it was read from: log or json.
    """

    kernels: tuple[Kernel, ...]
    bindings: tuple[Binding, ...]
    form: str

    @property
    def profiles(self) -> tuple[int, ...]:
        """The optimisation profiles that there are kernels for; the first, if there are none."""
        return tuple(sorted({kernel.profile for kernel in self.kernels})) or (0,)

    @property
    def is_open(self) -> bool:
        """Whether a dimension of a kernel's tensors is not known."""
        return any(one.is_open for kernel in self.kernels for one in kernel.tensors)

    @property
    def traffic_bytes(self) -> int:
        """Bytes that all kernels move: for an engine of several profiles, pick one first."""
        return traffic_bytes(self.kernels)

    def of_profile(self, index: int) -> LayerInformation:
        """Return the kernels that run for one optimisation profile.

        Raises:
            InputError: There is no such profile.
        """
        if index not in self.profiles:
            raise InputError(
                f"The engine has no optimisation profile {index}.",
                mend=f"It has {', '.join(map(str, self.profiles))}.",
            )
        kernels = tuple(kernel for kernel in self.kernels if kernel.profile == index)
        return replace(self, kernels=kernels)

    def precision(self, kernel: Kernel) -> str:
        """Return what a kernel computes in, as `Kernel.precision` does, in its network.

        The network's own inputs and outputs have the types that the caller wanted, and a cast is
        fused into the kernels that read or write them: they count only if it handles nothing else.
        """
        own = {binding.name for binding in self.bindings}
        inner = tuple(one for one in kernel.activations if one.name not in own)
        return _precision(kernel, inner) or kernel.precision


def traffic_bytes(kernels: Iterable[Kernel]) -> int:
    """Return the bytes that all kernels move."""
    return sum(kernel.traffic_bytes for kernel in kernels)


def _precision(kernel: Kernel, activations: tuple[KernelTensor, ...]) -> str:
    types = [one.dtype for one in activations if one.dtype in _WIDTHS]
    if _PRODUCT.search(kernel.kind):
        read = {one.dtype for one in kernel.inputs}
        weights = max(kernel.constants, key=_size, default=None)
        if weights is not None and _size(weights) > 1:
            if quantised := read & {"int8", "uint8", "fp8", "fp4"}:
                return min(quantised, key=_WIDTHS.index)
            if weights.dtype in _FLOATS and weights.dtype != "fp4":
                return weights.dtype
    if _is_cast(kernel):
        types = [one.dtype for one in kernel.activations if one.dtype in _WIDTHS]
        return max(types, key=_WIDTHS.index, default="")
    return min(types, key=_WIDTHS.index, default="")


def _size(tensor: KernelTensor) -> int:
    return math.prod(tensor.shape)


def _is_cast(kernel: Kernel) -> bool:
    if len(kernel.inputs) != 1 or len(kernel.outputs) != 1:
        return False
    if kernel.kind.lower() in {"reformat", "cast"}:
        return True
    steps = steps_of(kernel.name)
    return bool(steps) and steps <= _CASTING


def steps_of(name: str) -> frozenset[str]:
    """Return the steps that Myelin gives in a kernel's name: `__myl_TranMeanSubMul_myl0_6`."""
    found = _MYELIN_STEPS.match(name)
    return frozenset(re.findall(r"[A-Z][a-z0-9]*", found[1])) if found else frozenset()
