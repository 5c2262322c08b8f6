"""A report on a terminal: the point in one line, the table of what FLOPs do not see, bars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from edgeattn.profiling import samples
from edgeattn.profiling.attribution import STATUSES, Attribution, Cost, SiteCost
from edgeattn.records.trace import (
    KIND_TITLES,
    RUNTIMES,
    Difference,
    EnergyDifference,
    Evidence,
    Trace,
)
from edgeattn.report import beside, memory
from edgeattn.report.content import Report, Row, to_show
from edgeattn.report.contest import Contest, Entry, summaries, title_of
from edgeattn.report.curves import Curve, curves
from edgeattn.report.curves import columns as by_batch_of
from edgeattn.report.grid import columns, table
from edgeattn.report.headline import headline, headline_of
from edgeattn.report.units import (
    count,
    microseconds,
    millijoules,
    milliseconds,
    more_millijoules,
    part_of,
    percent,
    ratio,
    size,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_BAR: Final = 24
_FIGURES_AND_FILES: Final = re.compile(r"\S*/\S+|\d+(?:\.\d+)?")
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
# What a watch of a host tells, of all that is known of a machine.
_WATCHED: Final = ("GPU clock", "CPU clock", "temperature", "throttled", "other load")


def lines(report: Report, *, top: int | None) -> Iterator[RenderableType]:
    """Return what is printed of a report: of one model, of a pair, or of several."""
    report = to_show(report)
    is_pair = len(report.rows) == 2 and report.rows[0].trace.variant != "plain"
    if report.is_of_one or (is_pair and report.rows[1].difference is not None):
        return profile_lines(report, top=top)
    return comparison_lines(report)


def profile_lines(report: Report, *, top: int | None) -> Iterator[RenderableType]:
    """Return what is printed of one model, or of one and what it is compared with.

    Args:
        report: The report; its last row is what is shown.
        top: How many sites are shown, those that take the most; None for all.
    """
    from rich.text import Text

    row = report.rows[-1]
    yield from heading(report, row)
    if not report.is_of_one:
        other = report.rows[0]
        latency = milliseconds(other.trace.latency_ms.p50)
        yield Text(f"against {other.label}: {latency}, {_above(row.difference)}", style="bold")
        if row.energy is not None and other.trace.power is not None:
            energy = millijoules(other.trace.power.energy_mj)
            yield Text(f"energy there: {energy}, {_above_in_energy(row.energy)}", style="bold")
    yield ""
    if row.attribution.sites:
        yield hidden_cost(row.attribution, top=top)
        yield ""
    if row.attribution.lines:
        yield by_line(row.attribution)
        yield ""
    if not any(one.nodes for one in row.trace.kernels):
        yield by_name(row.trace, top=top)
        yield ""
    yield kinds(row.attribution)
    yield ""
    for one in (*beside.of_models([row]), *beside.of_kinds(row)):
        yield one
        yield ""
    yield from footing(row)


def comparison_lines(report: Report) -> Iterator[RenderableType]:
    """Return what is printed of several models; what is measured and predicted stands apart."""
    from rich.text import Text

    yield Text(report.title, style="bold")
    yield Text(str(headline(report)), style="bold red")
    for evidence in dict.fromkeys(row.trace.evidence for row in report.rows):
        rows = [row for row in report.rows if row.trace.evidence == evidence]
        yield ""
        yield from {_where(row.trace): provenance(row.trace) for row in rows}.values()
        if drawn := [one for one in curves(report.rows) if one.evidence == evidence]:
            yield from by_batch(report.rows, drawn)
        else:
            yield comparison(rows)
            yield from memory.of_models(rows)
        yield from beside.of_models(rows)
        yield from fastest([one for one in report.contests if evidence == "measured"])
        powers = [row.trace.power for row in rows if row.trace.power is not None]
        for rail in dict.fromkeys(f"{one.rail}, {one.covers}, by {one.source}" for one in powers):
            yield f"energy: of an inference, idle power too; {rail}"
    yield ""
    for other in dict.fromkeys(row.trace.machine.not_for for row in report.rows):
        if other:
            yield Text(other, style="bold yellow")
    for warning in _alike(one for row in report.rows for one in row.trace.warnings):
        yield Text(f"warning: {warning}", style="yellow")
    for note in _alike(one for row in report.rows for one in row.trace.notes):
        yield f"note: {note}"


def _alike(messages: Iterable[str]) -> Iterator[str]:
    """Return messages, each once; of those that differ in figures and files alone, the first."""
    groups: dict[str, dict[str, None]] = {}
    for message in messages:
        groups.setdefault(_FIGURES_AND_FILES.sub("", message), {})[message] = None
    for first, *others in groups.values():
        yield f"{first} (And {len(others)} like it.)" if others else first


def heading(report: Report, row: Row) -> Iterator[RenderableType]:
    """Return what a model is, what it takes, and what attention takes of it."""
    from rich.text import Text

    trace = row.trace
    yield Text(row.label, style="bold")
    yield provenance(trace)
    if trace.machine.not_for:
        yield Text(trace.machine.not_for, style="bold yellow")
    facts = [("latency", _latency(trace)), *_power(trace), *memory.of_one(trace.memory)]
    yield columns(facts)
    if row.attribution.sites:
        found = headline_of(report, row)
        yield Text(str(found), style="bold red")
        yield Text(" ".join(found.more))


def provenance(trace: Trace) -> RenderableType:
    """Say by what, and on what, it was measured or predicted."""
    from rich.text import Text

    return Text.assemble(evidence_badge(trace.evidence), f" {_where(trace)}")


def evidence_badge(evidence: Evidence) -> tuple[str, str]:
    """Return how it is marked that figures are measured, or predicted: a text and its style."""
    style = "black on green" if evidence == "measured" else "black on yellow"
    return f" {evidence.upper()} ", style


def _where(trace: Trace) -> str:
    machine = trace.machine
    if machine.host:  # its title says by what it was measured, and in which power mode
        return f"on {machine.title} ({machine.host})"
    runtime = f"{RUNTIMES[trace.runtime]} {trace.runtime_version}".rstrip()
    mode = f", {machine.power_mode}" if machine.power_mode else ""
    return f"{runtime} on {machine.title}{mode}"


def hidden_cost(attribution: Attribution, *, top: int | None) -> Table:
    """The hidden-cost table: by site, for all of them, and for the whole."""
    rows = table(
        "site", "params", "MACs", "element ops", "traffic", "launches", "floor", "time",
        "FLOPs say", "ratio", "marginal", "fusion", "", right=range(1, 12),
    )  # fmt: skip
    for column in rows.columns[1:]:
        column.no_wrap = True
    most = max((one.cost.time_us for one in attribution.sites), default=0.0)
    shown: Sequence[SiteCost] = attribution.sites
    if top is not None and top < len(shown):
        by_time = sorted(shown, key=lambda one: -one.cost.time_us)[:top]
        shown = [one for one in shown if one in by_time]
    for one in shown:
        rows.add_row(one.site.path, *_figures(one.cost), bar(one.cost.time_us, most))
    if len(shown) < len(attribution.sites):
        rows.add_row(f"… and {len(attribution.sites) - len(shown)} more")
    if attribution.attention is not None:
        rows.add_row("all sites", *_figures(attribution.attention), style="bold")
    rows.add_row("whole model", *_figures(attribution.whole))
    return rows


def by_line(attribution: Attribution) -> Table:
    """Time of authors' own attentions, by line."""
    rows = table("line", "code", "time", "%", "kernels", "traffic", "", right=range(2, 6))
    most = max(one.sum.time_us for one in attribution.lines)
    for one in attribution.lines:
        rows.add_row(
            f"{one.lines.attention} {one.lines.place}",
            one.lines.code,
            microseconds(one.sum.time_us),
            percent(part_of(one.sum.time_us, attribution.time_us)),
            str(one.sum.kernels),
            size(one.sum.traffic_bytes),
            bar(one.sum.time_us, most),
        )
    for column in (rows.columns[0], *rows.columns[2:]):
        column.no_wrap = True
    return rows


