"""A sweep's page in a browser: sorted, filtered, scrolled, by keyboard, in the dark, or bare."""

from __future__ import annotations

import json

import pytest

from edgeattn.report.sweep import sweep_of
from export_tests.report.conftest import DRAWN
from export_tests.report.sweeps import rows
from export_tests.report.test_page import contrast
from export_tests.report.test_sweep import hostile_rows
from export_tests.report.traces import HOSTILE

FEW = tuple(rows())
MANY = tuple(rows(backbones=4, attentions=8))


def cells(page, column):
    selector = f".sweep-table tbody tr[aria-rowindex] > :nth-child({column})"
    return page.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(c => c.textContent)"
    )


def column(page, name):
    heads = page.run(
        "[...document.querySelectorAll('.sweep-table thead th')].map(c => c.textContent)"
    )
    return cells(page, heads.index(name) + 1)


def typed(page, value, kind="search", at=0):
    page.run(
        f"(() => {{ const field = document.querySelectorAll('.filters input[type={kind}]')[{at}];"
        f" field.value = {json.dumps(value)}; field.dispatchEvent(new Event('input')); }})()"
    )
    page.run(DRAWN)


def pick(page, facet, name):
    page.run(
        "[...document.querySelectorAll('.facet')].find(one => one.querySelector('summary')"
        f".textContent.startsWith({json.dumps(facet)})).querySelectorAll('label').forEach(label =>"
        f" label.textContent === {json.dumps(name)} && label.querySelector('input').click())"
    )
    page.run(DRAWN)


def counted(page):
    return page.run("document.querySelector('.filters output').textContent")


def test_everything_is_drawn_and_nothing_is_asked_for(swept):
    page = swept(FEW, {"a": "no memory", "b": "no memory"}, height=4000)
    assert page.run("document.documentElement.dataset.ready") is not None
    drawn = page.run("[...document.querySelectorAll('.place:not([hidden]) svg[role]')].length")
    assert drawn == 2 * 3  # two fronts and the sites, of each device
    assert page.run("document.querySelectorAll('.heat-map').length") == 2 * 2
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.seen("Log.entryAdded") == []
    assert len(page.seen("Network.requestWillBeSent")) == 1
    assert page.run("document.querySelector('.reason').textContent").startswith("2 jobs no memory")
    assert not page.run("document.querySelector('main').innerText.match(/NaN|Infinity|undefined/)")


def test_rows_are_sorted_the_unknown_last(swept):
    page = swept(FEW)
    above = column(page, "%")
    known = [float(one) for one in above if one]
    assert known == sorted(known)
    assert "" not in above[: len(known)]
    heads = "[...document.querySelectorAll('.sweep-table thead button')]"
    head = f"{heads}.find(one => one.textContent === '%')"
    page.run(f"{head}.click()")
    assert float(column(page, "%")[0]) == max(round(r.above_percent or 0, 1) for r in FEW)
    assert page.run(f"{head}.closest('th').ariaSort") == "descending"
    page.run("document.querySelector('.sweep-table thead button').click()")
    assert cells(page, 1) == sorted(cells(page, 1))


def test_rows_are_filtered_by_words_boxes_and_limits(swept):
    page = swept(FEW)
    typed(page, "SIMAM nano")
    wanted = [r for r in FEW if r.attention == "simam" and "Nano" in r.title]
    assert counted(page) == f"{len(wanted)} of {len(FEW)} rows"
    assert set(column(page, "attention")) == {"simam"}
    assert page.run("[...document.querySelectorAll('.place:not([hidden])')].length") == 1
    typed(page, "")
    pick(page, "attention", "se")
    pick(page, "attention", "eca")
    pick(page, "precision", "fp16")
    wanted = [r for r in FEW if r.attention in ("se", "eca") and r.precision == "fp16"]
    assert counted(page).startswith(f"{len(wanted)} of")
    assert "attention: 2 of 5" in page.run(
        "[...document.querySelectorAll('summary')].map(one => one.textContent)"
    )
    typed(page, "0.5", "number")
    typed(page, "20", "number", 1)
    wanted = [r for r in wanted if r.latency_ms <= 0.5 and r.above_percent <= 20]
    assert counted(page).startswith(f"{len(wanted)} of")
    typed(page, "nothing is called so")
    assert counted(page).startswith("0 of")
    assert cells(page, 1) == []


