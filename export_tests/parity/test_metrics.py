"""The figures against their formulas in plain numpy, and what must never pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeattn.parity.metrics import measure, tolerance_of

FP32 = tolerance_of("fp32")
values = st.floats(-1e3, 1e3, width=32)


@given(arrays.arrays(np.float32, (3, 5), elements=values), st.integers(0, 2**32 - 1))
def test_figures(reference, seed):
    noise = np.random.default_rng(seed).normal(0, 1e-3, reference.shape)
    output = (reference + noise).astype(np.float32)
    want, have = reference.astype(np.float64), output.astype(np.float64)
    found = measure("y", reference, output, FP32)
    assert found.max_abs == np.max(np.abs(want - have))
    rms = math.sqrt(np.mean(want**2))
    if rms == 0:
        assert found.max_rel == math.inf
    else:
        relative = np.abs(want - have) / (np.abs(want) + rms)
        assert found.max_rel == pytest.approx(relative.max(), rel=1e-12)
        ratio = 10 * np.log10(np.sum(want**2) / np.sum((want - have) ** 2))
        assert found.sqnr_db == pytest.approx(ratio, rel=1e-9)
    agree = np.mean(want.argmax(axis=1) == have.argmax(axis=1))
    assert found.argmax_agreement == agree


def test_equal_is_equal():
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    found = measure("y", x, x.copy(), FP32)
    assert (found.max_abs, found.max_rel, found.sqnr_db, found.passed) == (0, 0, None, True)
    assert found.cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: y[:, :-1],
        lambda y: np.where(np.arange(y.size).reshape(y.shape) == 3, np.nan, y),
        lambda y: np.where(np.arange(y.size).reshape(y.shape) == 3, np.inf, y),
        lambda y: y[:, ::-1],
        lambda y: y * (1 + 2e-4),
        np.zeros_like,
        lambda y: np.where(np.arange(y.size).reshape(y.shape) == 3, y + 0.01, y),
    ],
    ids=["shape", "nan", "inf", "order", "scale", "zero", "one entry"],
)
def test_what_differs_fails(spoil):
    reference = np.random.default_rng(1).normal(size=(4, 250)).astype(np.float32)
    assert not measure("y", reference, spoil(reference), FP32).passed


def test_infinities_of_the_reference_must_be_met():
    reference = np.array([[1.0, -np.inf, np.nan, 2.0]], np.float32)
    assert measure("y", reference, reference.copy(), FP32).passed
    assert not measure("y", reference, -reference, FP32).passed


def test_a_zero_reference_takes_nothing_but_zero():
    zero = np.zeros((1, 3), np.float32)
    assert measure("y", zero, zero, FP32).passed
    found = measure("y", zero, zero + np.float32(1e-30), FP32)
    assert not found.passed
    assert found.cosine == 0.0


def test_int8_is_reported_and_only_what_is_no_number_fails():
    int8 = tolerance_of("int8")
    reference = np.random.default_rng(1).normal(size=(4, 25)).astype(np.float32)
    far = measure("y", reference, -reference, int8)
    assert far.passed
    assert far.sqnr_db < 0
    for wrong in (np.nan, np.inf):
        spoiled = reference.copy()
        spoiled[2, 3] = wrong
        assert not measure("y", reference, spoiled, int8).passed
    assert not measure("y", reference, reference[:2], int8).passed


@pytest.mark.parametrize(
    ("precision", "min_sqnr_db", "max_rel"),
    [("fp16", 40, 0.1), ("fp16", 60, 0.01), ("int8", 20, 1.0), ("int8", 40, 0.1)],
)
def test_an_sqnr_that_is_asked_moves_the_error_too(precision, min_sqnr_db, max_rel):
    asked = tolerance_of(precision, min_sqnr_db=min_sqnr_db)
    assert (asked.precision, asked.min_sqnr_db) == (precision, min_sqnr_db)
    assert asked.max_rel == pytest.approx(max_rel)


def test_what_is_not_asked_is_as_usual():
    for precision in ("fp32", "tf32", "fp16", "int8"):
        assert tolerance_of(precision, min_sqnr_db=None) is tolerance_of(precision)
