"""The rungs of a ladder: what is reported of each, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from edgeattn.manifest import OutputParity
from edgeattn.parity.compare import Run
from edgeattn.parity.metrics import Tolerance
from edgeattn.parity.runtime import Array

Weights = Literal["model", "random"]
State = Literal["passed", "fell", "not climbed"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Comparison(_Frozen):
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


class Rung(_Frozen):
    """A rung, and what was found on it.

    Attributes:
        rung: Its name: `onnx`, `lowered`, `cast` or `engine`.
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


class Ladder(_Frozen):
    """The whole climb.

    Attributes:
        model: What was climbed with.
        start: What the ladder stands on: `torch`, or `onnx` for a file.
        rungs: The rungs, from the lowest.
        first_fall: The first rung that fell, None where none did.
        first_difference: The first module or tensor that differs there.
        notes: What the user should know.
    """

    schema_version: Literal[1] = 1
    model: str
    start: str
    rungs: tuple[Rung, ...]
    first_fall: str | None
    first_difference: str | None
    notes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Made:
    """What stands on a rung, with one kind of weights.

    Attributes:
        path: The ONNX file; that of the rung below, for an engine.
        runs: Its runs; running it may fail, and then the rung falls.
        fault: What a gate of its own said against it.
        locate: Finds the first difference from the rung below, where files do not tell it.
    """

    path: Path
    runs: Iterable[Run]
    fault: str = ""
    locate: Callable[[Tolerance], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How a rung is made.

    Attributes:
        name: The rung.
        tolerance: What it is held to.
        make: Makes it of the rung below: of a side, and of the file that stands there.
        weights: The sides that it is made for.
    """

    name: str
    tolerance: Tolerance
    make: Callable[[Side, Path], Made]
    weights: tuple[Weights, ...] = ("model", "random")


@dataclass(kw_only=True)
class Side:
    """The model with one kind of weights, on its way up.

    Attributes:
        weights: Which weights.
        arrays: The inputs, by batch size.
        references: What the start gives, by batch size.
        locate: Finds the first difference of a file from the start.
        measure_floor: Measures how far rounding takes torch's own result; None where there is none.
        below: The name of the rung that is reached.
        path: The file that stands there; nothing stands at torch.
        outputs: What the rung that is reached gives, by batch size.
    """

    weights: Weights
    arrays: Mapping[int, Sequence[Array]]
    references: Mapping[int, Sequence[Array]]
    locate: Callable[[Path, Tolerance], str | None]
    measure_floor: Callable[[], float] | None = None
    below: str
    path: Path = field(default_factory=Path)
    outputs: Mapping[int, Sequence[Array]] = field(default_factory=dict)

    @cached_property
    def floor_db(self) -> float | None:
        """The rounding floor in dB, None where it cannot be measured."""
        return None if self.measure_floor is None else self.measure_floor()
