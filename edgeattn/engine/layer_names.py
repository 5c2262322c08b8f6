"""The ONNX nodes that a kernel came from, as TensorRT writes them.

TensorRT 8.6 and later write them as metadata. Before, they stand in the name of the layer alone:
`a + b` and `PWN(a, b)` are fused, `a || b` merged side by side, `{ForeignNode[a...b]}` is the
region from a to b.
"""

from __future__ import annotations

import re
from typing import Final

# A node that TensorRT turned into another says so behind it: `[ONNX Layer: a]__gemm_from_conv1x1`.
_NODES: Final = re.compile(r"\[ONNX Layer: (?P<names>.*)\](?:__\w+)?", re.DOTALL)
_BETWEEN: Final = re.compile(r"\](?:__\w+)?[\x1e\x1f]\[ONNX Layer: ")
_BETWEEN_BARE: Final = re.compile(r"\](?:__\w+)?\[ONNX Layer: ")
_REGION: Final = re.compile(r"\{ForeignNode\[(?P<ends>.*)\]\}", re.DOTALL)
# Layers that TensorRT puts in by itself: copies, and what no node of the network is.
_COPY: Final = re.compile(r"Reformatting CopyNode for |.* copy\Z", re.DOTALL)
_OWN: Final = re.compile(
    r".*\(Unnamed Layer\* |\[|(?:copied_)?(?:un)?(?:squeeze|reshape)_(?:node_)?(?:after|before)_",
    re.DOTALL,
)


def metadata_nodes(metadata: str) -> tuple[str, ...] | None:
    """Read the nodes in a kernel's metadata.

    Args:
        metadata: Such as `[ONNX Layer: a][ONNX Layer: b]`, U+001E or U+001F between them.

    Returns:
        Their names; None when it cannot be read.
    """
    if not metadata:
        return ()
    found = _NODES.fullmatch(metadata)
    if found is None:
        return None
    is_separated = "\x1e" in metadata or "\x1f" in metadata
    return tuple((_BETWEEN if is_separated else _BETWEEN_BARE).split(found["names"]))


def name_nodes(name: str) -> tuple[str, ...]:
    """Read the nodes in the name of a layer without metadata.

    Weights that were layers of their own are among them: nothing tells them apart.

    Args:
        name: The layer's name.

    Returns:
        The nodes' names, without what TensorRT put in by itself.
    """
    if (region := _REGION.fullmatch(name)) is not None:
        ends = re.split(r"\.\.\.+", region["ends"])
        return tuple(dict.fromkeys(part for end in ends for part in _parts(end)))
    return () if _COPY.match(name) else tuple(_parts(name))


def _parts(name: str) -> list[str]:
    """Split at ` + `, ` || ` and, within PWN(...), at `, `."""
    parts, part = [], ""
    # For each open bracket: whether it is that of a PWN.
    brackets: list[bool] = []
    at = 0
    while at < len(name):
        step = next(
            (s for s in (" + ", " || ", "PWN(") if name.startswith(s, at)),
            ", " if name.startswith(", ", at) and any(brackets) else name[at],
        )
        at += len(step)
        if step == "PWN(" and not part.strip():
            brackets.append(True)
        elif step in {" + ", " || ", ", "}:
            parts.append(part)
            part = ""
        elif step == ")" and brackets and brackets.pop():
            pass
        else:
            brackets += [False] * step.count("(")
            part += step
    stripped = [one.strip(" ") for one in (*parts, part)]
    return [one for one in stripped if one and not _OWN.match(one)]
