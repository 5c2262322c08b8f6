"""JSON and TOML from outside: what is read, and that everything else is an input error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from edgeattn.base import documents
from edgeattn.base.errors import InputError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_encoding_that_json_has(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"é": [1, -2.5e3, null]}'.encode(encoding))
    assert documents.read_json(path) == {"é": [1, -2500.0, None]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON, or not all of it"),
        ('{"a": ', "no JSON, or not all of it"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("1" * 5000, "a number has 5,000 digits"),
        ("1" + "0" * 30, "a number has 31 digits"),
        ("-1e999", r"beyond 1e\+30"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ('{"a": 1, "b": {"a": 1, "a": 2}}', "'a' is said twice"),
        (r'["\ud800"]', "half a character"),
    ],
)
def test_json_that_cannot_be_used(text, said):
    with pytest.raises(InputError, match=f"^It .*{said}"):
        documents.parse_json(text, "It")


def test_what_is_nested_less_deeply_is_read():
    text = "[" * 60 + "]" * 60
    assert json.dumps(documents.parse_json(text, "It")) == text
    assert documents.parse_json(r'["\ud83d\ude00", "\\ud800"]', "It") == ["😀", "\\ud800"]


def test_more_values_than_memory_may_hold_are_refused(monkeypatch):
    monkeypatch.setattr(documents, "_MOST_CONTAINERS", 10)
    with pytest.raises(InputError, match="more than 10 lists"):
        documents.parse_json("[" + "{}," * 10 + "{}]", "It")


def test_other_programs_say_a_key_twice_and_write_nan():
    read = documents.parse_json('{"a": 1, "a": NaN, "b": "\x1e"}', "It", is_foreign=True)
    assert str(read) == "{'a': nan, 'b': '\\x1e'}"


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b" " * (1 << 20) + b"1")
    with pytest.raises(InputError, match="larger than 1 MiB"):
        documents.read_text(path, largest_mib=1)
    assert documents.read_json(path) == 1


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to("/dev/zero")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "broken.json").symlink_to("nothing")
    for name, said in {
        "pipe.json": "not a regular file",
        "link.json": "not a regular file",
        "folder.json": "is a folder",
        "broken.json": "cannot be read: No such file",
        "none.json": "cannot be read: No such file",
        "a\0.json": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=said):
            documents.read_json(tmp_path / name)


def test_an_unreadable_file_is_said_to_be_so(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match=r"a\.json cannot be read: Permission denied"):
        documents.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a = ", "no TOML"), ("a = " + "[" * 5000, "deeply"), ("a = " + "1" * 5000, "no TOML")],
)
def test_toml_that_cannot_be_used(text, said):
    with pytest.raises(InputError, match=said):
        documents.parse_toml(text, "It")


class Row(BaseModel):
    size: int


def test_what_does_not_fit_is_named_by_its_place():
    assert documents.checked(list[Row], [{"size": 1}], "It") == [Row(size=1)]
    with pytest.raises(InputError, match=r"^It: entry 1\.size: input should be a valid integer"):
        documents.checked(list[Row], [{"size": 1}, {"size": []}], "It", counted_in="entry")
    with pytest.raises(InputError, match=r"^It: the whole: input should be a valid list"):
        documents.checked(list[Row], 3, "It")
