"""A report as JSON: the figures of its attribution, and the traces to make it again from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgeattn.profiling.attribution import STATUSES, Attribution, Cost
from edgeattn.profiling.expectation import beside
from edgeattn.profiling.owners import Owned
from edgeattn.profiling.sums import Sum
from edgeattn.records.trace import Difference, EnergyDifference, Trace
from edgeattn.report.content import SCHEMA_VERSION, Report, Row
from edgeattn.report.curves import curves
from edgeattn.report.headline import hidden_ms
from edgeattn.report.units import part_of


def document_of(report: Report) -> dict[str, Any]:
    """Return a report, of one model or of several."""
    return profile_document(report) if report.is_of_one else comparison_document(report)


def profile_document(report: Report) -> dict[str, Any]:
    """Return a report of one model; or of two, the second being what the first is compared with.

    Args:
        report: Its first row is what the other is compared with, where there are two.
    """
    row = report.rows[-1]
    document = {"schema_version": SCHEMA_VERSION, "artifact": "profile", **_row(row)}
    if not report.is_of_one:
        document["against"] = _row(report.rows[0])
        document["difference"] = _difference(row.difference)
        document["energy_difference"] = _difference(row.energy)
    return document | {"command": report.command}


def comparison_document(report: Report) -> dict[str, Any]:
    """Return a report of several models."""
    return {
        "schema_version": SCHEMA_VERSION,
        "artifact": "comparison",
        "title": report.title,
        "models": [
            _row(row)
            | {
                "difference": _difference(row.difference),
                "energy_difference": _difference(row.energy),
                "batch_difference": _difference(row.by_batch),
                "hidden_ms": hidden_ms(report, row),
            }
            for row in report.rows
        ],
        "curves": [asdict(one) | {"summary": one.summary} for one in curves(report.rows)],
        "contests": [
            asdict(one) | {"label": one.label, "is_decided": one.is_decided}
            for one in report.contests
        ],
        "command": report.command,
    }


def _difference(difference: Difference | EnergyDifference | None) -> dict[str, Any] | None:
    return None if difference is None else difference.model_dump(mode="json")


def _row(row: Row) -> dict[str, Any]:
    attribution, trace = row.attribution, row.trace
    identity = trace.identity
    return {
        "name": trace.name,
        "variant": trace.variant,
        "precision": trace.precision,
        "computed_in": row.computed_in,
        "model": trace.model,
        "device": trace.machine.device,
        "power_mode": trace.machine.power_mode,
        "not_for": trace.machine.not_for,
        "evidence": trace.evidence,
        "runtime": trace.runtime,
        "runtime_version": trace.runtime_version,
        "latency_ms": trace.latency_ms.model_dump(mode="json"),
        "interval_ms": trace.interval_ms,
        "windows": trace.windows,
        "batch": trace.batch,
        "memory": None if trace.memory is None else trace.memory.model_dump(mode="json"),
        "expected": _expected(trace),
        "power": None if trace.power is None else trace.power.model_dump(mode="json"),
        "kernels": [_kernel(one) for one in attribution.kernels],
        "sites": [
            {
                "path": one.site.path,
                "attention": one.site.attention,
                "shape": one.site.shape,
                **_cost(one.cost, attribution),
            }
            for one in attribution.sites
        ],
        "attention": None
        if attribution.attention is None
        else _cost(attribution.attention, attribution),
        "lines": [
            {
                "attention": one.lines.attention,
                "place": one.lines.place,
                "code": one.lines.code,
                **_sums([one.sum], attribution.time_us)[one.sum.name],
            }
            for one in attribution.lines
        ],
        "identity": None
        if identity is None
        else {
            "difference": _difference(identity.difference),
            "kernels": len(identity.kernels),
            "replaced": identity.replaced,
            "kept": identity.kept,
            "elsewhere_us": attribution.elsewhere_us,
            "drift": attribution.drift,
        },
        "whole": _cost(attribution.whole, attribution),
        "kinds": _sums(attribution.kinds, attribution.time_us),
        "site_kinds": _sums(attribution.site_kinds, attribution.time_us),
        "stages": _sums(attribution.stages, attribution.time_us),
        "modules": [asdict(one) for one in attribution.modules],
        "coverage": {s: part_of(attribution.coverage_us[s], attribution.time_us) for s in STATUSES},
        "coverage_us": attribution.coverage_us,
        "coverage_bytes": attribution.coverage_bytes,
        "conv_macs_per_us": attribution.conv_macs_per_us,
        "reconciliation": asdict(attribution.reconciliation),
        "warnings": trace.warnings,
        "notes": trace.notes,
        "trace": trace.model_dump(mode="json"),
    }


def _expected(trace: Trace) -> dict[str, Any] | None:
    found = beside(trace)
    if found is None:
        return None
    said = found.expected
    return {
        "device": said.device,
        "power_mode": said.power_mode,
        "latency_ms": said.latency_ms,
        "interval_ms": said.interval_ms,
        "error": found.error,
        "holds": found.holds,
        "kinds": [asdict(one) for one in found.kinds],
    }


def _kernel(one: Owned) -> dict[str, Any]:
    kernel = one.kernel
    return {
        "name": kernel.name,
        "kind": kernel.kind,
        "op": kernel.op,
        "time_us": kernel.time_us,
        "interval_us": kernel.interval_us,
        "traffic_bytes": kernel.traffic_bytes,
        "macs": kernel.macs,
        "owner": one.owner,
        "site": one.site,
        "status": one.status,
        "shares": [asdict(share) for share in one.shares],
        "cause": one.cause,
        "nodes": kernel.nodes,
        "precision": kernel.precision,
        "stream": kernel.stream,
        "bound": kernel.bound,
    }


def _cost(cost: Cost, attribution: Attribution) -> dict[str, Any]:
    return {
        **asdict(cost),
        "broken_fusion_us": cost.broken_fusion_us,
        "hidden_cost_factor": cost.hidden_cost_factor,
        "part": part_of(cost.time_us, attribution.time_us),
    }


def _sums(sums: Sequence[Sum], whole_us: float) -> dict[str, Any]:
    return {
        one.name: {
            "time_us": one.time_us,
            "part": part_of(one.time_us, whole_us),
            "kernels": one.kernels,
            "traffic_bytes": one.traffic_bytes,
        }
        for one in sums
    }
