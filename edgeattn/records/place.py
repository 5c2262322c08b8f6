"""Where attention goes for a budget: what sites and sets of sites cost, and which were chosen."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.base import Frozen
from edgeattn.records.trace import Evidence, Runtime

SCHEMA_VERSION: Literal[1] = 1


class SetFigures(Frozen):
    """What a model with attention at some sites takes.

    Attributes:
        sites: The paths of the sites, in the model's order.
        latency_ms: The median, or what is predicted.
        latency_interval_ms: Between what bounds; None if that is not known.
        above_ms: What it takes above the plain model.
        above_percent: The same, per cent of that.
        above_interval_percent: Between what bounds: 95 % of what was measured, 90 % of what was
            predicted. None of the plain model, or if it is not known.
    """

    sites: tuple[str, ...]
    latency_ms: float
    latency_interval_ms: tuple[float, float] | None
    above_ms: float
    above_percent: float
    above_interval_percent: tuple[float, float] | None


class SiteFigures(Frozen):
    """A site that attention may sit at.

    Attributes:
        path: The module that holds the attention.
        target: The module that it attends: what `--at` names.
        shape: (C, H, W) of the map.
        params: Its parameters.
        value: What it is worth: 1, its parameters, or its score.
        is_kept: Whether it was to be in the set whatever it costs.
        is_chosen: Whether it is in the set.
        alone: What the model takes with this site alone.
        like: The site that was run instead, to which all is the same around this one; "" if this
            one was.
        beside_all_ms: What it costs where all sites are there, of what they cost together; None if
            no kernel tells.
    """

    path: str
    target: str
    shape: tuple[int, ...]
    params: int
    value: float
    is_kept: bool
    is_chosen: bool
    alone: SetFigures
    like: str
    beside_all_ms: float | None


class Placement(Frozen):
    """Where attention goes for a budget.

    Attributes:
        model: The source of the backbone.
        attention: What the attention is called.
        budget: The budget, as it was read.
        by: What the set has most of: sites, parameters or scores.
        evidence: Whether figures are measured or predicted.
        runtime: What runs it.
        device: The device profile, the host, or the processor.
        title: The same for people.
        power_mode: The device's power mode; "" if there is none.
        plain: The model without attention.
        whole: With attention at every site.
        sites: The sites.
        sets: All sets that were run or predicted, in order.
        chosen: The set, exported with exactly its sites and proven; None if no site fits.
        is_sure: Whether its whole interval keeps the budget, and not its figure alone.
        at: What to give to `--at`; "" where the sites are those without it.
        export: The command that exports it; "" if no site fits.
        command: The command that made this.
        warnings: Why the figures are not to be trusted.
        notes: What else a reader should know.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    artifact: Literal["placement"] = "placement"
    model: str
    attention: str
    budget: str
    by: str
    evidence: Evidence
    runtime: Runtime
    runtime_version: str
    device: str
    title: str
    power_mode: str
    plain: SetFigures
    whole: SetFigures
    sites: tuple[SiteFigures, ...]
    sets: tuple[SetFigures, ...]
    chosen: SetFigures | None
    is_sure: bool
    at: str
    export: str
    versions: dict[str, str]
    command: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
