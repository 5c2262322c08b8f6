"""What a sweep's page takes: to make, to open, and for a filter, until what it leaves is painted.

python benchmarks/sweep_page.py [--rows 10000] [--runs 5]

Rows are made, 20 attentions on ten backbones for five devices; the browser is Chromium.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgeattn.report.sweep import sweep_of
from edgeattn.report.sweep_page import render
from export_tests.report.browser import Browser, Page
from export_tests.report.sweeps import rows

# What a page may take.
_MOST_READY_S: Final = 2.0
_MOST_FILTER_S: Final = 0.1
# Each filter: how it is set, by the page's own controls.
_TYPED: Final = (
    "const field = document.querySelector('.filters input[type={kind}]');"
    " field.value = '{value}'; field.dispatchEvent(new Event('input'));"
)
_FILTERS: Final = {
    "find simam": _TYPED.format(kind="search", value="simam"),
    "find s": _TYPED.format(kind="search", value="s"),
    "find nothing more": _TYPED.format(kind="search", value=""),
    "at most 2 ms": _TYPED.format(kind="number", value="2"),
    "at most anything": _TYPED.format(kind="number", value=""),
    "one attention": "document.querySelectorAll('.facet')[1].querySelector('input').click();",
    "all attentions": "document.querySelectorAll('.facet')[1].querySelector('input').click();",
    "sort by model": "document.querySelector('.sweep-table thead button').click();",
    "scroll": "document.querySelector('.sweep-rows').scrollTop += 60000;",
}
# What lies in a reader's sight while filters are set: the table, and pictures of a device.
_PLACES: Final = {
    "table": "scrollTo(0, 0)",
    "pictures": "document.querySelector('.place:not([hidden]) .heats').scrollIntoView()",
    "sites": "document.querySelector('.place:not([hidden]) .site-costs').scrollIntoView()",
}
# When a frame with the table is painted, and when pictures in sight are drawn too.
_PAINTED: Final = """
new Promise(done => {
  const began = performance.now();
  const painted = (then) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(0);
  });
  const drawn = (table) => document.getElementById("places").getAttribute("aria-busy") === "true"
    ? painted(() => drawn(table)) : painted(() => done([table, performance.now() - began]));
  painted(() => drawn(performance.now() - began));
  %s
})
"""


def main() -> None:
    """Make a page, open it several times, set its filters, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="how many rows the page has")
    parser.add_argument("--runs", type=int, default=5, help="how often the page is opened")
    asked = parser.parse_args()
    made = islice(rows(backbones=10, attentions=20, devices=5, places=5), asked.rows)
    found = sweep_of(list(made), {})
    began = time.perf_counter()
    page = render(found)
    render_s = time.perf_counter() - began
    sites = sum(len(row.sites) for row in found.rows)
    print(
        f"{len(found.rows)} rows, {sites} sites: {len(page.encode()) / 1e6:.2f} MB,"
        f" rendered in {render_s:.2f} s"
    )
    ready_ms: list[float] = []
    taken_ms: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            file = Path(folder) / "page.html"
            file.write_text(page, encoding="utf-8")
            browser = Browser(Path(folder) / "profile")
            try:
                tab = Page(browser)
                tab.open(file)
                ready_ms.append(tab.run(f"{_PAINTED % ''}.then(() => performance.now())"))
                for place, go in _PLACES.items():
                    tab.run(go)
                    time.sleep(1.0)
                    for name, act in _FILTERS.items():
                        took = tab.run(_PAINTED % act)
                        taken_ms.setdefault((place, name), []).append(took)
            finally:
                browser.close()
    print(f"opened and painted: {_said(ready_ms, _MOST_READY_S)}")
    for (place, name), took in taken_ms.items():
        table, pictures = zip(*took, strict=True)
        print(
            f"{name}, {place} in sight: table {_said(table, _MOST_FILTER_S)},"
            f" with pictures {_said(pictures)}"
        )


def _said(took_ms: Sequence[float], most_s: float = math.inf) -> str:
    too_much = "" if statistics.median(took_ms) <= 1e3 * most_s else ", TOO MUCH"
    return (
        f"{statistics.median(took_ms):.0f} ms ({min(took_ms):.0f} to {max(took_ms):.0f}){too_much}"
    )


if __name__ == "__main__":
    main()
