"""What ONNX Runtime's profiler writes of each node that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeattn.base import documents

_SUFFIX: Final = "_kernel_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """One run of a node.

    Attributes:
        name: The node, in the optimised graph.
        index: Its index there, which tells nodes without names apart.
        time_us: What it took.
        arguments: What else the profiler says.
    """

    name: str
    index: str
    time_us: float
    arguments: Mapping[str, Any]

    @property
    def activation_bytes(self) -> int:
        """Bytes read and written; weights are not among them, as packed ones are not told."""
        return sum(int(self.arguments.get(k, 0)) for k in ("activation_size", "output_size"))

    @property
    def outputs(self) -> list[tuple[str, list[int]]]:
        """The element type and the shape of each of its outputs."""
        return [pair for one in self.arguments.get("output_type_shape", ()) for pair in one.items()]


def read_events(path: Path) -> tuple[list[NodeEvent], list[float]]:
    """Read the file of a session's profiler.

    Returns:
        The runs of nodes, in their order; and what each run of the whole model took, in µs.
    """
    events = documents.read_json(path, is_foreign=True)
    nodes = [
        NodeEvent(
            name=event["name"].removesuffix(_SUFFIX),
            index=event["args"].get("node_index", ""),
            time_us=event["dur"],
            arguments=event["args"],
        )
        for event in events
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX)
    ]
    return nodes, [event["dur"] for event in events if event["name"] == "model_run"]
