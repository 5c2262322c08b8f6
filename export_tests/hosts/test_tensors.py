"""What trtexec's text says of tensors, and what it leaves out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeattn.base.errors import InputError
from edgeattn.hosts.trtexec.tensors import DIGITS_DB, DIGITS_REL, as_bytes, read_outputs


def written(**tensors):
    """Write outputs as trtexec does: C++ prints six significant digits."""
    parts = []
    for name, array in tensors.items():
        shape = "x".join(map(str, array.shape))
        values = ", ".join(f"{one:.6g}" for one in array.reshape(-1).tolist())
        parts.append(f'{{ "name" : "{name}"\n  , "dimensions" : "{shape}"\n  , "values" : [ ')
        parts[-1] += f"{values} ]\n  }}\n"
    return "[\n  " + ", ".join(parts) + "]\n"


def test_outputs_of_every_kind_come_back_in_the_order_that_is_wanted():
    values = np.random.default_rng(0).normal(0, 1e3, (2, 3, 4)).astype(np.float32)
    classes, mask = np.array([7, -(2**40)]), np.array([True, False])
    text = written(classes=classes.astype(float), y=values, mask=mask)
    text = text.replace("-1.09951e+12", str(-(2**40)))  # whole numbers are printed whole
    found = read_outputs(text, {"y": "float16", "mask": "bool", "classes": "int64"})
    assert list(found) == ["y", "mask", "classes"]
    assert found["y"].shape == (2, 3, 4)
    assert np.array_equal(found["classes"], classes)
    assert np.array_equal(found["mask"], mask)
    error = np.abs(found["y"] - values)
    assert (error <= DIGITS_REL * np.abs(values) * 1.01).all()
    noise = 10 * math.log10((values.astype(float) ** 2).sum() / (error.astype(float) ** 2).sum())
    assert noise > DIGITS_DB


def test_numbers_that_are_no_json_and_names_that_are_raw():
    values = np.array([np.nan, -np.inf, np.inf, 0], np.float32)
    name = 'a"] \x1e\\b'
    text = written(**{name: values, "none": np.empty((0, 4)), "one": np.array(2.5)})
    text = text.replace("nan", "-nan")  # what C++ prints for most of them
    found = read_outputs(text, {name: "float32", "none": "float32", "one": "float32"})
    assert np.array_equal(found[name], values, equal_nan=True)
    assert found["none"].shape == (0, 4)
    assert found["one"].shape == ()


@pytest.mark.parametrize("cut", [0.1, 0.4, 0.8, 0.95])
def test_a_file_that_is_cut_off_is_refused(cut):
    text = written(y=np.arange(64.0).reshape(4, 16))
    with pytest.raises(InputError, match=r"cut off|cannot be read"):
        read_outputs(text[: int(len(text) * cut)], {"y": "float32"})


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (("4x16", "4x17"), "float32", "its shape is 4x17, and there are 64 values"),
        ((" 5, ", " five, "), "float32", "there are no numbers"),
        ((" 5, ", " 5.5, "), "int32", "there are no numbers"),
        ((" 5, ", " \x05, "), "int8", "it writes int8 as characters"),
        (('"y"', '"z"'), "float32", "have none of that name"),
    ],
)
def test_what_cannot_be_read_is_said(spoil, kind, said):
    text = written(y=np.arange(64.0).reshape(4, 16)).replace(*spoil)
    with pytest.raises(InputError, match=said):
        read_outputs(text, {"y": kind})


def test_inputs_are_the_bytes_of_what_the_version_holds():
    numbers = np.arange(6).reshape(2, 3)
    assert as_bytes(numbers, "8.5.2") == numbers.astype("<i4").tobytes()
    assert as_bytes(numbers, "10.3.0") == numbers.astype("<i8").tobytes()
    turned = np.asfortranarray(numbers.astype(np.float16))
    assert as_bytes(turned, "8.5.2") == numbers.astype("<f2").tobytes()
    with pytest.raises(InputError, match="larger numbers"):
        as_bytes(numbers + 2**40, "8.5.2")
