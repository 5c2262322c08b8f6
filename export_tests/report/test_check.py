"""A check's page: what was found, by module, and where along the network a DLA runs."""

from __future__ import annotations

import re

import pytest

from edgeattn.cli import app
from edgeattn.records.check import Checked, Stretch
from edgeattn.report.check import groups, lines, places, render
from export_tests.foreign import net
from export_tests.report.checks import checked, strip
from export_tests.report.test_page import contrast
from export_tests.report.test_place import Elements
from export_tests.report.traces import HOSTILE


def test_findings_that_say_the_same_are_one_with_all_its_places():
    found = groups(checked().findings)
    assert [(one[0].verdict, len(one)) for one in found] == [("no", 2), ("unknown", 1), ("yes", 1)]
    assert places([*found[0], found[0][1]]) == [
        ("layer1.0.attention", "layer1.0.attention", ["layer1.0.attention/ReduceMean_0"]),
        ("layer2.0", "", ["a", "b", "a", "b"]),
    ]
    assert places(found[1]) == []


def test_a_strip_has_a_line_for_each_part_of_the_network():
    found = lines(strip())
    assert [line.name for line in found] == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert [line.nodes for line in found] == [3, 26, 26, 26, 26, 2]
    assert found[1].changes == (3, 6)
    assert sum(line.changes[0] for line in found) == sum(one.changes for one in strip())
    inner = tuple(
        one.model_copy(update={"module": one.module and f"model.{one.module}"}) for one in strip()
    )
    assert [line.name for line in lines(inner)][1:3] == ["model.layer1", "model.layer2"]
    flat = [Stretch(side="dla", module="", site="", nodes=9)]
    assert [(line.name, line.nodes) for line in lines(flat)] == [("", 9)]
    assert lines(()) == []
    # A part that the network comes back to has a line of its own; at once after itself, none.
    back = [Stretch(side="gpu", module=name, site="", nodes=1) for name in "aabacd"]
    assert [line.name for line in lines(back)] == [*"abacd"]
    many = [Stretch(side="dla", module="ab"[n % 2], site="", nodes=2) for n in range(399)]
    assert 20 < len(lines(many)) <= 41
    assert sum(line.nodes for line in lines(many)) == 2 * 399


@pytest.mark.parametrize(
    "found", [checked(), checked(HOSTILE), checked(dla=None), checked(findings=(), operators=())]
)
def test_names_are_shown_and_obeyed_by_none(found):
    page = render(found)
    elements = Elements()
    elements.feed(page)
    assert elements.scripts == 2
    assert "onclick" not in elements.attributes
    assert "\x1b" not in page
    text = re.sub(r"<[^>]*>", "", page)
    assert "will not run" in text
    assert ("On the DLA, and off it" in text) is (found.dla is not None)
    assert ("Nothing speaks against it." in text) is (not found.findings)


def test_it_says_what_runs_where_and_what_to_do():
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", render(checked())))
    for said in (
        "JetPack 5.1, TensorRT 8.5.2, in fp16",
        "14 to 22",
        "1.2 MB to 3.4 MB",
        "12 µs to 90 µs, predicted",
        "Lower it: --target dla",
        "1 of 2 are taken",
        "layer1.0.attention: 1 node on the GPU, 1 value from the other side",
        "known trap",
    ):
        assert said in text, said
    assert "layer1.0.conv1 " not in text  # a module that is on the DLA whole has no row


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_every_width_and_stands_out_in_the_dark(tab, tmp_path, dark):
    file = tmp_path / "page.html"
    file.write_text(render(checked(HOSTILE)), encoding="utf-8")
    for width in (1280, 360):
        tab.open(file, width=width, dark=dark)
        assert tab.run("document.documentElement.scrollWidth") == width
        assert tab.seen("Log.entryAdded") == []
        assert tab.seen("Runtime.exceptionThrown") == []
    paper = tab.run("getComputedStyle(document.body).backgroundColor")
    for side in ("dla", "gpu", "unknown"):
        fill = tab.run(f"getComputedStyle(document.querySelector('.line rect.{side}')).fill")
        assert contrast(*(list(map(int, re.findall(r"\d+", one))) for one in (fill, paper))) >= 3
    for kind in ("no", "unknown", "but"):
        ink, under = (
            tab.run(f"getComputedStyle(document.querySelector('.verdict.{kind}')).{name}")
            for name in ("color", "backgroundColor")
        )
        assert contrast(*(list(map(int, re.findall(r"\d+", one))) for one in (ink, under))) >= 4.5


def test_a_page_is_made_again_of_what_was_saved(tmp_path, capsys):
    path, page = tmp_path / "c.json", tmp_path / "c.html"
    path.write_text(checked().model_dump_json())
    assert (
        app.run(["report", str(path), "--report", str(page), "-o", str(tmp_path / "d.json")]) == 0
    )
    assert (
        "NO: resnet50 layer will not run whole on the DLA of the Jetson" in capsys.readouterr().out
    )
    assert page.read_text() == render(checked())
    assert Checked.model_validate_json((tmp_path / "d.json").read_text()) == checked()
    for more, said in (
        ([str(path)], "is of a model for a device, and stands alone"),
        (["--figure", str(tmp_path / "c.svg")], "--figure is for traces, and a check keeps none"),
        (["--fail-above", "3%"], "--fail-above is not for a check"),
        (["--report", str(path)], "read from"),
    ):
        assert app.run(["report", str(path), *more]) == 2
        assert said in capsys.readouterr().err


def test_check_writes_its_page(tmp_path, capsys):
    file, page = net(tmp_path / "net.onnx"), tmp_path / "net.html"
    asked = ["check", str(file), "--device", "jetson-agx-orin-64gb", "--dla", "--report", str(page)]
    assert app.run([*asked, "--tensorrt", "8.5.2"]) == 1
    text = page.read_text()
    assert "On the DLA, and off it" in text
    assert 'class="gpu"' in text
    capsys.readouterr()
    assert app.run([*asked, "-o", str(page)]) == 2
    assert "named for two things" in capsys.readouterr().err
