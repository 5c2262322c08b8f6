"""Layer information: what each kernel of a TensorRT engine reads, writes and came from.

TensorRT-RTX prints it at the end of its build log, in one message that starts with `Layers:`: a
line for each kernel, with the tensors' names, dimensions, strides and types, and the ONNX nodes
that the kernel stands for, U+001F between them. `signal` and `wait` are synchronisation between
streams, not work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgeattn.errors import InputError

_BITS: Final = {
    "Float": 32, "Half": 16, "BFloat16": 16, "Int8": 8, "UInt8": 8, "FP8": 8, "FP4": 4, "INT4": 4,
    "Int4": 4, "Int32": 32, "Int64": 64, "Bool": 8,
}  # fmt: skip
_SYNCHRONISATION: Final = frozenset({"signal", "wait"})
_JUMPS: Final = frozenset({"jmp", "cjmp"})
# The parts of a line, each matched where the one before it ended: a name may hold anything.
_NAME: Final = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[", re.DOTALL)
_TENSOR: Final = re.compile(
    r",? \{ Name: (?P<name>.*?), Dimensions: \[(?P<dimensions>[-\d,]*)\],"
    r" Strides: \[(?P<strides>[-\d,]*)\], StrideOrder: \[[-\d,]*\],"
    r" Datatype: (?P<dtype>\w+), Format: (?P<format>[^{}]*?) \}(?=\]|, \{ Name: )",
    re.DOTALL,
)
_CONSTANTS: Final = re.compile(r"\], Constants: \[")
_OUTPUTS: Final = re.compile(r"\], Outputs: \[")
_REST: Final = re.compile(
    r"\], TacticName: (?P<tactic>.*?), StreamId: (?P<stream>\d+)(?:, EventId: \d+)?"
    r", Metadata: (?P<metadata>.*)\Z",
    re.DOTALL,
)
# A node that TensorRT turned into another says so behind it: `[ONNX Layer: a]__gemm_from_conv1x1`.
_NODES: Final = re.compile(r"\[ONNX Layer: (?P<names>.*)\](?:__\w+)?", re.DOTALL)
_BETWEEN_NODES: Final = re.compile(r"\](?:__\w+)?[\x1e\x1f]\[ONNX Layer: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTensor:
    """A tensor that a kernel reads or writes.

    Attributes:
        name: TensorRT's name for it, which often holds that of the ONNX value.
        shape: Its dimensions.
        strides: Its strides, in elements.
        dtype: TensorRT's name of the element type: Float, Half, Int8 and so on.
        layout: TensorRT's name of the layout.
        traffic_bytes: What one pass over it moves.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    layout: str
    traffic_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One launch.

    Attributes:
        name: Its name in the engine.
        kind: TensorRT's kind: correlation, kgen, gemm, maxpool and so on.
        inputs: What it reads.
        constants: The weights that it reads.
        outputs: What it writes.
        tactic: The tactic, where TensorRT says.
        stream: The stream that it runs on.
        nodes: The ONNX nodes that it came from; none for most layout copies.
    """

    name: str
    kind: str
    inputs: tuple[KernelTensor, ...]
    constants: tuple[KernelTensor, ...]
    outputs: tuple[KernelTensor, ...]
    tactic: str
    stream: int
    nodes: tuple[str, ...]

    @property
    def traffic_bytes(self) -> int:
        """Bytes that it moves: each input, constant and output once."""
        return sum(t.traffic_bytes for t in (*self.inputs, *self.constants, *self.outputs))

    @property
    def is_work(self) -> bool:
        """Whether it is more than synchronisation."""
        return self.kind not in _SYNCHRONISATION


def read_log(message: str) -> tuple[Kernel, ...]:
    """Reads the build log's message that starts with `Layers:`.

    Args:
        message: The whole message.

    Returns:
        The kernels, in the order of the engine, synchronisation left out.

    Raises:
        InputError: It is no such message, it lists nothing, or a line cannot be read, branches, or
            has a dimension that is not static: names the line.
    """
    heading, _, rest = message.partition("\n")
    listed = f"\n{rest}".partition("\n\nI/O Tensors:")[0].strip("\n")
    if heading != "Layers:" or not listed:
        raise InputError(
            "The build log holds no layer information.",
            mend="Build with ProfilingVerbosity.DETAILED, and keep the VERBOSE messages.",
        )
    kernels = [_kernel(line) for line in re.split(r"\n(?=Name: )", listed)]
    return tuple(kernel for kernel in kernels if kernel.is_work)


def traffic_bytes(kernels: Iterable[Kernel]) -> int:
    """Gives the bytes that all kernels move."""
    return sum(kernel.traffic_bytes for kernel in kernels)


def _kernel(line: str) -> Kernel:
    name = _matched(_NAME, line, 0)
    if name["kind"] in _JUMPS:
        raise InputError(
            f"The engine branches, so which of its kernels run is not known, at:\n  {line}",
            mend="Give a model without If and Loop.",
        )
    inputs, end = _tensors(line, name.end())
    constants, end = _tensors(line, _matched(_CONSTANTS, line, end).end())
    outputs, end = _tensors(line, _matched(_OUTPUTS, line, end).end())
    rest = _matched(_REST, line, end)
    return Kernel(
        name=name["name"],
        kind=name["kind"],
        inputs=inputs,
        constants=constants,
        outputs=outputs,
        tactic=rest["tactic"],
        stream=int(rest["stream"]),
        nodes=_nodes(rest["metadata"], line),
    )


def _matched(part: re.Pattern[str], line: str, start: int) -> re.Match[str]:
    found = part.match(line, start)
    if found is None:
        raise _unreadable(line)
    return found


def _tensors(line: str, start: int) -> tuple[tuple[KernelTensor, ...], int]:
    """Reads tensors up to the bracket that ends their list; gives them, and where it stands."""
    tensors: list[KernelTensor] = []
    while (found := _TENSOR.match(line, start)) is not None:
        tensors.append(_tensor(found, line))
        start = found.end()
    return tuple(tensors), start


def _tensor(found: re.Match[str], line: str) -> KernelTensor:
    shape, strides = _integers(found["dimensions"]), _integers(found["strides"])
    if any(size < 0 for size in shape):
        raise InputError(
            f"Tensor {found['name']} has a dimension that is not static, in:\n  {line}",
            mend="Build the engine for one fixed shape.",
        )
    bits = _BITS.get(found["dtype"])
    if bits is None:
        raise _unreadable(line)
    return KernelTensor(
        name=found["name"],
        shape=shape,
        strides=strides,
        dtype=found["dtype"],
        layout=found["format"],
        traffic_bytes=math.ceil(math.prod(shape) * bits / 8),
    )


def _nodes(metadata: str, line: str) -> tuple[str, ...]:
    if not metadata:
        return ()
    found = _NODES.fullmatch(metadata)
    if found is None:
        raise _unreadable(line)
    return tuple(_BETWEEN_NODES.split(found["names"]))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _unreadable(line: str) -> InputError:
    return InputError(
        f"This line of the layer information cannot be read:\n  {line}",
        mend="Please report it, with the version of TensorRT that wrote it.",
    )
