"""A report as one HTML file: it opens from disk, and asks no network for anything.

Tables are written here, and stand there without JavaScript too. Pictures, and the table of kernels,
are drawn by the page's own scripts. The page's policy lets these scripts and styles run, by their
hashes, and nothing else: whatever a model's nodes are called, they stay text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.versions import own_version
from edgeattn.profiling.attribution import STATUSES
from edgeattn.profiling.expectation import beside
from edgeattn.profiling.owners import Owned
from edgeattn.profiling.samples import spread
from edgeattn.profiling.sums import Sum
from edgeattn.records.trace import KIND_TITLES, RUNTIMES, Evidence
from edgeattn.report import memory, units
from edgeattn.report.beside import off
from edgeattn.report.content import Report, Row, to_show
from edgeattn.report.contest import summaries, title_of
from edgeattn.report.curves import columns, curves
from edgeattn.report.headline import excess, headline, headline_of, hidden_ms, share, subject
from edgeattn.report.page_data import page_data
from edgeattn.report.palette import BACKBONE, KINDS, PAPER, SITE, Colour

if TYPE_CHECKING:
    from jinja2 import Environment

#: So many kernels stand in the page for who has no JavaScript.
_KERNELS_WITHOUT_SCRIPT: Final = 25
# In the order in which they build on each other.
_STYLES: Final = ("page.css", "tables.css", "pictures.css")
_PRINT: Final = "print.css"
_SCRIPTS: Final = (
    "dom.js", "units.js", "tip.js", "hidden-cost.js", "icicle.js", "kinds.js", "roofline.js",
    "samples.js", "batches.js", "kernels.js", "main.js",
)  # fmt: skip


def render(report: Report) -> str:
    """Render a report as one HTML file, of which no part is fetched."""
    report = to_show(report)
    return page_of(
        "report.html.jinja",
        scripts=_SCRIPTS,
        data=page_data(report),
        title=report.title,
        command=report.command,
        report=report,
        subject=subject(report),
        headline=headline(report),
        groups=_by_evidence(report),
        summaries=summaries(report.contests),
        headlines=[headline_of(report, row) for row in report.rows],
        excess=[excess(report, row) for row in report.rows],
        expectations=[beside(row.trace) for row in report.rows],
        hidden=[hidden_ms(report, row) for row in report.rows],
        curves=curves(report.rows),
    )


def page_of(
    template: str, *, scripts: Sequence[str], styles: Sequence[str] = (), data: Any, **context: Any
) -> str:
    """Return a page, whole in one file.

    Args:
        template: The asset that fills `page.html.jinja`.
        scripts: The assets of its script, in the order in which they build on each other.
        styles: Assets of style that are its own.
        data: What they read, as JSON can say it.
        **context: What the templates read: `title`, `headline`, `command`, and what is their own.
    """
    style, script = _style(styles), _script(scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            version=own_version(),
            style=style,
            script=script,
            policy=_policy(style, script),
            data=in_script(data),
            **context,
        )
    )


def _by_evidence(report: Report) -> dict[Evidence, list[tuple[int, Row]]]:
    """Return the rows that are measured apart from those that are predicted, with their places."""
    found: dict[Evidence, list[tuple[int, Row]]] = {}
    for place, row in enumerate(report.rows):
        found.setdefault(row.trace.evidence, []).append((place, row))
    return found


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgeattn.report", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "count": units.count,
        "size": units.size,
        "us": units.microseconds,
        "ms": units.milliseconds,
        "mj": units.millijoules,
        "more_mj": units.more_millijoules,
        "ratio": units.ratio,
        "percent": units.percent,
        "share": share,
        "longest": _longest,
        "tied": _tied,
        "times": _times,
        "width": _width,
    }
    environment.globals |= {
        "kind_titles": KIND_TITLES,
        "runtimes": RUNTIMES,
        "statuses": STATUSES,
        "title_of": title_of,
        "part": units.part_of,
        "by_batch": columns,
        "memory_of": memory.told,
        "memory_facts": memory.of_one,
        "off": off,
        "spread": spread,
    }
    return environment


def _longest(kernels: Sequence[Owned]) -> list[Owned]:
    """Return the kernels that take most."""
    return sorted(kernels, key=lambda one: -one.kernel.time_us)[:_KERNELS_WITHOUT_SCRIPT]


def _tied(text: str) -> str:
    """Keep numbers and what they count in one line."""
    return re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", text)


def _times(sums: Sequence[Sum]) -> dict[str, float]:
    """Return sums' times by their names."""
    return {one.name: one.time_us for one in sums}


def _width(part: float) -> str:
    """Write a part of 1 as a bar's width, of 100."""
    return f"{100 * min(max(part, 0.0), 1.0):.2f}"


def _asset(name: str) -> str:
    return (resources.files("edgeattn.report") / "assets" / name).read_text(encoding="utf-8")


def _script(names: Sequence[str]) -> str:
    return "\n".join(['"use strict";', "{", *map(_asset, names), "}"])


def _style(own: Sequence[str]) -> str:
    light, dark = ("\n".join(_properties(theme)) for theme in ("light", "dark"))
    return "\n".join(
        [
            f":root {{\n{light}\n}}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{\n{dark}\n}} }}",
            *map(_asset, (*_STYLES, *own, _PRINT)),
        ]
    )


def _properties(theme: str) -> Iterator[str]:
    """Write the palette as custom properties."""
    named: dict[str, Colour] = {"paper": PAPER, "site": SITE, "backbone": BACKBONE}
    for name, colour in (named | {f"kind-{kind}": KINDS[kind] for kind in KINDS}).items():
        yield f"  --{name}: {getattr(colour, theme)};"


def _policy(style: str, script: str) -> str:
    """Write the content security policy: our style and our script, and no network at all."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def in_script(data: Any) -> str:
    """Write the data of scripts as JSON that cannot end the element that holds it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
