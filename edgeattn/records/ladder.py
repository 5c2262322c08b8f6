"""What a parity ladder reports of each rung."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.base import Frozen
from edgeattn.records.parity import OutputParity, Weights
from edgeattn.records.trace import Machine

State = Literal["passed", "fell", "not climbed"]


class Comparison(Frozen):
    """A rung against something below it.

    Attributes:
        against: The rung below, or the start.
        weights: `model` for the weights as they are, `random` for those drawn into the same graph.
        passed: Whether every output of every run is within the tolerance.
        max_rel_tolerance: The largest `max_rel` that passes.
        min_sqnr_db: The smallest `sqnr_db` that passes.
        runs: How many runs there were: optimisations off and on, and batch sizes.
        outputs: Each output at its worst over them.
    """

    against: str
    weights: Weights
    passed: bool
    max_rel_tolerance: float
    min_sqnr_db: float
    runs: int
    outputs: tuple[OutputParity, ...]


class Rung(Frozen):
    """A rung, and what was found on it.

    Attributes:
        rung: Its name: `onnx`, `lowered`, `cast`, `engine`, or `onnxruntime` on a host without
            TensorRT.
        state: Whether it passed, fell, or was not climbed.
        precision: The precision whose tolerance it is held to.
        comparisons: What it was compared with.
        first_difference: The first module or tensor that differs, where it fell.
        reason: Why it fell, or was not climbed.
        seconds: Wall-clock time.
    """

    rung: str
    state: State
    precision: str
    comparisons: tuple[Comparison, ...] = ()
    first_difference: str | None = None
    reason: str = ""
    seconds: float = 0.0


class Ladder(Frozen):
    """The whole climb.

    Attributes:
        model: What was climbed with.
        start: What the ladder stands on: `torch`, or `onnx` for a file.
        rungs: The rungs, from the lowest.
        first_fall: The first rung that fell, or None if none did.
        first_difference: The first module or tensor that differs there.
        notes: What the user should know.
        machine: What the last rung was climbed on, where that was a host.
    """

    schema_version: Literal[1] = 1
    model: str
    start: str
    rungs: tuple[Rung, ...]
    first_fall: str | None
    first_difference: str | None
    notes: tuple[str, ...]
    machine: Machine | None = None
