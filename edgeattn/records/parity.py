"""How a model differs from its reference."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.base import Frozen
from edgeattn.records.trace import Machine, Runtime

#: Whether a graph holds the model's own weights, or some drawn at random.
Weights = Literal["model", "random"]
Optimisations = Literal["off", "on"]


class OutputParity(Frozen):
    """How one output differs from its reference, at worst over the cases that it sums up.

    Attributes:
        max_abs: Largest absolute difference.
        max_rel: Largest difference over (|reference| + its root mean square); the second term
            keeps values near zero from counting rounding as error.
        sqnr_db: Signal to quantisation noise ratio, 10·log10(Σ ref² / Σ (ref - out)²), in dB;
            None if the outputs are equal bit for bit.
        cosine: Cosine of the angle between output and reference, flattened.
        argmax_agreement: Share of samples whose largest entry (over dimension 1) is the same; of
            whole numbers and truth values, the share of entries that are.
    """

    name: str
    max_abs: float
    max_rel: float
    sqnr_db: float | None
    cosine: float
    argmax_agreement: float
    passed: bool


class ParityCase(Frozen):
    """One run that was compared.

    Attributes:
        weights: `model` for the weights as they are, `random` for parameters and statistics that
            were drawn at random into the same graph.
        optimisations: ONNX Runtime's graph optimisations, off or on.
        batch: The batch size.
        runtime: What ran it, whose optimisations are its own where it is not ONNX Runtime.
        reference_optimisations: Those of the reference, where ONNX Runtime runs it: on where it
            differs from itself without them.
        rounding_floor_db: Where the reference amplifies rounding, the SQNR of its outputs against
            themselves (torch's float32 against float64's; a file's with optimisations off against
            on, and with its input moved by one unit in the last place), which the verdict rests on
            instead of the tolerance.
    """

    weights: Weights
    optimisations: Optimisations
    batch: int
    outputs: tuple[OutputParity, ...]
    runtime: Runtime = "onnxruntime"
    reference_optimisations: Optimisations = "off"
    rounding_floor_db: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(output.passed for output in self.outputs)


class ParityReport(Frozen):
    """The whole check.

    Attributes:
        precision: The precision whose tolerance was used.
        max_rel_tolerance: The largest `max_rel` that passes.
        min_sqnr_db: The smallest `sqnr_db` that passes.
        outputs: Each output at its worst over all cases.
        cases: Every run.
        first_difference: The first module, in order of execution, whose output differs; None
            where all agree, or where no module can be named.
        notes: What a user should know of it.
    """

    passed: bool
    precision: str
    max_rel_tolerance: float
    min_sqnr_db: float
    outputs: tuple[OutputParity, ...]
    cases: tuple[ParityCase, ...]
    first_difference: str | None = None
    notes: tuple[str, ...] = ()


class ParityThere(ParityReport):
    """The whole check of what ran on a host.

    Attributes:
        machine: The host.
    """

    machine: Machine
