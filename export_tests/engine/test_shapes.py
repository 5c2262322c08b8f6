"""Optimisation profiles: read as trtexec writes them, checked against the network's inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.errors import InputError
from edgeattn.engine.shapes import complete, written
from edgeattn.options.build import Profile, parse_named_shapes, parse_profiles

OPEN = {"x": (-1, 3, 224, 224)}


def profile(low, middle, high, name="x"):
    return Profile(min={name: low}, opt={name: middle}, max={name: high})


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_/.][\w/.:]{0,8}", fullmatch=True),
        st.lists(st.integers(1, 4096), min_size=1, max_size=6).map(tuple),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_written_is_read(shapes):
    text = ",".join(f"{name}:{written(shape)}" for name, shape in shapes.items())
    assert parse_named_shapes(text, option="--opt-shapes") == shapes


@pytest.mark.parametrize(
    "text", ["", "x", "x:", ":1x3", "x:1x", "x:0x3", "x:-1x3", "x:1,3", "x:1x3,", "x:axb", "1x3"]
)
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InputError, match="--opt-shapes") as caught:
        parse_named_shapes(text, option="--opt-shapes")
    assert "input:1x3x224x224" in caught.value.mend


def test_an_input_named_twice_is_refused():
    with pytest.raises(InputError, match="names x twice"):
        parse_named_shapes("x:1x3,x:2x3", option="--opt-shapes")


def test_the_nth_of_each_make_the_nth_profile():
    found = parse_profiles(["x:1x8", "x:4x8"], ["x:2x8", "x:5x8"], ["x:3x8", "x:6x8"])
    assert found == (
        profile((1, 8), (2, 8), (3, 8)),
        profile((4, 8), (5, 8), (6, 8)),
    )
    assert parse_profiles([], ["x:2x8"], []) == (profile((2, 8), (2, 8), (2, 8)),)
    assert parse_profiles([], [], []) == ()


@pytest.mark.parametrize(
    ("texts", "fact"),
    [
        ((["x:1x8"], [], []), "no --opt-shapes"),
        (([], [], ["x:1x8"]), "no --opt-shapes"),
        ((["x:1x8"], ["x:1x8", "x:2x8"], ["x:2x8"]), "--min-shapes 1 times"),
    ],
)
def test_profiles_that_are_not_complete_are_refused(texts, fact):
    with pytest.raises(InputError, match=fact):
        parse_profiles(*texts)


def test_an_open_batch_without_shapes_is_1_and_that_is_said():
    (found,), notes = complete((), OPEN)
    assert found == profile(*[(1, 3, 224, 224)] * 3)
    assert "x:1x3x224x224" in notes[0]


def test_fixed_shapes_need_no_profile():
    fixed = {"x": (1, 3, 8, 8)}
    assert complete((), fixed) == ((), [])
    assert complete([profile(*[(1, 3, 8, 8)] * 3)], fixed) == ((), [])


def test_only_open_inputs_belong_to_a_profile():
    inputs = {"x": (-1, 3), "k": (4,)}
    asked = Profile(
        min={"x": (1, 3), "k": (4,)}, opt={"x": (2, 3), "k": (4,)}, max={"x": (3, 3), "k": (4,)}
    )
    (found,), _ = complete([asked], inputs)
    assert found == profile((1, 3), (2, 3), (3, 3))


@pytest.mark.parametrize(
    ("asked", "fact", "mend"),
    [
        (profile(*[(1, 3, 224, 224)] * 3, name="y"), "names 'y'", ""),
        (profile(*[(1, 3, 224)] * 3), "shape 1x3x224; the model takes \\?x3x224x224", ""),
        (profile(*[(1, 4, 224, 224)] * 3), "1x4x224x224", ""),
        (profile((2, 3, 224, 224), (1, 3, 224, 224), (4, 3, 224, 224)), "min > opt", "shrink"),
        (profile((1, 3, 224, 224), (8, 3, 224, 224), (4, 3, 224, 224)), "opt > max", "shrink"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(asked, fact, mend):
    with pytest.raises(InputError, match=fact) as caught:
        complete([asked], OPEN)
    assert mend in caught.value.mend


def test_an_open_input_without_shapes_is_named():
    with pytest.raises(InputError, match="Input y has open dimensions") as caught:
        complete([profile(*[(1, 3, 224, 224)] * 3)], OPEN | {"y": (-1, 7)})
    assert "y:1x7" in caught.value.mend
    with pytest.raises(InputError, match=r"open dimensions: \?x3x\?x\?"):
        complete((), {"x": (-1, 3, -1, -1)})


def test_points_that_name_different_inputs_are_refused():
    asked = Profile(min={"x": (1, 3)}, opt={"x": (1, 3), "y": (2, 3)}, max={"x": (1, 3)})
    with pytest.raises(InputError, match="different inputs"):
        complete([asked], {"x": (-1, 3), "y": (-1, 3)})
