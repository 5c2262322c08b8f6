"""The page in a browser: what it draws, by pointer, by keyboard, at any width, in the dark."""

from __future__ import annotations

import json

import pytest

from export_tests.report.test_html import hostile
from export_tests.report.traces import kernel, plain, trace

STOPS = "[...document.querySelectorAll('a,button,input,select,summary,[tabindex=\"0\"]')]"


def names(page, column=1):
    cells = f".kernel-table tbody tr > :nth-child({column})"
    return page.run(f"[...document.querySelectorAll({json.dumps(cells)})].map(c => c.textContent)")


def search(page, text):
    page.run(
        "(() => { const field = document.querySelector('.find input');"
        f" field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input')); }})()"
    )


@pytest.fixture
def page(shown):
    return shown(plain(), trace("a"), trace("b", predicted=True))


def test_everything_is_drawn_and_nothing_is_asked_for(page):
    assert page.run("document.documentElement.dataset.ready") is not None
    pictures = page.run(
        "[...document.querySelectorAll('article:not([hidden]) figure')].map("
        "one => [one.dataset.picture, one.querySelectorAll('svg *').length])"
    )
    assert {name for name, _ in pictures} == {"hidden-cost", "icicle", "roofline", "samples"}
    assert all(number > 5 for _, number in pictures)
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.seen("Log.entryAdded") == []
    asked = [one["request"]["url"] for one in page.seen("Network.requestWillBeSent")]
    assert len(asked) == 1
    assert asked[0].startswith("file:")


def test_batches_are_drawn_and_say_what_they_are(shown):
    page = shown(*(trace("net", batch=batch) for batch in (1, 2, 4)))
    dots = page.run(
        "[...document.querySelectorAll('figure.batches [aria-label^=\"net, batch\"]')].map("
        "one => one.getAttribute('aria-label'))"
    )
    assert len(dots) == 2 * 3  # images a second, and latency
    assert dots[2].startswith("net, batch 4: latency 410 µs")
    assert "images a second 9,760" in dots[2]
    assert page.seen("Runtime.exceptionThrown") == []


def test_the_policy_stops_other_scripts_and_all_requests(page):
    assert page.run(
        "(() => { const script = document.createElement('script');"
        " script.textContent = 'window.ran = true'; document.body.append(script);"
        " return window.ran ?? false; })()"
    ) is False  # fmt: skip
    assert page.run("fetch('http://127.0.0.1:9/').then(() => 'went', () => 'stopped')") == "stopped"


def test_hostile_names_are_text(shown):
    page = shown(plain(), hostile())
    assert page.seen("Page.javascriptDialogOpening") == []
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.run("document.scripts.length") == 2
    assert page.run("document.querySelectorAll('[onclick], main script').length") == 0
    assert "<script>alert(1)" in names(page)[0]
    labels = page.run("[...document.querySelectorAll('.tile')].map(t => t.ariaLabel).join()")
    assert "<script>alert(1)" in labels


def test_a_site_without_macs_opens_from_nothing(page):
    widths = page.run(
        "[...document.querySelectorAll('.hidden-cost .band.site')].map(band =>"
        " [...band.querySelectorAll('.share')].map(share => share.width.baseVal.value))"
    )
    assert len(widths) == 2
    assert all(macs == 0 and time > 50 for macs, time, _ in widths)
    assert page.run("document.querySelectorAll('.hidden-cost circle.pin').length") == 2


def test_kernels_are_sorted(page):
    assert names(page)[0] in ("k-conv1", "k-layer1", "k-layer2")
    page.run("document.querySelector('.kernel-table thead button').click()")
    assert names(page) == sorted(names(page))
    assert page.run("document.querySelector('[aria-sort]').ariaSort") == "ascending"
    page.run("document.querySelector('.kernel-table thead button').click()")
    assert names(page) == sorted(names(page), reverse=True)


def test_kernels_are_searched_by_every_word(page):
    search(page, "layer1 reduction")
    assert names(page) == ["k-layer1-mean"]
    said = page.run("document.querySelector('.find output').textContent")
    assert said == "1 of 9 kernels, 20 µs, 4.9 %"
    search(page, "<no such>")
    assert names(page) == []
    search(page, "")
    page.run("document.querySelector('.find [type=checkbox]').click()")
    assert len(names(page)) == 6


def test_many_kernels_are_shown_when_they_are_asked_for(shown):
    one = trace()
    kernels = tuple(
        one_of.model_copy(update={"name": f"k{at}", "time_us": 1.0 + at})
        for at, one_of in enumerate(one.kernels * 220)
    )
    page = shown(trace(kernels=kernels))
    assert len(names(page)) == 40
    more = "document.querySelector('.kernels .more')"
    assert page.run(f"{more}.textContent") == "Show 250 more of 1980"
    page.run(f"{more}.click()")
    assert len(names(page)) == 290
    assert page.run("document.activeElement.textContent") == names(page)[40]
    search(page, "k19")
    assert len(names(page)) == 40


def test_the_icicle_zooms_by_keyboard(page):
    page.run("document.querySelector('.icicle .tile[tabindex=\"0\"]').focus()")
    page.press("ArrowDown", "ArrowRight")
    assert page.run("document.activeElement.ariaLabel").startswith("layer1: time")
    page.press("Enter")
    shown = "document.querySelector('.icicle .crumbs').innerText.split('\\n')"
    assert page.run(shown) == ["a", "layer1 155 µs"]
    whole, tile = "document.querySelector('.icicle svg')", "document.activeElement"
    width = f"{tile}.getBoundingClientRect().width / {whole}.getBoundingClientRect().width"
    assert page.run(width) == pytest.approx(1, abs=0.02)
    page.press("Escape")
    assert page.run(shown) == ["a 410 µs"]
    assert page.run("document.activeElement.ariaLabel").startswith("layer1: time")


