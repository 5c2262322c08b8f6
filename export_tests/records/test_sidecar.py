"""What is written beside an artifact: all of its fields in their order, and read only if it is."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from edgeattn.base.errors import InputError
from edgeattn.records import sidecar
from edgeattn.records.engine import EngineManifest
from edgeattn.records.manifest import Cast, Manifest, Optimised, PlacedSite


@pytest.mark.parametrize("record", [Manifest, Optimised, Cast, EngineManifest, PlacedSite])
def test_the_order_names_every_field_once(record):
    names = record.ORDER.split()
    assert sorted(names) == sorted(record.model_fields)


def test_fields_that_are_inherited_stand_in_their_place():
    site = PlacedSite(path="a", attention="se", target="b", shape=(1, 2, 3), params=4)
    assert list(json.loads(site.model_dump_json())) == [
        "path", "attention", "target", "shape", "params", "note"
    ]  # fmt: skip
    assert PlacedSite.model_validate_json(site.model_dump_json()) == site


def test_what_is_beside_another_file_is_not_read(tmp_path):
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"one")
    assert sidecar.read_beside(onnx) is None
    said = {"sha256": {"a.onnx": hashlib.sha256(b"one").hexdigest()}}
    (tmp_path / "a.json").write_text(json.dumps(said))
    assert sidecar.read_beside(onnx) == said
    onnx.write_bytes(b"two")
    assert sidecar.read_beside(onnx) is None
    for text in ("[]", "{}", "no JSON", '{"sha256": []}', "[" * 5000, "1" * 5000):
        (tmp_path / "a.json").write_text(text)
        assert sidecar.read_beside(onnx) is None
    (tmp_path / "a.json").unlink()
    os.mkfifo(tmp_path / "a.json")
    assert sidecar.read_beside(onnx) is None
    with pytest.raises(InputError, match="not a regular file"):
        sidecar.check_beside(onnx)
