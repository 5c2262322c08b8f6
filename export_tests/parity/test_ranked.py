"""Rows in the order of a score: what rounding may do to their order, and what it may not."""

import numpy as np
import pytest

from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.parity.ranked import aligned

FLOAT32 = tolerance_of("fp32")


@pytest.fixture
def boxes():
    """Two images' boxes: corners, a score in descending order, a class."""
    random = np.random.default_rng(0)
    corners = random.uniform(0, 640, (2, 60, 4))
    scores = -np.sort(-random.uniform(0.01, 0.9, (2, 60, 1)), axis=1)
    scores[:, 7:10] = scores[:, 7:8]  # alike, but for rounding
    scores[:, 8:10] -= 1e-8
    scores[:, -1] = scores[:, -2] - 1e-9
    classes = random.integers(0, 80, (2, 60, 1))
    return np.concatenate([corners, scores, classes], axis=2)


def _told(boxes, other):
    return measure("boxes", boxes.astype(np.float32), other.astype(np.float32), FLOAT32)


def _swapped(boxes, one, other):
    found = boxes.copy()
    found[:, [one, other]] = found[:, [other, one]]
    return found


def test_rows_of_one_score_may_trade_places(boxes):
    found = _told(boxes, _swapped(boxes, 7, 9))
    assert found.passed
    assert found.sqnr_db is None or found.sqnr_db > 140


def test_the_last_row_may_be_another_of_its_score(boxes):
    other = boxes.copy()
    other[:, -1, :4], other[:, -1, 5] = 3.0, 2.0
    assert _told(boxes, other).passed


@pytest.mark.parametrize("row", [0, 8, 30])
def test_a_box_that_differs_is_no_matter_of_order(boxes, row):
    other = _swapped(boxes, 7, 9)
    other[0, row, 2] += 5
    assert not _told(boxes, other).passed


def test_rows_of_other_scores_may_not(boxes):
    other = boxes.copy()
    other[:, [20, 21], :4] = other[:, [21, 20], :4]  # the order of scores stays
    assert not _told(boxes, other).passed


def test_scores_that_differ_are_told(boxes):
    other = boxes.copy()
    other[:, :, 4] *= 3  # less is drowned by corners in pixels
    assert not _told(boxes, other).passed


def test_what_is_in_no_order_or_tells_nothing_is_compared_as_it_stands(boxes):
    assert aligned(boxes[:, ::-1], boxes, 1e-3) is None
    assert aligned(boxes[:, :4], boxes[:, :4], 1e-3) is None
    alike = boxes.copy()
    alike[:, :, 4] = 0.5
    alike[:, 0, 4] = 0.5 + 1e-9
    other = alike.copy()
    other[:, :, :4] = np.random.default_rng(1).uniform(0, 640, (2, 60, 4))
    assert not _told(alike, other).passed
