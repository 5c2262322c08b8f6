"""What is shown of a name commands no terminal, and is well-formed XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.legible import in_ranges, legible, shortened


def test_what_is_not_seen_is_shown():
    assert legible("a\x1b[31m\x9b2J\rb\x7f") == r"a\x1b[31m\x9b2J\rb\x7f"
    assert legible("\u202egnp.x\u2066\ufeff\udc80\x00\uffff") == (
        r"\u202egnp.x\u2066\ufeff\udc80\x00\uffff"
    )
    plain = "née\tβ 模型 👍🏽 می‌خواهم\n│├─… ×"
    assert legible(plain) == plain


@given(text=st.text())
def test_whatever_a_name_is_xml_takes_it(text):
    shown = legible(text).replace("&", "").replace("<", "")
    shown.encode()
    assert legible(shown) == shown
    ET.fromstring(f"<a>{shown}</a>")


def test_long_lines_lose_their_middle():
    assert shortened("a\nb") == "a\nb"
    (line,) = shortened(f"begins{'x' * 100_000}ends").splitlines()
    assert len(line) < 2000
    assert line.startswith("begins")
    assert line.endswith("ends")
    assert "more characters" in line
    assert shortened("line\n" * 1000).endswith("… 801 more lines")


def test_ranges():
    assert in_ranges([40, 43, 44, 45, 47]) == "40, 43 to 45, 47"
    assert in_ranges([]) == ""