def test_the_icicle_zooms_by_pointer_and_back_by_its_trail(page):
    page.run("document.querySelector('.icicle [aria-label^=\"layer2:\"] rect')"
             ".dispatchEvent(new MouseEvent('click', { bubbles: true }))")  # fmt: skip
    assert page.run("document.querySelector('.crumbs .now').innerText") == "layer2 155 µs"
    page.run("document.querySelector('.crumbs button').click()")
    assert page.run("document.querySelector('.crumbs .now').innerText") == "a 410 µs"


def test_a_mark_says_its_figures_when_it_has_the_focus(page):
    page.run("document.querySelector('.roofline [tabindex=\"0\"]').focus()")
    page.press("End")
    said = page.run("document.querySelector('.tip').innerText")
    assert "k-layer" in said
    assert "none: a copy" in said
    page.press("Escape")
    assert page.run("document.querySelector('.tip').hidden")


def test_a_model_is_picked(page):
    visible = "[...document.querySelectorAll('article:not([hidden])')].map(a => a.ariaLabel)"
    assert page.run(visible) == ["a"]
    page.run("(() => { const picker = document.getElementById('picker'); picker.value = 2;"
             " picker.dispatchEvent(new Event('change')); })()")  # fmt: skip
    assert page.run(visible) == ["b"]
    assert page.run("document.querySelectorAll('article:not([hidden]) .roofline .dot').length") == 9
    page.run("document.querySelector('.models a').click()")
    assert page.run(visible) == ["net plain"]
    assert page.run("location.hash") == "#row-0"
    assert page.run("document.getElementById('picker').value") == "0"


def test_everything_is_reached_by_keyboard_and_has_a_name(page):
    stops = page.run(f"{STOPS}.filter(one => one.checkVisibility()).length")
    reached = set()
    for _ in range(stops + 5):
        page.press("Tab")
        reached.add(page.run(f"{STOPS}.indexOf(document.activeElement)"))
    assert len(reached - {-1}) == stops
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    acts = ("button", "link", "treeitem", "checkbox", "searchbox", "combobox", "image", "region")
    found = [one for one in tree if one.get("role", {}).get("value") in acts]
    assert len(found) > 30
    assert [one for one in found if not one.get("ignored") and not one["name"]["value"]] == []


@pytest.mark.parametrize("rows", [(trace(),), (plain(), trace("x" * 80), trace(predicted=True))])
def test_a_phone_scrolls_down_only(shown, rows):
    page = shown(*rows, width=360)
    assert page.run("document.documentElement.scrollWidth") == 360
    page.resize(1280)
    page.run("new Promise(done => setTimeout(done, 100))")
    assert page.run("document.querySelector('.hidden-cost svg').viewBox.baseVal.width") > 1000


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_read_in_the_light_and_in_the_dark(shown, dark):
    page = shown(trace(warnings=("It was loud.",)), dark=dark)
    painted = "getComputedStyle({}).{}.match(/[\\d.]+/g).map(Number)"
    paper = page.run(painted.format("document.body", "backgroundColor"))
    assert (sum(paper) < 200) is dark
    for selector, ground in (
        ("body", "body"), (".lede", "body"), ("h1 em", "body"), (".warning", ".warnings"),
        (".badge", ".badge"), ("thead th", "body"),
    ):  # fmt: skip
        ink = page.run(painted.format(f"document.querySelector('{selector}')", "color"))
        under = page.run(painted.format(f"document.querySelector('{ground}')", "backgroundColor"))
        assert contrast(ink, under) >= 4.5, selector


def contrast(*colours):
    def luminance(colour):
        parts = [part / 255 for part in colour[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def test_what_is_not_known_draws_nothing_wrong(shown):
    copies = tuple(kernel(f"k{at}", "shuffle", 2.0, []) for at in range(3))
    unknown = tuple(one.model_copy(update={"traffic_bytes": None, "time_us": 0}) for one in copies)
    for one in (trace(kernels=()), trace(nodes=()), trace(kernels=copies), trace(kernels=unknown)):
        page = shown(one)
        assert page.run("document.documentElement.dataset.ready") is not None
        assert page.seen("Runtime.exceptionThrown") == []
        assert not page.run(
            "document.querySelector('main').outerHTML.match(/NaN|Infinity|undefined/g)"
        )


def test_without_script_the_tables_stand_there(shown):
    page = shown(plain(), trace(), script=False)
    said = [one["name"]["value"] for one in page.call("Accessibility.getFullAXTree")["nodes"]
            if one.get("role", {}).get("value") in ("rowheader", "heading", "article")]  # fmt: skip
    assert said.count("net plain") == said.count("net-simam") == 2
    assert "k-layer1-gate" in said
    assert "all sites" in said
    assert not any(one.startswith("How well kernels") for one in said)


def test_it_prints_in_the_light_without_what_is_for_screens(shown):
    page = shown(trace(), dark=True)
    page.emulate("prefers-color-scheme", "dark", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("document.querySelector('.find').checkVisibility()") is False