def kinds(attribution: Attribution) -> Table:
    """Time by kind, and how much of it is the sites'."""
    rows = table("kind", "time", "%", "of sites", "kernels", "traffic", "", right=range(1, 6))
    own = {one.name: one.time_us for one in attribution.site_kinds}
    most = max((one.time_us for one in attribution.kinds), default=0.0)
    titles = {str(kind): title for kind, title in KIND_TITLES.items()}
    for one in attribution.kinds:
        rows.add_row(
            titles[one.name],
            microseconds(one.time_us),
            percent(part_of(one.time_us, attribution.time_us)),
            microseconds(own.get(one.name, 0.0)) if one.name in own else "",
            str(one.kernels),
            size(one.traffic_bytes),
            bar(one.time_us, most),
        )
    return rows


def by_name(trace: Trace, *, top: int | None) -> Table:
    """Time of the kernels that take the most, where their names are all that is known of them."""
    rows = table("kernel", "time", "%", "", right=range(1, 3))
    kernels = sorted(trace.kernels, key=lambda one: -one.time_us)
    total = sum(one.time_us for one in kernels)
    for one in kernels[:top]:
        share = percent(part_of(one.time_us, total))
        length = bar(one.time_us, kernels[0].time_us)
        rows.add_row(one.name, microseconds(one.time_us), share, length)
    return rows


