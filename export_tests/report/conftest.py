"""The browser that pages are opened in: one for all tests of a worker."""

from __future__ import annotations

import pytest

from edgeattn.report import sweep_page
from edgeattn.report.html import render
from edgeattn.report.sweep import sweep_of
from export_tests.report import browser as browsers
from export_tests.report import sweeps
from export_tests.report.traces import report

# Resolves once all pictures in sight are drawn.
DRAWN = """
new Promise(done => {
  const places = document.getElementById("places");
  const look = () =>
    places?.getAttribute("aria-busy") === "true" ? requestAnimationFrame(look) : done();
  requestAnimationFrame(() => requestAnimationFrame(look));
})
"""


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    if browsers.path() is None:
        pytest.skip("no Chromium is installed")
    started = browsers.Browser(tmp_path_factory.mktemp("profile"))
    yield browsers.Page(started)
    started.close()


@pytest.fixture
def shown(tab, tmp_path):
    """Opens a report of traces as a page: `shown(trace(), width=360)`."""

    def show(*traces, **how):
        file = tmp_path / "page.html"
        file.write_text(render(report(*traces)), encoding="utf-8")
        tab.open(file, **how)
        return tab

    return show


@pytest.fixture
def swept(tab, tmp_path):
    """Opens a sweep as a page: `swept(sweeps.rows(), {"job": "reason"}, width=360)`."""

    def show(rows=None, failed=(), **how):
        file = tmp_path / "page.html"
        found = sweep_of(list(sweeps.rows() if rows is None else rows), dict(failed))
        file.write_text(sweep_page.render(found), encoding="utf-8")
        tab.open(file, **how)
        if how.get("script", True):
            tab.run(DRAWN)
        return tab

    return show
