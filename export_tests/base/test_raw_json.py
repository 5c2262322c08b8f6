"""Names that stand in JSON as they are, as TensorRT and trtexec write them."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeattn.base.documents import parse_json
from edgeattn.base.errors import InputError
from edgeattn.base.raw_json import escaped, is_written_raw

FILES = sorted((Path(__file__).parents[1] / "engine" / "files").glob("*.json.gz"))
# What names are made of, and what else stands in these files.
NAMES = st.text(st.sampled_from('ab"\\\x1e\x1f\x00\t,:{}[] +/µ"'), max_size=12)
# What cannot be told from what it looks like: the comma, the key and the colon of a next value.
NEXT = re.compile(r'"\s*,\s*"[A-Za-z][\w/ ]*"\s*:')


def read(text):
    return parse_json(text, "it", is_foreign=True)


def profile_of(*names, ms="1"):
    rows = "".join(
        f', {{ "name" : "{name}", "timeMs" : {ms}, "percentage" : -nan }}\n' for name in names
    )
    return f'[\n  {{ "count" : 1 }}\n{rows}]\n'


def layers_of(*names):
    rows = ",".join(
        f'{{\n  "Name": "{name}",\n  "LayerType": "kgen",\n  "Inputs": [],\n  "Metadata": "{name}"'
        "\n}"
        for name in names
    )
    bindings = "\n,".join(f'"{name}"' for name in names)
    return f'{{"Layers": [{rows}],\n"Bindings": [{bindings}\n]}}\n'


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_names_of_a_profile_are_read_as_they_are(names):
    assume(not any(NEXT.search(f'"{name}"') for name in names))
    found = read(profile_of(*names))
    assert [row["name"] for row in found[1:]] == names
    assert all(math.isnan(row["percentage"]) for row in found[1:])


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_names_of_layers_are_read_as_they_are(names):
    assume(not any(NEXT.search(f'"{name}"') for name in names))
    found = read(layers_of(*names))
    assert [layer["Name"] for layer in found["Layers"]] == names
    assert [layer["Metadata"] for layer in found["Layers"]] == names
    assert found["Bindings"] == names


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_what_escapes_its_strings_is_read_as_ever(names):
    document = [{"name": name, "Bindings": names} for name in names]
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        assert not is_written_raw(text)
        assert read(text) == document


@given(st.text(st.sampled_from('{}[]",: \n\\anNe0'), max_size=40))
def test_what_is_no_json_is_refused_or_read(text):
    with contextlib.suppress(InputError):
        read(text)


@pytest.mark.parametrize("path", FILES, ids=lambda one: one.name)
def test_real_files_are_laid_out_so_and_read_the_same(path):
    text = gzip.decompress(path.read_bytes()).decode()
    assert is_written_raw(text)
    assert json.loads(escaped(text)) == json.loads(text)


def test_a_backslash_is_no_escape_there():
    assert read(profile_of(r"a\name"))[1]["name"] == r"a\name"
    assert read(layers_of(r"C:\temp"))["Layers"][0]["Name"] == r"C:\temp"
    assert read('[{"name": "a\\name"}]') == [{"name": "a\name"}]


def test_what_ends_in_a_string_is_refused():
    with pytest.raises(InputError, match="no JSON, or not all of it"):
        read(profile_of('a"b')[:40])
    for text in ('{"a": "' * 100_000, '{"a": ["' + 'x","a": ' * 100_000):
        with pytest.raises(InputError):
            read(text)