def comparison(rows: Sequence[Row]) -> Table:
    """Several models: latency, what it takes above the first, and what FLOPs would say of that."""
    devices = {row.device for row in rows}
    own = ("device",) if len(devices) > 1 else ()
    runtimes = {row.trace.runtime for row in rows}
    by = ("runtime",) if len(runtimes) > 1 else ()
    asked = ("precision", "in it") if len({row.trace.precision for row in rows}) > 1 else ()
    first = 2 + len(own) + len(by) + len(asked)
    drawn = ("energy", "%", "95 %") if any(row.trace.power for row in rows) else ()
    found = next((row.difference for row in rows if row.difference), None)
    interval = "" if found is None else interval_title(found)
    grid = table(
        "model", "variant", *own, *by, *asked, "params", "MACs", "kernels", "latency", "above", "%",
        interval, "", *drawn,
        right=[*range(first, first + 7), *range(first + 8, first + 8 + len(drawn))],
    )  # fmt: skip
    most = max((row.difference.percent for row in rows if row.difference), default=0.0)
    for row in rows:
        whole = row.attribution.whole
        grid.add_row(
            row.trace.name,
            row.trace.variant,
            *((row.device,) if own else ()),
            *((RUNTIMES[row.trace.runtime],) if by else ()),
            *((row.trace.precision, row.computed_in) if asked else ()),
            count(whole.params),
            count(whole.macs),
            str(len(row.trace.kernels)),
            _with_interval(row.trace),
            *_differs(row.difference, most),
            *(_drawn(row) if drawn else ()),
        )
    return grid


def by_batch(rows: Sequence[Row], drawn: Sequence[Curve]) -> Iterator[RenderableType]:
    """Models at several batches: latency, throughput, energy and memory, by batch."""
    from rich.text import Text

    devices = {one.device for one in drawn}
    for one in drawn:
        where = f" on {one.device}" if len(devices) > 1 else ""
        weights = size(rows[one.points[0].place].trace.weights_bytes)
        yield Text.assemble((f"{one.label}{where}", "bold"), f", weights {weights}")
        said = dict(by_batch_of(one, rows))
        made = table(*said, right=range(len(said)))
        for figures, point in zip(zip(*said.values(), strict=True), one.points, strict=True):
            made.add_row(*figures, style="bold" if point is one.best else None)
        yield made
        yield Text(one.summary)


def fastest(contests: Sequence[Contest]) -> Iterator[RenderableType]:
    """Which runtime, and which precision, is the fastest: of each model, and of all together."""
    from rich.text import Text

    for (_, ways), some in groupby(contests, lambda one: (one.of, one.ways)):
        group = list(some)
        rows = table(
            group[0].of, *map(title_of, ways), "fastest", "by", "95 %",
            right=[*range(1, 1 + len(ways)), 2 + len(ways)],
        )  # fmt: skip
        for one in group:
            rows.add_row(
                one.label,
                *(
                    " ".join(filter(None, [_ms(entry), "" if k == 0 else f"{entry.ratio:.2f}×"]))
                    for k, entry in enumerate(one.entries)
                ),
                title_of(one.fastest) if one.is_decided else "-",
                f"{one.lead:.2f}×",
                "{:.2f} … {:.2f}".format(*one.ci95),
                style=None if one.model else "bold",
            )
        yield ""
        yield rows
    yield from (Text(one.verdict, style="bold") for one in summaries(contests))


def _ms(entry: Entry) -> str:
    return "" if entry.latency_ms is None else milliseconds(entry.latency_ms)


def interval_title(difference: Difference) -> str:
    """Return what the interval of a difference is called."""
    return "95 %" if difference.predicted90 is None else "90 %, predicted"


def _differs(difference: Difference | None, most: float) -> tuple[str, str, str, str]:
    """Write a difference: in ms, in per cent, its interval, and a bar."""
    if difference is None:
        return "", "", "", ""
    interval = "" if difference.bounds is None else "{:+.1f} … {:+.1f}".format(*difference.bounds)
    above = milliseconds(difference.p50_ms)
    return above, f"{difference.percent:+.1f}", interval, bar(max(difference.percent, 0.0), most)


