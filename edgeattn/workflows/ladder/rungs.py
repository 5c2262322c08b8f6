"""The rungs of a ladder: what is reported of each, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgeattn.parity.compare import Run
from edgeattn.parity.metrics import Tolerance
from edgeattn.records.ladder import Weights
from edgeattn.runtimes.onnxruntime import Array


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
