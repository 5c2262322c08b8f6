"""Shapes as text, with types."""

import copy
import pickle

import pytest
from pydantic import TypeAdapter

from edgeattn.base.errors import InputError
from edgeattn.options.model import ModelRequest
from edgeattn.options.shapes import Shape, check_type, dtype_of, parse_shape, whole_numbers


def test_a_shape_and_its_type():
    shape = parse_shape("1x224X224x3:uint8")
    assert shape == (1, 224, 224, 3)
    assert dtype_of(shape) == "uint8"
    assert str(shape) == "1x224x224x3:uint8"
    assert dtype_of(copy.deepcopy(shape)) == dtype_of(pickle.loads(pickle.dumps(shape))) == "uint8"
    assert dtype_of(parse_shape("1x3")) == dtype_of((1, 3)) == ""
    assert parse_shape("4:int64") == (4,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", "is no shape"),
        ("1x0x3", "is no shape"),
        ("1x" + "9" * 5000, "is no shape"),
        ("1x3:", r"no type after its colon.\nIt is one of float32"),
        ("1x3:int46", r"no type after its colon.\nDid you mean int64"),
        ("1x3:string", "no type"),
        (":uint8", "is no shape"),
    ],
)
def test_what_is_no_shape(text, message):
    with pytest.raises(InputError, match=message):
        parse_shape(text)


def test_a_type_is_that_of_the_file():
    check_type((1, 3), "x", "float32")
    check_type(Shape((1, 3), "uint8"), "x", "uint8")
    with pytest.raises(InputError, match=r"x takes float32, and --shape asks for uint8"):
        check_type(Shape((1, 3), "uint8"), "x", "float32")


def test_what_is_drawn_fits():
    assert [whole_numbers(kind) for kind in ("uint8", "int8", "int64", "bool")] == [
        (0, 255),
        (-128, 127),
        (0, 1),
        (0, 1),
    ]


def test_a_request_keeps_types_through_json():
    request = ModelRequest(source="m", shapes=(parse_shape("1x3:uint8"), parse_shape("1x3")))
    adapter = TypeAdapter(ModelRequest)
    assert adapter.validate_python(adapter.dump_python(request, mode="json")).types == (
        "uint8",
        "",
    )
    assert ModelRequest(source="m", shapes=((1, 3),)).types == ()
