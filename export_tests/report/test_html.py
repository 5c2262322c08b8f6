"""The page's text: whole in one file, safe whatever names it holds, and honest."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from edgeattn.base.legible import legible
from edgeattn.records.trace import Identity
from edgeattn.report.html import render
from export_tests.report.traces import HOSTILE, above, kernel, plain, report, trace


class Elements(HTMLParser):
    """The elements of a page, and the text of those that hold nothing else."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.texts = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.found:
            self.texts[len(self.found) - 1] = self.texts.get(len(self.found) - 1, "") + data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def hostile():
    """A trace in which every name is hostile."""
    known = trace(HOSTILE, site=HOSTILE.replace("/", ""))
    machine = known.machine.model_copy(update={"title": HOSTILE, "facts": {HOSTILE: HOSTILE}})
    return known.model_copy(
        update={
            "model": HOSTILE, "machine": machine, "warnings": (HOSTILE,), "notes": (HOSTILE,),
            "command": HOSTILE, "versions": {HOSTILE: HOSTILE}, "sha256": {HOSTILE: HOSTILE},
            "variant": HOSTILE, "runtime_version": HOSTILE,
            "kernels": tuple(
                one.model_copy(update={"name": f"{one.name}{HOSTILE}", "op": HOSTILE})
                for one in known.kernels
            ),
            "sites": tuple(one.model_copy(update={"attention": HOSTILE}) for one in known.sites),
        }
    )  # fmt: skip


def text_of(page):
    """What a page says, markup and scripts left out, in one line."""
    body = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).strip()


def test_nothing_is_fetched_from_anywhere():
    page = render(report(plain(), trace()))
    assert not re.search(r"""(src|href|action|data|poster)\s*=\s*["']?(https?:|//)""", page)
    assert not re.search(r"url\(|@import", page)
    used = set(re.findall(r"https?://[^\"'\s)]+", page))
    assert used == {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}


def test_the_policy_lets_our_own_scripts_and_styles_run_and_no_more():
    policies = [one for one in Elements(render(report())).of("meta") if "http-equiv" in one]
    (policy,) = [one["content"] for one in policies]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2


def test_hostile_names_add_no_element_and_no_attribute():
    tame, wild = (Elements(render(report(one))) for one in (trace(warnings=("w",)), hostile()))
    assert {tag for tag, _ in wild.found} <= {tag for tag, _ in tame.found}
    assert len(wild.of("script")) == len(tame.of("script")) == 2
    names = {name for _, attributes in tame.found for name in attributes}
    assert {name for _, attributes in wild.found for name in attributes} <= names


def test_the_data_is_json_that_cannot_end_its_element():
    page = render(report(hostile()))
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    assert not set(data) & set("<>&")
    assert legible(page) == page
    assert any(legible(HOSTILE) in text for text in json.loads(data)["strings"])


def test_the_headline_makes_the_point():
    identity = Identity(kernels=(), difference=above(31.5), replaced=(), kept={})
    page = render(report(trace(identity=identity)))
    (headline,) = re.findall(r"<h1>(.*?)</h1>", page)
    assert text_of(headline) == "simam at 2 sites: 0 parameters, 0 MACs, +31.5 % latency"
    assert "95 % interval +28.5 to +34.5 %" in text_of(page)


def test_every_section_says_whether_it_is_measured():
    for one, evidence in ((trace(), "measured"), (trace(predicted=True), "predicted")):
        page = render(report(one))
        sections = re.findall(r"<h2[^>]*>.*?</h2>", page)
        assert len(sections) == 8
        assert all(f'<span class="badge {evidence}">{evidence}</span>' in one for one in sections)


def test_a_prediction_shows_its_interval():
    said = text_of(render(report(trace(predicted=True))))
    assert "interval 328 µs to 492 µs" in said


def test_measured_and_predicted_never_share_a_table():
    page = render(report(plain(), trace("a"), trace("b", predicted=True)))
    tables = re.findall(r'<table class="models">.*?</table>', page, re.DOTALL)
    assert len(tables) == 2
    assert "net plain" in tables[0]
    assert "b</a>" in tables[1]
    assert "b</a>" not in tables[0]


def test_a_plan_for_another_device_says_so_at_once():
    machine = trace().machine.model_copy(update={"not_for": "It was built for sm_86."})
    page = render(report(plain(), trace(machine=machine)))
    assert page.count("It was built for sm_86.") == 1
    assert "not for this device" in page
    assert page.index('class="not-for"') < page.index('data-picture="hidden-cost" data-row="1"')


def test_warnings_and_notes_are_all_said():
    page = text_of(render(report(trace(warnings=("It was loud.", "It was hot."), notes=("So.",)))))
    for said in ("It was loud.", "It was hot.", "So."):
        assert said in page


def test_the_table_of_sites_has_all_sites_and_the_whole():
    page = render(report())
    (table,) = re.findall(r'<table class="sites">.*?</table>', page, re.DOTALL)
    lines = [text_of(line) for line in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    assert [line.split()[0] for line in lines[1:]] == [
        "layer1.0.attention", "layer2.0.attention", "all", "whole",
    ]  # fmt: skip
    assert "110 µs 26.8 % 0 ∞" in lines[3]


def test_what_it_rests_on_is_said():
    said = text_of(render(report(trace(), command="edgeattn report x.json")))
    for fact in ("net-simam.onnx", "0f" * 32, "1000 MHz", "edgeattn 0.1.0", "ONNX Runtime 1.2",
                 "edgeattn report x.json", "sum of kernels 410 µs", "end to end 430 µs",
                 "unattributable"):  # fmt: skip
        assert fact in said


def test_sites_that_no_identity_could_replace_are_named():
    identity = Identity(kernels=(), difference=None, replaced=(), kept={"layer1.0": "it resizes"})
    assert "layer1.0 (it resizes)" in text_of(render(report(trace(identity=identity))))


@pytest.mark.parametrize(
    "one",
    [
        plain(),
        trace(params=None, sites=(), identity=None),
        trace(kernels=()),
        trace(kernels=tuple(kernel(f"k{at}", "other", 1.0, [], traffic=None) for at in range(3))),
        trace(nodes=()),
        plain(latency_ms={"p50": 1.0}),
    ],
    ids=["no sites", "no parameters", "no kernels", "no bytes", "no nodes", "no samples"],
)
def test_what_is_not_known_is_left_out(one):
    assert "</html>" in render(report(one))


def test_a_large_report_is_small():
    known = trace()
    kernels = tuple(
        one.model_copy(update={"name": f"{one.name}-{at}"})
        for at in range(30)
        for one in known.kernels
    )
    rows = [trace(f"net-{at}", kernels=kernels) for at in range(13)]
    assert len(kernels) * 13 > 3000
    assert len(render(report(*rows)).encode()) < 1_000_000


def test_the_same_report_gives_the_same_page():
    assert render(report()) == render(report())
