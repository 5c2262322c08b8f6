"""Where attention goes, as it is shown: on a terminal, as a page, and as a picture."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from edgeattn.cli import app
from edgeattn.records.place import Placement, SetFigures, SiteFigures
from edgeattn.report import place as reports
from edgeattn.report.figures import saved
from export_tests.report.traces import HOSTILE


class Elements(HTMLParser):
    """Counts a page's scripts, and collects the names of all attributes."""

    def __init__(self):
        super().__init__()
        self.scripts, self.attributes = 0, set()

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attrs}


def figures(*sites, percent):
    return SetFigures(
        sites=sites, latency_ms=5 + percent / 20, latency_interval_ms=None,
        above_ms=percent / 20, above_percent=percent,
        above_interval_percent=(percent - 1, percent + 1) if sites else None,
    )  # fmt: skip


def placement(name="layer", **changes):
    paths = [f"{name}{n}.attention" for n in range(4)]
    made = Placement(
        model="timm:resnet18", attention=name, budget="+5 %", by="scores", evidence="predicted",
        runtime="tensorrt-rtx", runtime_version="1.7", device="jetson", title=f"Orin {name}",
        power_mode="15W", plain=figures(percent=0), whole=figures(*paths, percent=9),
        sites=tuple(
            SiteFigures(
                path=path, target=f"{name}{n}.bn2", shape=(64, 8, 8), params=10 * n, value=n,
                is_kept=n == 3, is_chosen=n > 0, alone=figures(path, percent=n - 0.5), like="",
                beside_all_ms=None if n == 2 else 0.1 * n,
            )
            for n, path in enumerate(paths)
        ),
        sets=(figures(percent=0), figures(*paths, percent=9), figures(*paths[:1], percent=1)),
        chosen=figures(*paths[1:], percent=4.5), is_sure=False, at="x", versions={},
        export=f"edgeattn export resnet18 --at {name}", command="edgeattn place",
        warnings=(f"not {name}",), notes=(f"so {name}",),
    )  # fmt: skip
    return made.model_copy(update=changes)


def printed(found):
    from rich.console import Console

    console = Console(width=200, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        for line in reports.lines(found):
            console.print(line)
    return captured.get()


def test_the_point_and_every_site_is_told():
    text = printed(placement())
    assert "within +5 %: 3 of 4 sites, +4.5 % [+3.5, +5.5], 5.22 ms" in text
    assert "predicted on Orin layer, 15W, TensorRT-RTX 1.7" in text
    assert "+9.0 % [+8.0, +10.0], 450 µs; by themselves they add up to 200 µs" in text
    rows = [line.split() for line in text.splitlines() if ".attention" in line]
    assert rows[0][:2] == ["layer0.attention", "64×8×8"]
    assert rows[1][0] == "●"
    assert rows[3][0] == "kept"
    assert "all but layer0.attention" in text
    assert "no site fits" in printed(placement(chosen=None))


@pytest.mark.parametrize("found", [placement(), placement(HOSTILE), placement(chosen=None)])
def test_pages_and_pictures_show_names_and_obey_none(found, tmp_path):
    page = reports.render(found)
    elements = Elements()
    elements.feed(page)
    assert elements.scripts == 2  # the data's, which is empty, and the page's
    assert "onclick" not in elements.attributes
    assert "3.attention" in page
    for name in ("a.svg", "b.svg", "c.png"):
        saved(lambda: reports.picture(found), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_report_is_made_again_of_what_was_saved(tmp_path, capsys):
    path, page, drawn = tmp_path / "p.json", tmp_path / "p.html", tmp_path / "p.svg"
    path.write_text(placement().model_dump_json())
    assert app.run(["report", str(path), "--report", str(page), "--figure", str(drawn)]) == 0
    assert "3 of 4 sites" in capsys.readouterr().out
    assert page.read_text() == reports.render(placement())
    assert drawn.read_bytes().startswith(b"<?xml")
    for more, said in (
        ([str(path)], "stands alone"),
        (["--trace", str(tmp_path / "t.json")], "--trace is for traces, and what place found"),
        (["--fail-above", "3%"], "--fail-above is not for what place found"),
        (["-o", str(path)], "read from"),
    ):
        assert app.run(["report", str(path), *more]) == 2
        assert said in capsys.readouterr().err
    path.write_text(placement(schema_version=2).model_dump_json())
    assert app.run(["report", str(path)]) == 2
    assert "has schema version 2, and this edgeattn reads 1" in capsys.readouterr().err