def _drawn(row: Row) -> tuple[str, str, str]:
    """Write the energy of an inference, and how it differs, in per cent, with its interval."""
    energy = millijoules(row.trace.power.energy_mj) if row.trace.power else "-"
    if row.energy is None:
        return energy, "", ""
    return energy, f"{row.energy.percent:+.1f}", "{:+.1f} … {:+.1f}".format(*row.energy.ci95)


def footing(row: Row) -> Iterator[RenderableType]:
    """Return what the figures rest on: coverage, reconciliation, warnings, notes."""
    from rich.text import Text

    attribution = row.attribution
    known = attribution.reconciliation
    covered = ", ".join(
        f"{percent(part_of(attribution.coverage_us[status], attribution.time_us))} {status}"
        for status in STATUSES
    )
    sums = (
        f"kernels {microseconds(known.sum_us)}, end to end {microseconds(known.end_to_end_us)},"
        f" gap {microseconds(known.gap_us)}. {known.cause}"
    )
    yield columns([("coverage", covered), ("adds up", sums), *_watched(row.trace)])
    for warning in row.trace.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    for note in row.trace.notes:
        yield f"note: {note}"


def _watched(trace: Trace) -> Iterator[tuple[str, str]]:
    """Say how a host was while it measured."""
    facts = trace.machine.facts
    if said := [f"{name} {facts[name]}" for name in _WATCHED if name in facts]:
        yield "watched", "; ".join(said)


def bar(value: float, most: float) -> str:
    """Draw a bar, in eighths of a character."""
    eighths = round(8 * _BAR * value / most) if most > 0 else 0
    full, rest = divmod(max(eighths, 0), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _figures(cost: Cost) -> tuple[str, ...]:
    is_free = not cost.flops_predicted_us
    return (
        count(cost.params),
        count(cost.macs),
        count(cost.element_ops),
        size(cost.traffic_bytes),
        str(cost.launches),
        microseconds(cost.floor_us),
        microseconds(cost.time_us),
        "0" if is_free and cost.flops_predicted_us is not None
        else microseconds(cost.flops_predicted_us),
        ratio(cost.hidden_cost_factor) if cost.flops_predicted_us is not None else "-",
        microseconds(cost.marginal_us),
        microseconds(cost.broken_fusion_us),
    )  # fmt: skip


def _latency(trace: Trace) -> str:
    found = trace.latency_ms
    if trace.evidence == "predicted":
        return _with_interval(trace)
    figures: Iterable[tuple[str, float | None]] = (
        ("p50", found.p50), ("p90", found.p90), ("p99", found.p99), ("min", found.min),
    )  # fmt: skip
    said = [f"{milliseconds(value)} {name}" for name, value in figures if value is not None]
    if (bounds := samples.spread(trace)) is not None:
        said[0] += " (95 %: {} … {})".format(*map(milliseconds, bounds))
    if found.cv is not None:
        said.append(f"cv {percent(found.cv)}, {len(found.samples)} runs")
    return " · ".join(said)


def _power(trace: Trace) -> Iterator[tuple[str, str]]:
    """Say what was drawn; or that it is not to be had, where it was asked for."""
    power = trace.power
    if power is None:
        if "power" in trace.machine.facts:
            yield "power", trace.machine.facts["power"]
        return
    idle = "" if power.idle_w is None else f", {power.idle_w:.3g} W of it idle"
    above = (
        "" if power.above_idle_mj is None else f", {millijoules(power.above_idle_mj)} above idle"
    )
    yield "power", f"{power.mean_w:.3g} W{idle} · {power.rail}, {power.covers}, by {power.source}"
    yield "energy", f"{millijoules(power.energy_mj)} an inference{above}"


def _above_in_energy(energy: EnergyDifference) -> str:
    low, high = energy.ci95
    return (
        f"{more_millijoules(energy.mj)}, {energy.percent:+.1f} % (95 %: {low:+.1f} … {high:+.1f} %)"
    )


def _with_interval(trace: Trace) -> str:
    value = milliseconds(trace.latency_ms.p50)
    if trace.interval_ms is None:
        return value
    low, high = trace.interval_ms
    return f"{value} ({milliseconds(low)} … {milliseconds(high)})"


def _above(difference: Difference | None) -> str:
    if difference is None:
        return "not run together"
    interval = ""
    if difference.bounds is not None:
        low, high = difference.bounds
        interval = f" ({interval_title(difference)}: {low:+.1f} … {high:+.1f} %)"
    return f"{difference.p50_ms:+.3g} ms, {difference.percent:+.1f} %{interval}"
