"""What is known of a model's memory before it runs: of its graph, or of its engine."""

from __future__ import annotations

from edgeattn.graph.memory import plan
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import Memory


def of_graph(subject: Subject) -> Memory:
    """Return what an ONNX file's graph takes."""
    found = plan(subject.model)
    return Memory(
        weights_bytes=found.weights_bytes,
        activations_bytes=found.activations_bytes,
        planned_by="graph",
        at=found.at,
    )


def of_engine(weights_bytes: int | None, activations_bytes: int | None) -> Memory | None:
    """Return what an engine's library says that it takes; None where it says nothing."""
    if weights_bytes is None and activations_bytes is None:
        return None
    return Memory(
        weights_bytes=weights_bytes, activations_bytes=activations_bytes, planned_by="library"
    )
