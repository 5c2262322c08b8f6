"""Sums up parity cases, and puts a failure into words."""

from __future__ import annotations

from edgeattn.records.parity import OutputParity, ParityReport


def worst(outputs: list[OutputParity]) -> OutputParity:
    """Sum up one output over several cases: the worst of each figure."""
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
    """Return in a line how outputs differ, in which run, and where the difference begins."""
    case = next(case for case in report.cases if not case.passed)
    output = next(output for output in case.outputs if not output.passed)
    ratio = "equal" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB"
    how = f" and ONNX Runtime's optimisations {case.optimisations}"
    if case.runtime == "openvino":
        how = " in OpenVINO"
    where = (
        f"the first module that differs is {report.first_difference}"
        if report.first_difference
        else "no single module could be named"
    )
    return (
        f"output {output.name} has max_abs {output.max_abs:.3g}, max_rel {output.max_rel:.3g}"
        f" (tolerance {report.max_rel_tolerance:g}), SQNR {ratio} (at least"
        f" {report.min_sqnr_db:g} dB) at batch {case.batch} with {case.weights} weights"
        f"{how}; {where}."
    )
