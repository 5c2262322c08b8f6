"""Every option that a library dataclass declares can be written on a command line."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest

import edgeattn.options

KINDS = {
    kind
    for module in pkgutil.iter_modules(edgeattn.options.__path__, "edgeattn.options.")
    for kind in vars(importlib.import_module(module.name)).values()
    if dataclasses.is_dataclass(kind)
    and any("flags" in field.metadata for field in dataclasses.fields(kind))
}


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__))
def test_its_flags_have_names_of_their_own_and_say_what_they_do(kind):
    fields = [field for field in dataclasses.fields(kind) if "flags" in field.metadata]
    flags = [flag for field in fields for flag in field.metadata["flags"].flags]
    names = [word for flag in flags for word in flag.spelling.split() if word.startswith("-")]
    assert all(flag.spelling.startswith("--") and flag.help for flag in flags)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__))
def test_what_sets_a_field_to_more_than_its_text_is_said(kind):
    for field in dataclasses.fields(kind):
        said = field.metadata.get("flags")
        if said is not None and len(said.flags) > 1 and field.name != "attentions":
            assert said.read is not None  # attentions are read where their options are known
