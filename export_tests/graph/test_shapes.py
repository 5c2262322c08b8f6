"""Shapes of a model whose batch is open: found behind computed sizes, and not sought when known."""

from __future__ import annotations

import numpy as np
import pytest

from edgeattn.graph import shapes
from export_tests.lowering.graphs import CHANNELS, SIZE, between


def flattened(g, x, *, is_computed):
    whole = np.array([1, CHANNELS, SIZE[0] * SIZE[1]])
    if is_computed:  # as a sum of what was read from the input's shape
        sizes = g.op("Gather", g.op("Shape", x), np.array([0, 1]))
        whole = g.op("Concat", sizes, np.array([SIZE[0] * SIZE[1]]), axis=0)
    v = g.op("Reshape", x, g.op("Identity", whole) if is_computed else np.array([0, CHANNELS, -1]))
    return g.op("Relu", v)


@pytest.mark.parametrize("is_computed", [False, True])
def test_open_batch(is_computed, monkeypatch):
    model = between(lambda g, x: flattened(g, x, is_computed=is_computed), out=0)
    shapes.infer(model)
    bound = []
    bind = shapes.bind_batch
    monkeypatch.setattr(
        shapes, "bind_batch", lambda model, batch: (bound.append(batch), bind(model, batch))
    )
    shapes.resolve_open(model)
    last = list(model.graph)[-1].outputs[0]
    assert [getattr(size, "value", size) for size in last.shape] == ["n", CHANNELS, 35]
    assert bool(bound) == is_computed
