"""Reads the layers that the logs of TensorRT 8 to 10 list, into what its inspector writes as JSON.

Two lists of layers stand in them, each under a heading of its own:

1. `Layers:`, of `trtexec --dumpLayerInfo --profilingVerbosity=detailed`: all that the JSON has.
2. `Engine Layer Information:`, of any build with VERBOSE messages, of TensorRT 7 too: kind, name,
   tactic, and each tensor's name, type and sizes.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_log import unreadable

# A log's own beginning of a line: `[12/04/2021-06:34:17] [V] [TRT] `, `[TensorRT] VERBOSE: `.
_PREFIX: Final = r"(?:\[[^\]\n]*\] )*(?:VERBOSE: |INFO: )?"
_MESSAGE: Final = re.compile(r"\[[^\]]*\] (?:\[\w\]|VERBOSE:|INFO:)")
_DETAILED: Final = re.compile(rf"^{_PREFIX}Layers:\n(?={_PREFIX}Name: )", re.MULTILINE)
_BRIEF: Final = re.compile(rf"^{_PREFIX}Engine Layer Information:[ \t]*$", re.MULTILINE)
_LINE: Final = re.compile(rf"{_PREFIX}(?P<line>(?:Layer\(|Name: ).*)")
_HEAD: Final = re.compile(
    r"Layer\((?P<kind>\w+)\): (?P<name>.*?)(?:, Tactic: (?P<tactic>[-\w]+))?, (?=.* ?-> )"
)
_BRIEF_TENSOR: Final = re.compile(
    r"(?:, )?(?P<name>\S.*?) ?[\[(](?P<type>[A-Za-z]\w*)[\[(](?P<sizes>[-\d,: ]*)[\])]{2}"
    r"(?=, | -> |\s*$)"
)
_NAME: Final = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[")
_TENSOR: Final = re.compile(
    r",? ?\{ Name: (?P<name>.*?), (?:Location: \w+, )?Dimensions: \[(?P<sizes>[-\d,]*)\],"
    r" Format/Datatype: (?P<type>[^{}]*?) \}(?=\]|, ?\{ Name: )"
)
_WEIGHTS: Final = re.compile(
    r', (?P<what>Weights|Bias): \{"Type": "(?P<type>\w+)", "Count": (?P<count>\d+)\}'
)
_TACTIC: Final = re.compile(r", TacticName: (?P<tactic>.*?)(?=, TacticValue: |, StreamId: |$)")
_STREAM: Final = re.compile(r", StreamId: (?P<stream>\d+)")
_METADATA: Final = re.compile(r", Metadata:(?: (?P<metadata>.*))?$")


def document_of(text: str) -> dict[str, Any] | None:
    """Return the layers that a log lists as TensorRT 8 to 10 do, as their JSON has them.

    Args:
        text: The log.

    Returns:
        `Layers` and `Bindings`; None where it lists none so.

    Raises:
        InputError: It lists those of several engines, or a line cannot be read: names it.
    """
    detailed = [one for one in _DETAILED.finditer(text) if "Format/Datatype" in _line(text, one)]
    found = detailed or list(_BRIEF.finditer(text))
    if not found:
        return None
    if len(found) > 1:
        raise InputError(
            f"The log holds the layer information of {len(found)} engines.",
            mend="Give the log of one build.",
        )
    lines: list[str] = []
    rest = text[found[0].end() :].lstrip("\n").split("\n")
    for place, line in enumerate(rest):
        own = _LINE.match(line)
        if own is not None:
            lines.append(own["line"].rstrip())
        elif line.strip():
            rest = rest[place:]
            break
    if not detailed:
        layers = [_brief(line) for line in lines]
        return {"Layers": layers, "Bindings": _ends(layers)}
    names = [line.strip() for line in rest]
    start = next((place for place, name in enumerate(names) if name.endswith("Bindings:")), None)
    bindings = [] if start is None else names[start + 1 :]
    bindings = list(itertools.takewhile(lambda name: name and not _MESSAGE.match(name), bindings))
    return {"Layers": [_detailed(line) for line in lines], "Bindings": bindings}


def _line(text: str, found: re.Match[str]) -> str:
    return text[found.end() :].partition("\n")[0]


def _brief(line: str) -> dict[str, Any]:
    head = _HEAD.match(line)
    if head is None:
        raise unreadable(line)
    inputs, end = _tensors(_BRIEF_TENSOR, line, head.end())
    arrow = re.compile(r" ?-> ").match(line, end)
    outputs, end = ([], 0) if arrow is None else _tensors(_BRIEF_TENSOR, line, arrow.end())
    if arrow is None or line[end:].strip():
        raise unreadable(line)
    return {
        "Name": head["name"],
        "LayerType": head["kind"],
        "Inputs": inputs,
        "Outputs": outputs,
    }


def _detailed(line: str) -> dict[str, Any]:
    head = _NAME.match(line)
    if head is None:
        raise unreadable(line)
    inputs, end = _tensors(_TENSOR, line, head.end())
    middle = re.compile(r"\], Outputs: \[").match(line, end)
    if middle is None:
        raise unreadable(line)
    outputs, end = _tensors(_TENSOR, line, middle.end())
    rest = line[end:]
    layer: dict[str, Any] = {
        "Name": head["name"],
        "LayerType": head["kind"],
        "Inputs": inputs,
        "Outputs": outputs,
    }
    for one in _WEIGHTS.finditer(rest):
        layer[one["what"]] = {"Type": one["type"], "Count": int(one["count"])}
    if (tactic := _TACTIC.search(rest)) is not None:
        layer["TacticName"] = tactic["tactic"]
    if (stream := _STREAM.search(rest)) is not None:
        layer["StreamId"] = int(stream["stream"])
    if (metadata := _METADATA.search(rest)) is not None:
        layer["Metadata"] = metadata["metadata"] or ""
    return layer


def _tensors(form: re.Pattern[str], line: str, start: int) -> tuple[list[dict[str, Any]], int]:
    """Read tensors one behind the other, and return them with the index of what follows."""
    tensors: list[dict[str, Any]] = []
    while (found := form.match(line, start)) is not None:
        sizes = [int(one) for one in re.findall(r"-?\d+", found["sizes"])]
        tensors.append(
            {
                "Name": found["name"],
                # TensorRT numbers open sizes: -7, -8.
                "Dimensions": [max(size, -1) for size in sizes],
                "Format/Datatype": found["type"],
            }
        )
        start = found.end()
    return tensors, start


def _ends(layers: list[dict[str, Any]]) -> list[str]:
    """Return the tensors that the network begins and ends with: read or written, and not both."""
    read = dict.fromkeys(one["Name"] for layer in layers for one in layer["Inputs"])
    written = dict.fromkeys(one["Name"] for layer in layers for one in layer["Outputs"])
    return [name for name in (*read, *written) if not (name in read and name in written)]
