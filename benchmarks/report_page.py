"""How large a report's page is, and when it can be used: from the start of its navigation on.

python benchmarks/report_page.py TRACE.json… [--runs 5]
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from edgeattn.report.content import report_of
from edgeattn.report.html import render
from edgeattn.report.saved import read_saved

# Seconds and bytes that a page may take.
_MOST_READY_S: Final = 2.0
_MOST_BYTES: Final = 5_000_000
_FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom",
)  # fmt: skip


def main() -> None:
    """Make a page of each file, open it several times, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="+", type=Path, help="what profile or compare wrote")
    parser.add_argument("--runs", type=int, default=5, help="how often each page is opened")
    asked = parser.parse_args()
    for path in asked.traces:
        report = report_of(read_saved([path]))
        began = time.perf_counter()
        page = render(report)
        render_ms = 1e3 * (time.perf_counter() - began)
        size = len(page.encode())
        ready_ms = [ready(page) for _ in range(asked.runs)]
        is_met = size <= _MOST_BYTES and max(ready_ms) <= 1e3 * _MOST_READY_S
        kernels = sum(len(row.trace.kernels) for row in report.rows)
        print(
            f"{path.name}: {len(report.rows)} models, {kernels} kernels: {size / 1e3:.0f} kB,"
            f" rendered in {render_ms:.0f} ms, usable after {statistics.median(ready_ms):.0f} ms"
            f" ({min(ready_ms):.0f} to {max(ready_ms):.0f}){'' if is_met else ', TOO MUCH'}"
        )


def ready(page: str) -> float:
    """Open a page in a browser of its own, and gives the ms after which it was drawn."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [chromium, *_FLAGS, f"--user-data-dir={folder}/profile", file.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = re.search(r'<html[^>]* data-ready="(\d+)"', shown.stdout)
    if found is None:
        raise SystemExit(f"the page was not drawn: {shown.stderr}")
    return float(found[1])


if __name__ == "__main__":
    main()
