"""Where trtexec's log says that the layers of a network run: on the DLA, or on the GPU, and why.

A layer is named after the ONNX node that it came from, with a number behind it where that name is
had; the verbose log says which. What TensorRT puts in by itself has other names. The list of
layers names a loadable, or what Myelin makes of several layers on the GPU, by its first and last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgeattn.engine.layer_names import name_nodes
from edgeattn.engine.log import Log

_REGISTERED: Final = re.compile(r"Registering layer: (?P<layer>.+) for ONNX node: (?P<node>.+)")
#: A layer that falls back: of TensorRT 8.0 and 8.2; of later ones; of the compiler of loadables; of
#: loadables that are too many; of types that it has not; and of the parser, where it is to report.
_REFUSED: Final = (
    re.compile(r"Default DLA is enabled but layer (?P<layer>.+) is not \w+ on DLA"),
    re.compile(r"Layer '(?P<layer>.+)' \((?P<kind>\w+)\): Unsupported on DLA"),
    re.compile(r"Validation failed for DLA layer: (?P<layer>.+)\. Switching to GPU"),
    re.compile(r"(?P<why>DLA supports only .+)\. Switching to GPU for layer (?P<layer>.+)"),
    re.compile(r"(?P<why>DLA only supports .+)\. Switching (?P<layer>.+) device type to GPU"),
    re.compile(r".*DLA validation failed for layer: (?P<layer>.+?)(?: In node -?\d+ with .*)?$"),
)
_LIST: Final = re.compile(r"-{3,} Layers [Rr]unning on (?P<side>DLA|GPU)")
_PLACED: Final = re.compile(
    r"\[(?P<side>DLA|GPU)Layer\] (?:[A-Z][A-Z0-9_]+: )?(?P<layer>.+)", re.IGNORECASE
)
_REGION: Final = "{ForeignNode["


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where layers run.

    Attributes:
        dla: The loadables, each by the nodes that it is named after.
        gpu: The layers on the GPU, likewise.
        regions: Those of several nodes on the GPU that are named by the first and the last.
        reasons: Why a layer does not run on the DLA, by its node.
        is_listed: Whether the log has the list of all layers.
    """

    dla: tuple[tuple[str, ...], ...]
    gpu: tuple[tuple[str, ...], ...]
    regions: tuple[tuple[str, ...], ...]
    reasons: Mapping[str, str]
    is_listed: bool

    def on_dla(self, nodes: Sequence[str]) -> dict[str, bool]:
        """Return whether nodes run on the DLA, or nowhere; those of which nothing is said are not.

        Args:
            nodes: The names of all nodes of the file, in its order.
        """
        places = {name: place for place, name in enumerate(nodes)}
        named = {name for layer in self.dla for name in layer}
        on_gpu = {name for layer in (*self.gpu, *self.regions) for name in layer}
        found = {name: True for name in named if name in places}
        # A node of several layers, some of them on the GPU, is not on the DLA.
        found |= {name: False for name in (*on_gpu, *self.reasons) if name in places}
        spans = []
        for ends in self.regions:
            inside = [places[name] for name in ends if name in places]
            if len(inside) < len(ends):
                return found  # what lies between them cannot be told
            spans.append((min(inside), max(inside)))
        if self.is_listed:
            for name, place in places.items():
                if not any(first <= place <= last for first, last in spans):
                    found.setdefault(name, True)
        return found


def placed(log: Log) -> Placed:
    """Read where layers run."""
    reader = _Reader()
    for _, text in log.messages:
        for line in text.splitlines():
            reader.take(line)
    named = reader.named
    return Placed(
        dla=tuple(map(named, reader.lists["DLA"])),
        gpu=tuple(named(one) for one in reader.lists["GPU"] if _REGION not in one),
        regions=tuple(filter(None, (named(one) for one in reader.lists["GPU"] if _REGION in one))),
        reasons={name: why for layer, why in reader.refused.items() for name in named(layer)},
        is_listed=reader.is_listed,
    )


@dataclass(slots=True)
class _Reader:
    """What was read so far: by layer, the node and why it falls back; and the lists of layers."""

    nodes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=lambda: {"DLA": [], "GPU": []})
    is_listed: bool = False
    before: str = ""

    def take(self, line: str) -> None:
        """Read a line."""
        if found := _REGISTERED.match(line):
            self.nodes[found["layer"]] = found["node"]
        elif found := _LIST.match(line):
            if found["side"] == "DLA":  # again where a loadable could not be built
                self.lists = {"DLA": [], "GPU": []}
            self.is_listed = True
        elif found := _PLACED.match(line):
            self.lists[found["side"].upper()].append(found["layer"])
        elif found := next((found for one in _REFUSED if (found := one.match(line))), None):
            said = found.groupdict()
            self.refused.setdefault(found["layer"], said.get("why") or self._why(**said))
        self.before = line

    def named(self, layer: str) -> tuple[str, ...]:
        """Return the nodes that a layer is named after."""
        if layer in self.nodes:
            return (self.nodes[layer],)
        return tuple(dict.fromkeys(self.nodes.get(one, one) for one in name_nodes(layer)))

    def _why(self, layer: str, kind: str = "", **_: str) -> str:
        """Return why a layer falls back: the line before says it, with its name or without."""
        said = self.before
        for named in (f"{layer}: ", f"DLA Layer {layer} "):
            if said.startswith(named):
                return said.removeprefix(named).rstrip(".")
        if said.startswith("This version of DLA "):
            return said.rstrip(".")
        return f"as a layer {kind}, it is not for a DLA" if kind else "the log does not say why"
