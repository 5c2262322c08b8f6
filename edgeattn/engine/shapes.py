"""Optimisation profiles: the range of shapes that an engine is built for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.options.build import Profile, Shapes

_POINTS: Final = ("min", "opt", "max")


def complete(
    profiles: Sequence[Profile], inputs: Mapping[str, Sequence[int]]
) -> tuple[tuple[Profile, ...], list[str]]:
    """Check profiles against a network's inputs, and make what was left out.

    Args:
        profiles: What was asked; empty for one profile with every open dimension at 1.
        inputs: The shape of each input, -1 where it is open.

    Returns:
        The profiles, each with the shape of every input that has open dimensions; none where all
        shapes are fixed. And notes for the user.

    Raises:
        InputError: A profile names an input that there is not, misses one, contradicts a fixed
            dimension, or its shapes are not in order.
    """
    for profile in profiles:
        for point in _POINTS:
            _check_point(point, getattr(profile, point), inputs)
        _check_order(profile)
    is_open = {name: shape for name, shape in inputs.items() if any(size < 0 for size in shape)}
    if not is_open:
        return (), []
    if profiles:
        for profile in profiles:
            for name, shape in is_open.items():
                if name not in profile.opt:
                    raise InputError(
                        f"Input {name} has open dimensions, {written(shape)}, and no shapes.",
                        mend=f"Add it: --opt-shapes {name}:{written([max(s, 1) for s in shape])}",
                    )
        return tuple(_only(profile, is_open) for profile in profiles), []
    ones = {name: tuple(max(size, 1) for size in shape) for name, shape in is_open.items()}
    told = ", ".join(f"{name}:{written(shape)}" for name, shape in ones.items())
    spatial = [n for n, s in is_open.items() if any(size < 0 for size in s[1:])]
    if spatial:
        raise InputError(
            f"Input {spatial[0]} has open dimensions: {written(is_open[spatial[0]])}.",
            mend="Say for which shapes to build: --min-shapes, --opt-shapes, --max-shapes.",
        )
    return (Profile(min=ones, opt=ones, max=ones),), [
        f"No shapes were given for an open batch: the engine takes {told} only."
    ]


def written(shape: Iterable[int]) -> str:
    """Write a shape as the options take it, ? for an open dimension."""
    return "x".join("?" if size < 0 else str(size) for size in shape)


def _only(profile: Profile, inputs: Iterable[str]) -> Profile:
    """Leave out the inputs whose shapes are fixed: they belong to no profile."""
    names = list(inputs)
    low, middle, high = (
        {name: getattr(profile, point)[name] for name in names} for point in _POINTS
    )
    return Profile(min=low, opt=middle, max=high)


def _check_point(point: str, shapes: Shapes, inputs: Mapping[str, Sequence[int]]) -> None:
    option = f"--{point}-shapes"
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(
                f"{option} names {name!r}, and the model has no such input; it has"
                f" {', '.join(inputs)}.",
                mend=did_you_mean(nearest(name, inputs)),
            )
        wanted = inputs[name]
        fits = len(shape) == len(wanted) and all(
            size in (-1, given) for size, given in zip(wanted, shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"{option} gives {name} the shape {written(shape)}; the model takes"
                f" {written(wanted)}."
            )


def _check_order(profile: Profile) -> None:
    names = {frozenset(getattr(profile, point)) for point in _POINTS}
    if len(names) > 1:
        raise InputError("--min-shapes, --opt-shapes and --max-shapes name different inputs.")
    for name, middle in profile.opt.items():
        low, high = profile.min[name], profile.max[name]
        for one, other, words in ((low, middle, "min > opt"), (middle, high, "opt > max")):
            if any(a > b for a, b in zip(one, other, strict=True)):
                raise InputError(
                    f"The shapes of {name} are not in order: min {written(low)}, opt"
                    f" {written(middle)}, max {written(high)} ({words}).",
                    mend="Each size must not shrink from min over opt to max.",
                )
