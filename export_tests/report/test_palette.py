"""Colours stand out from the page, and from each other whatever colours one sees."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.palette import BACKBONE, KINDS, MARKS, PAPER, SITE

# Machado, Oliveira, Fernandes, 2009, table of severity 1.0: linear RGB as it is seen.
SIGHT = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.3039]],
}  # fmt: skip
# Ottosson, 2020: linear RGB to OKLab, in which distances are as they are seen.
TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_LAB = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
          [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def seen(colour, sight):
    cones = np.cbrt(np.array(TO_CONES) @ np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1))
    return np.array(TO_LAB) @ cones


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_the_page(theme):
    for colour in (SITE, BACKBONE, *KINDS.values()):
        assert contrast(getattr(colour, theme), getattr(PAPER, theme)) >= 3


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_kinds_are_told_apart(theme, sight):
    colours = [seen(getattr(colour, theme), sight) for colour in KINDS.values()]
    assert min(np.linalg.norm(a - b) for a, b in combinations(colours, 2)) >= 0.09


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_sites_are_told_from_the_backbone(theme, sight):
    apart = seen(getattr(SITE, theme), sight) - seen(getattr(BACKBONE, theme), sight)
    assert np.linalg.norm(apart) >= 0.15


def test_every_kind_has_a_colour_and_a_mark_of_its_own():
    assert set(KINDS) == set(MARKS) == set(KIND_TITLES)
    assert len(set(MARKS.values())) == len(MARKS)
