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
        run: The run of the model that it is a part of, from 0.
        time_us: What it took, less the nodes inside of it: those of a branch, or of a loop's body.
        arguments: What else the profiler says.
    """

    name: str
    index: str
    run: int
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
    nodes: list[NodeEvent] = []
    starts: list[float] = []  # of the nodes, which are written as they end
    whole_us: list[float] = []
    for event in events:
        if event["name"] == "model_run":
            whole_us.append(event["dur"])
        if event["cat"] != "Node" or not event["name"].endswith(_SUFFIX):
            continue
        inside = len(starts)
        while inside and starts[inside - 1] >= event["ts"]:
            inside -= 1
        nodes.append(
            NodeEvent(
                name=event["name"].removesuffix(_SUFFIX),
                index=event["args"].get("node_index", ""),
                run=len(whole_us),
                time_us=max(event["dur"] - sum(one.time_us for one in nodes[inside:]), 0.0),
                arguments=event["args"],
            )
        )
        starts.append(event["ts"])
    return nodes, whole_us
