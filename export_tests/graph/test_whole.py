"""Whole numbers that a graph takes are read off the nodes that read them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeattn.graph.whole import bounds_of
from edgeattn.runtimes.onnxruntime import Session, random_inputs


def model(text):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


NETS = {
    "ids": (
        "agraph (int64[n, 7] x) => (float[n, 7, 3] y) <float[5, 3] w> { y = Gather(w, x) }",
        (0, 4),
    ),
    "ids behind a cast": (
        (
            "agraph (int32[n, 7] x) => (float[n, 7, 3] y) <float[5, 3] w>"
            " { c = Cast<to=7>(x) y = Gather(w, c) }"
        ),
        (0, 4),
    ),
    "the smaller of two tables": (
        (
            "agraph (int64[n, 7] x) => (float[n, 7, 3] y, float[n, 7, 3] z) <float[5, 3] w,"
            " float[9, 3] v> { y = Gather(w, x) z = Gather(v, x) }"
        ),
        (0, 4),
    ),
    "a rate": (
        "agraph (int64 x) => (bool y) { c = Constant<value_int=16000>() y = Equal(x, c) }",
        (16000, 16000),
    ),
    "a length": (
        (
            "agraph (int64[n] x) => (bool[n] y) { c = Constant<value_int=160>() k = Div(x, c)"
            " p = Constant<value_ints=[3]>() y = Less(p, k) }"
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_bounds(name, tmp_path):
    text, expected = NETS[name]
    proto = model(text)
    for one in proto.graph.initializer:
        one.raw_data = np.zeros(tuple(one.dims), np.float32).tobytes()
    assert bounds_of(ir.from_proto(proto)) == {"x": expected}


def test_readers_that_tell_nothing():
    proto = model("agraph (int64[n, 7] x, float[n] z) => (int64[n, 7] y) { y = Add(x, x) }")
    assert bounds_of(ir.from_proto(proto)) == {}


def test_inputs_are_drawn_within_them(tmp_path):
    proto = model(
        "agraph (int64[n, 50] x, int64[n] l) => (float[n, 50, 2] y, bool[n, 50] m) {"
        " w = Constant<value_floats=[1.0, 2.0, 3.0]>() a = Constant<value_ints=[1]>()"
        " u = Unsqueeze(w, a) y = Gather(w, x) p = Constant<value_ints=[7]>() e = Unsqueeze(l, a)"
        " m = Less(x, e) }"
    )
    onnx.save(proto, tmp_path / "x.onnx")
    session = Session(tmp_path / "x.onnx")
    ids, lengths = random_inputs(session, batch=4, seed=0)
    assert (ids.min(), ids.max()) == (0, 2)
    assert ((lengths >= 25) & (lengths <= 50)).all()
    session.run([ids, lengths])
