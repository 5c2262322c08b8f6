"""What a parity check says, as written into manifests and printed by `--json`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class OutputParity(BaseModel):
    """How one output differs from its reference, at worst over the cases that it sums up.

    Attributes:
        max_abs: Largest absolute difference.
        max_rel: Largest difference over (|reference| + its root mean square); the second term
            keeps values near zero from counting rounding as error.
        sqnr_db: Signal to quantisation noise ratio, 10·log10(Σ ref² / Σ (ref - out)²), in dB;
            None where the outputs are equal bit for bit.
        cosine: Cosine of the angle between output and reference, flattened.
        argmax_agreement: Share of samples whose largest entry (over dimension 1) is the same.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    name: str
    max_abs: float
    max_rel: float
    sqnr_db: float | None
    cosine: float
    argmax_agreement: float
    passed: bool


class ParityCase(BaseModel):
    """One run that was compared.

    Attributes:
        weights: `model` for the weights as they are, `random` for parameters and statistics that
            were drawn at random into the same graph.
        optimisations: ONNX Runtime's graph optimisations, off or on.
        batch: The batch size.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    weights: Literal["model", "random"]
    optimisations: Literal["off", "on"]
    batch: int
    outputs: tuple[OutputParity, ...]

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(output.passed for output in self.outputs)


class ParityReport(BaseModel):
    """The whole check.

    Attributes:
        precision: The precision whose tolerance was used.
        max_rel_tolerance: The largest `max_rel` that passes.
        min_sqnr_db: The smallest `sqnr_db` that passes.
        outputs: Each output at its worst over all cases.
        cases: Every run.
        first_difference: The first module, in order of execution, whose output differs; None
            where all agree, or where no module can be named.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    passed: bool
    precision: str
    max_rel_tolerance: float
    min_sqnr_db: float
    outputs: tuple[OutputParity, ...]
    cases: tuple[ParityCase, ...]
    first_difference: str | None = None


def worst(outputs: list[OutputParity]) -> OutputParity:
    """Sums up one output over several cases: the worst of each figure."""
    ratios = [output.sqnr_db for output in outputs if output.sqnr_db is not None]
    return OutputParity(
        name=outputs[0].name,
        max_abs=max(output.max_abs for output in outputs),
        max_rel=max(output.max_rel for output in outputs),
        sqnr_db=min(ratios) if ratios else None,
        cosine=min(output.cosine for output in outputs),
        argmax_agreement=min(output.argmax_agreement for output in outputs),
        passed=all(output.passed for output in outputs),
    )


def describe_failure(report: ParityReport) -> str:
    """Says in a line how outputs differ, in which run, and where the difference begins."""
    case = next(case for case in report.cases if not case.passed)
    output = next(output for output in case.outputs if not output.passed)
    ratio = "equal" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB"
    where = (
        f"the first module that differs is {report.first_difference}"
        if report.first_difference
        else "no single module could be named"
    )
    return (
        f"output {output.name} has max_abs {output.max_abs:.3g}, max_rel {output.max_rel:.3g}"
        f" (tolerance {report.max_rel_tolerance:g}), SQNR {ratio} (at least"
        f" {report.min_sqnr_db:g} dB) at batch {case.batch} with {case.weights} weights and ONNX"
        f" Runtime's optimisations {case.optimisations}; {where}."
    )
