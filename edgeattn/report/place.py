"""Where attention goes for a budget: on a terminal, as a page, and as a picture of cost by site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from edgeattn.base.legible import all_legible
from edgeattn.records.place import Placement, SetFigures
from edgeattn.records.trace import RUNTIMES
from edgeattn.report.grid import columns, table
from edgeattn.report.html import page_of
from edgeattn.report.palette import BACKBONE, SITE
from edgeattn.report.plots.canvas import (
    FOOT,
    HEAD,
    INK,
    SIDE,
    SOFT,
    axes_at,
    fitted,
    legend_at,
    text_at,
)
from edgeattn.report.table import bar
from edgeattn.report.units import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

_INCHES_WIDE: Final = 9.0
_LEFT: Final = 2.6
_RIGHT: Final = 1.6
_PITCH: Final = 0.24
_LEGEND: Final = 0.3
_CHOSEN: Final = "●"
_BY: Final = {"sites": "as many sites as fit", "parameters": "as many parameters as fit",
              "scores": "the highest scores that fit"}  # fmt: skip


def headline(found: Placement) -> str:
    """Return the point in one line."""
    subject = f"{found.attention} on {found.model} within {found.budget}"
    if found.chosen is None:
        return f"{subject}: no site fits"
    number = f"{len(found.chosen.sites)} of {len(found.sites)} sites"
    return f"{subject}: {number}, {above(found.chosen)}, {milliseconds(found.chosen.latency_ms)}"


def ground(found: Placement) -> str:
    """Return whether figures are measured or predicted, on what, and by what."""
    mode = f", {found.power_mode}" if found.power_mode else ""
    by = f"{RUNTIMES[found.runtime]} {found.runtime_version}"
    return f"{found.evidence} on {found.title}{mode}, {by}"


def sums(found: Placement) -> str:
    """Return what all sites cost together, and what they would by themselves."""
    alone = sum(site.alone.above_ms for site in found.sites)
    return (
        f"{above(found.whole)}, {milliseconds(found.whole.above_ms)};"
        f" by themselves they add up to {milliseconds(alone)}"
    )


def above(figures: SetFigures) -> str:
    """Return what a set takes above the plain model, with its interval."""
    return f"{figures.above_percent:+.1f} %{interval(figures)}"


def interval(figures: SetFigures) -> str:
    """Return between what bounds that lies, in brackets; "" if it is not known."""
    bounds = figures.above_interval_percent
    return "" if bounds is None else f" [{bounds[0]:+.1f}, {bounds[1]:+.1f}]"


def tried(found: Placement) -> list[SetFigures]:
    """Return the sets of several sites that were run or predicted, the largest first."""
    return sorted(
        (one for one in found.sets if len(one.sites) > 1),
        key=lambda one: (-len(one.sites), one.above_ms),
    )


def lines(found: Placement) -> Iterator[RenderableType]:
    """Return what is printed: the point, the sites, the sets."""
    from rich.text import Text

    found = to_show(found)
    yield Text(headline(found), style="bold red")
    yield ground(found)
    facts = [("plain", milliseconds(found.plain.latency_ms)), ("all sites", sums(found)),
             ("chosen", _BY[found.by])]  # fmt: skip
    yield columns(facts)
    yield ""
    yield _sites(found)
    yield ""
    yield _sets(found)
    yield ""
    for warning in found.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    for note in found.notes:
        yield f"note: {note}"


def _sites(found: Placement) -> RenderableType:
    is_scored = found.by == "scores"
    rows = table(
        "", "site", "C×H×W", "parameters", *(["score"] if is_scored else []), "alone", "%",
        "interval", "beside all", "", right=(3, 4, 5, 6, 7, 8)[: 5 + is_scored],
    )  # fmt: skip
    most = _most(found)
    for site in found.sites:
        mark = "kept" if site.is_kept else _CHOSEN if site.is_chosen else ""
        rows.add_row(
            mark,
            site.path,
            "×".join(map(str, site.shape)),
            f"{site.params:,}",
            *([f"{site.value:g}"] if is_scored else []),
            milliseconds(site.alone.above_ms),
            f"{site.alone.above_percent:+.2f}",
            interval(site.alone).strip(),
            "-" if site.beside_all_ms is None else milliseconds(site.beside_all_ms),
            bar(max(0.0, site.alone.above_ms), most),
            style="bold" if site.is_chosen else "dim",
        )
    return rows


def _sets(found: Placement) -> RenderableType:
    rows = table("set", "latency", "above plain", "%", "interval", "sites", right=(1, 2, 3))
    chosen = [] if found.chosen is None else [("the set, checked", found.chosen)]
    for name, one in [*chosen, *((f"{len(one.sites)} sites", one) for one in tried(found))]:
        rows.add_row(
            name,
            milliseconds(one.latency_ms),
            milliseconds(one.above_ms),
            f"{one.above_percent:+.2f}",
            interval(one).strip(),
            members(found, one),
            style="bold" if one is found.chosen else None,
        )
    return rows


def members(found: Placement, figures: SetFigures) -> str:
    """Return the sites of a set, or those that are not in it where that is shorter."""
    others = [site.path for site in found.sites if site.path not in figures.sites]
    if not others:
        return "all"
    if len(others) < len(figures.sites):
        return f"all but {', '.join(others)}"
    return ", ".join(figures.sites)


def _most(found: Placement) -> float:
    costs = [one for site in found.sites for one in (site.alone.above_ms, site.beside_all_ms or 0)]
    return max(*costs, 1e-9)


def to_show(found: Placement) -> Placement:
    """Return it with names that can be shown, on a terminal, in HTML and in SVG."""
    return Placement.model_validate(all_legible(found.model_dump()))


def render(found: Placement) -> str:
    """Render it as one HTML file, of which no part is fetched."""
    found = to_show(found)
    return page_of(
        "place.html.jinja",
        scripts=(),
        data={},
        title=f"{found.model} with {found.attention}",
        headline=headline(found),
        command=found.command,
        found=found,
        ground=ground(found),
        sums=sums(found),
        by=_BY[found.by],
        most=_most(found),
        tried=tried(found),
        above=above,
        interval=interval,
        members=members,
    )


def picture(found: Placement) -> Figure:
    """Draw the cost of each site: by itself, and beside all others."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found = to_show(found)
    height = _PITCH * len(found.sites)
    room = Figure(figsize=(_INCHES_WIDE, HEAD + _LEGEND + height + FOOT + 0.3), facecolor="white")
    inside = _INCHES_WIDE - 2 * SIDE
    text_at(room, SIDE, 0.2, fitted(headline(found), inside, 12), fontsize=12, weight="bold")
    text_at(room, SIDE, 0.44, fitted(ground(found), inside, 8.5), fontsize=8.5, color=SOFT)
    text_at(room, SIDE, 0.62, fitted(f"all sites {sums(found)}", inside, 8.5), fontsize=8.5,
            color=SOFT)  # fmt: skip
    axes = axes_at(room, left=_LEFT, top=HEAD + _LEGEND, right=_RIGHT, height=height)
    marks = [
        Patch(color=SITE.light, label="alone, chosen"),
        Patch(color=BACKBONE.light, label="alone, not chosen"),
        Line2D([], [], color=INK, marker="|", lw=0, ms=9, mew=1.6, label="beside all other sites"),
    ]
    legend_at(room, marks, top=HEAD - 0.08)
    _draw_bars(axes, found)
    return room


def _draw_bars(axes: Axes, found: Placement) -> None:
    sites = found.sites
    for place, site in enumerate(sites):
        colour = SITE.light if site.is_chosen else BACKBONE.light
        axes.barh(place, site.alone.above_ms, height=0.62, color=colour)
        beside = site.beside_all_ms
        if beside is not None:
            axes.plot([beside], [place], color=INK, marker="|", ms=10, mew=1.6)
        end = max(0.0, site.alone.above_ms, beside or 0.0)
        said = f"  {milliseconds(site.alone.above_ms)}, {site.alone.above_percent:+.1f} %"
        axes.text(end, place, said, va="center", size=7.5, color=SOFT)
    axes.axvline(0, color=SOFT, lw=0.8)
    axes.set(ylim=(len(sites) - 0.5, -0.5), xlabel=f"above the plain model, ms, {found.evidence}")
    axes.set_yticks(range(len(sites)), [fitted(one.path, _LEFT - SIDE, 8) for one in sites])
    axes.tick_params("y", length=0)
    axes.spines["left"].set_visible(False)