def test_many_rows_are_scrolled_to_and_few_are_elements(swept):
    page = swept(MANY)
    assert len(MANY) > 140
    assert len(cells(page, 1)) < 60
    assert page.run("document.querySelector('.sweep-table').ariaRowCount") in (
        None, str(len(MANY) + 1),
    )  # fmt: skip
    page.run("document.querySelector('.sweep-rows').scrollTop = 1e6")
    page.run(DRAWN)
    last = page.run(
        "[...document.querySelectorAll('tr[aria-rowindex]')].at(-1).getAttribute('aria-rowindex')"
    )
    assert int(last) == len(MANY) + 1
    rows_high = page.run("document.querySelector('.sweep-table').getBoundingClientRect().height")
    assert rows_high > 25 * len(MANY)


def test_rows_are_walked_by_keyboard_and_open(swept):
    page = swept(MANY)
    page.run("document.querySelector('.sweep-table tbody button').focus()")
    focused = "document.activeElement.closest('tr')?.getAttribute('aria-rowindex')"
    page.press("ArrowDown", "ArrowDown")
    assert page.run(focused) == "4"
    page.press("End")
    assert page.run(focused) == str(len(MANY) + 1)
    page.press("Home", "PageDown")
    assert 10 < int(page.run(focused)) < 60
    page.press("Home", "Enter")
    least = min((r for r in MANY if r.attention), key=lambda r: r.above_percent)
    said = page.run("document.querySelector('.detail').innerText")
    assert least.key in said.replace("\n", "")
    assert least.sites[0].path in said
    assert page.run("document.querySelectorAll('.detail tbody tr').length") == len(least.sites)
    assert page.run("document.activeElement.closest('.detail') !== null")


def test_measured_and_predicted_never_stand_in_one_table(swept):
    mixed = list(rows(measured=(1,)))
    page = swept(mixed)
    measured = [one for one in mixed if one.evidence == "measured"]
    assert counted(page) == f"{len(measured)} of {len(mixed)} rows"
    heads = "document.querySelector('.sweep-table thead').textContent"
    assert "95 % interval" in page.run(heads)
    badges = "[...document.querySelectorAll('.place:not([hidden]) .badge')].map(b => b.textContent)"
    assert page.run(badges) == ["measured"]
    page.run("document.querySelectorAll('.evidences input')[1].click()")
    assert page.run(badges) == ["predicted"]
    assert "90 %, predicted" in page.run(heads)
    assert "energy" not in page.run("document.querySelector('.sweep-table tbody').textContent")


def test_the_fronts_are_those_of_the_document(swept):
    page = swept(MANY, height=3000)
    found = sweep_of(MANY, {})
    for measure in ("params", "macs"):
        dots = f".place:not([hidden]) [data-measure={measure}] .dot"
        drawn = page.run(f"document.querySelectorAll('{dots}').length")
        assert drawn == sum(measure in front for front in found.front) > 0
        page.run(f"document.querySelector('{dots}').focus()")
        page.press("ArrowRight")
        assert "above plain" in page.run("document.querySelector('.tip').innerText")


def test_a_heat_map_has_each_row_of_its_precision(swept):
    page = swept(FEW, height=3000)
    said = page.run(
        "[...document.querySelectorAll('.place[data-place=\"0\"] .heat-map')].map(map =>"
        " [map.caption.textContent, ...[...map.querySelectorAll('td')].map(td => td.textContent)])"
    )
    title = sweep_of(FEW, {}).places[0].device
    for precision, *figures in said:
        wanted = [
            f"{one.above_percent:+.1f}"
            for one in FEW
            if one.attention and one.precision == precision and one.device == title
        ]
        assert sorted(figures) == sorted(wanted)
    page.run("document.querySelector('.heat-map td').click()")
    assert page.run("document.querySelector('.detail').hidden") is False


def test_an_attention_that_is_called_plain_is_one(swept):
    known = [one.model_copy(update={"attention": one.attention and "plain"}) for one in FEW]
    page = swept(known, height=3000)
    dots = page.run("document.querySelectorAll('[data-measure=params] .dot').length")
    assert dots == sum("params" in front for front in sweep_of(known, {}).front) > 0


