"""The browser that pages are opened in: one for all tests of a worker."""

from __future__ import annotations

import pytest

from edgeattn.report.html import render
from export_tests.report import browser as browsers
from export_tests.report.traces import report


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
