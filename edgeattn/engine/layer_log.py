"""Reads layer information from the build log of TensorRT-RTX.

The message starts with `Layers:` and has a line for each kernel: the tensors' names, dimensions,
strides and types, and the ONNX nodes that the kernel stands for, U+001E or U+001F between them.
`I/O Tensors:` follows, with the shapes of each optimisation profile.
"""

from __future__ import annotations

import re
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_names import metadata_nodes
from edgeattn.engine.layer_profiles import assigned
from edgeattn.records.layers import Binding, Kernel, KernelTensor, LayerInformation, Shape, dtype_of

_HEADING: Final = re.compile(r"^(?:\[[^\]\n]*\] )*Layers:\n", re.MULTILINE)
_BINDINGS: Final = "\n\nI/O Tensors:\n"
_END: Final = re.compile(r"\n\n|\n(?! )")
_JUMPS: Final = frozenset({"jmp", "cjmp"})
# The parts of a line, each matched where the one before it ended: a name may hold anything.
_NAME: Final = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[", re.DOTALL)
_TENSOR: Final = re.compile(
    r",? \{ Name: (?P<name>.*?),(?: Location: \w+,)? Dimensions: \[(?P<dimensions>[-\d,]*)\],"
    r"(?: Strides: \[(?P<strides>[-\d,]*)\], StrideOrder: \[[-\d,]*\],)?"
    r" Datatype: (?P<dtype>\w+), Format: (?P<format>[^{}]*?) \}(?=\]|, \{ Name: )",
    re.DOTALL,
)
_CONSTANTS: Final = re.compile(r"\], Constants: \[")
_OUTPUTS: Final = re.compile(r"\], Outputs: \[")
_REST: Final = re.compile(
    r"\](?:, ParameterType: Shape\w+(?:, shapeValues\d+: \[[-\d, ]*\])*)?"
    r", Tactic(?:Name|Value): (?P<tactic>.*?), StreamId: (?P<stream>\d+)"
    r"(?:, EventId: \d+)?, Metadata: (?P<metadata>.*)\Z",
    re.DOTALL,
)
_BINDING: Final = re.compile(
    r"Name: (?P<name>.*?), IOMode: (?P<mode>Input|Output), DataType: (?P<dtype>\w+),"
    r" Dimensions: \[(?P<dimensions>[-\d,]*)\](?:, Location: \w+)?"
    r"(?:, IsShapeInferenceIO: \w+)?(?:, ProfileInfo: \[(?P<profiles>.*)\])?",
    re.DOTALL,
)
_PROFILE: Final = re.compile(
    r"MinShape: \[([-\d,]*)\], OptShape: \[([-\d,]*)\], MaxShape: \[([-\d,]*)\]"
)
_MEMORY: Final = re.compile(r"Total (Activation|Weights) Memory: (\d+)")


def read_log(text: str) -> LayerInformation:
    """Read the layer information of a build log.

    Args:
        text: The message that starts with `Layers:`, or a whole log, whose messages may have
            severities before them, such as `[V] `.

    Returns:
        Kernels and bindings.

    Raises:
        InputError: It holds no layer information, or that of several engines, or a part of it, or a
            line that cannot be read or branches: names the line.
    """
    found = list(_HEADING.finditer(text))
    if len(found) > 1:
        raise InputError(
            f"The log holds the layer information of {len(found)} engines.",
            mend="Give the log of one build.",
        )
    listed, separator, rest = text[found[0].end() :].partition(_BINDINGS) if found else ("", "", "")
    # Without a kernel the blank line that ends the list comes first.
    if not found or (not separator and f"\n{listed}".startswith(_BINDINGS)):
        raise _missing()
    if not separator:
        raise InputError(
            "The log ends within the layer information.",
            mend="Build again, and keep the whole log.",
        )
    kernels = [_kernel(line) for line in re.split(r"\n(?=Name: )", listed)]
    end = _END.search(rest)
    bindings = [
        _binding(line) for line in re.split(r"\n(?= Name: )", rest[: end.start() if end else None])
    ]
    return LayerInformation(
        kernels=tuple(kernel for kernel in assigned(kernels) if kernel.is_work),
        bindings=tuple(bindings),
        form="log",
    )


def memory_bytes(text: str) -> tuple[int | None, int | None]:
    """Read the engine's device memory from a build log.

    Returns:
        That of activations, while it runs, and that of weights; None if the log does not say.
    """
    said: dict[str, int] = {}
    for what, size in _MEMORY.findall(text):
        said[what] = max(int(size), said.get(what, 0))
    return said.get("Activation"), said.get("Weights")


def _missing() -> InputError:
    return InputError(
        "The build log holds no layer information.",
        mend="Build with ProfilingVerbosity.DETAILED, and keep the VERBOSE messages.",
    )


def _kernel(line: str) -> Kernel:
    name = _matched(_NAME, line, 0)
    if name["kind"] in _JUMPS:
        raise branches(line)
    inputs, end = _tensors(line, name.end())
    constants: tuple[KernelTensor, ...] = ()
    if (found := _CONSTANTS.match(line, end)) is not None:
        constants, end = _tensors(line, found.end())
    outputs, end = _tensors(line, _matched(_OUTPUTS, line, end).end())
    rest = _matched(_REST, line, end)
    nodes = metadata_nodes(rest["metadata"])
    if nodes is None:
        raise unreadable(line)
    return Kernel(
        name=name["name"],
        kind=name["kind"],
        inputs=inputs,
        constants=constants,
        outputs=outputs,
        tactic="" if rest["tactic"].startswith("0x") else rest["tactic"],
        stream=int(rest["stream"]),
        nodes=nodes,
    )


def _matched(part: re.Pattern[str], line: str, start: int) -> re.Match[str]:
    found = part.match(line, start)
    if found is None:
        raise unreadable(line)
    return found


def _tensors(line: str, start: int) -> tuple[tuple[KernelTensor, ...], int]:
    """Read tensors up to the bracket that ends their list, and return them with its index."""
    tensors: list[KernelTensor] = []
    while (found := _TENSOR.match(line, start)) is not None:
        dtype = dtype_of(found["dtype"])
        if not dtype:
            raise unreadable(line)
        tensors.append(
            KernelTensor(
                name=found["name"],
                shape=_integers(found["dimensions"]),
                strides=_integers(found["strides"] or ""),
                dtype=dtype,
                layout=found["format"],
            )
        )
        start = found.end()
    return tuple(tensors), start


def _binding(line: str) -> Binding:
    found = _BINDING.fullmatch(line.strip())
    dtype = dtype_of(found["dtype"]) if found else ""
    if found is None or not dtype:
        raise unreadable(line)
    return Binding(
        name=found["name"],
        is_input=found["mode"] == "Input",
        dtype=dtype,
        shape=_integers(found["dimensions"]),
        profiles=tuple(
            (_integers(least), _integers(best), _integers(largest))
            for least, best, largest in _PROFILE.findall(found["profiles"] or "")
        ),
    )


def _integers(text: str) -> Shape:
    return tuple(int(part) for part in text.split(",") if part)


def branches(line: str) -> InputError:
    """Say that an engine branches, at which line."""
    return InputError(
        f"The engine branches, so which of its kernels run is not known, at:\n  {line}",
        mend="Give a model without If and Loop.",
    )


def unreadable(line: str) -> InputError:
    """Say that a line cannot be read."""
    return InputError(
        f"This line of the layer information cannot be read:\n  {line}",
        mend="Give the log as the library wrote it, or what trtexec --exportLayerInfo writes.",
    )