def test_what_cannot_be_told_from_nothing_is_marked(swept):
    page = swept([
        one.model_copy(update={"above_percent": -0.2, "above_interval_percent": (-1.0, 0.6)})
        if one.attention else one for one in FEW
    ], height=2500)  # fmt: skip
    assert page.run("document.querySelector('.heat-map td').textContent") == "≈ -0.2"
    assert page.run("document.querySelector('.heat-map td').className") == "heat heat-0"


def test_paper_has_all_pictures_and_no_room_for_rows_that_are_not_there(swept):
    page = swept(MANY, height=500)
    page.emulate("prefers-color-scheme", "dark", media="print")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelectorAll('.place svg[role]').length") == 2 * 3
    assert page.run("document.querySelector('.sweep-table').getBoundingClientRect().height") < 2000
    assert counted(page) == f"{len(MANY)} of {len(MANY)} rows"
    assert page.run("document.querySelector('.filters output').checkVisibility()") is True
    assert page.run("document.querySelector('.filters input').checkVisibility()") is False


def test_hostile_names_are_text(swept):
    page = swept(hostile_rows(), {HOSTILE: HOSTILE}, height=3000)
    page.run("document.querySelector('.sweep-table tbody button').click()")
    assert page.seen("Page.javascriptDialogOpening") == []
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.run("document.scripts.length") == 3
    assert page.run("document.querySelectorAll('[onclick], main script').length") == 0
    said = page.run("document.querySelector('.detail').textContent")
    assert said.count("<script>alert(1)") > 10


@pytest.mark.parametrize(
    "some",
    [
        [],
        list(FEW[:1]),
        [one.model_copy(update={"params": None, "latency_interval_ms": None}) for one in FEW],
        [one.model_copy(update={"sites": (), "above_percent": None}) for one in FEW],
        [
            one.model_copy(
                update={
                    "sites": tuple(
                        s.model_copy(
                            update={"shape": (), "macs_us": None, "traffic_bytes": None}
                        )
                        for s in one.sites
                    )
                }
            )
            for one in FEW
        ],
    ],
    ids=["nothing", "one plain", "no params", "no sites", "no shapes"],
)  # fmt: skip
def test_what_is_not_known_draws_nothing_wrong(swept, some):
    page = swept(some, {"a": "no memory"}, height=3000)
    assert page.run("document.documentElement.dataset.ready") is not None
    assert page.seen("Runtime.exceptionThrown") == []
    assert not page.run("document.querySelector('main').outerHTML.match(/NaN|Infinity|undefined/g)")


def test_a_phone_scrolls_down_only(swept):
    page = swept(FEW, width=360, height=3000)
    page.run("document.querySelector('.sweep-table tbody button').click()")
    for at in range(page.run("document.querySelectorAll('.facet').length")):
        page.run(f"document.querySelectorAll('.facet')[{at}].open = true")
    assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("dark", [False, True])
def test_every_step_of_heat_is_read(swept, dark):
    page = swept(FEW, dark=dark, height=3000)
    # Colours are mixed, and come as parts of 1: a canvas tells them in 8 bits.
    colours = page.run(
        "(() => { const ink = document.createElement('canvas').getContext('2d');"
        " const eight = colour => { ink.fillStyle = colour; ink.fillRect(0, 0, 1, 1);"
        " return [...ink.getImageData(0, 0, 1, 1).data]; };"
        " return [0,1,2,3,4,5,6,7].map(at => { const td = document.querySelector('.heat-map td');"
        " td.className = `heat heat-${at}`; const style = getComputedStyle(td);"
        " return [eight(style.color), eight(style.backgroundColor)]; }); })()"
    )
    assert min(contrast(*pair) for pair in colours) >= 4.5


def test_without_script_rows_stand_there(swept):
    page = swept(rows(measured=(1,)), {"a job": "no memory"}, script=False)
    said = [one["name"]["value"] for one in page.call("Accessibility.getFullAXTree")["nodes"]
            if one.get("role", {}).get("value") in ("rowheader", "cell", "heading")]  # fmt: skip
    assert "mobilenet_v2" in said
    assert "simam" in said
    assert "1 failed" in said
    assert "Jetson AGX Orin, MAXN measured" not in said
