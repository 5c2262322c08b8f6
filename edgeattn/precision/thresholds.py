"""Calibration: finds the largest |x| that int8 is to hold of each value, by runs on samples.

The model runs in float32 in ONNX Runtime with the values as its outputs, a few at a time if those
of one sample would not fit into memory. The largest |x| is kept of each, or a histogram of ONNX
Runtime's, from which its percentile or its entropy method takes the threshold.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgeattn.base.errors import InputError
from edgeattn.precision.calibration import Samples
from edgeattn.precision.runs import runs
from edgeattn.runtimes.onnxruntime import Array

Method = Literal["minmax", "percentile", "entropy"]

#: What the values of one sample may take up at once.
_LARGEST_RUN_BYTES: Final = 2**30
_PERCENTILE: Final = 99.99
_BINS: Final = {"percentile": 4096, "entropy": 1024}
_LEVELS: Final = 128


def find_thresholds(
    model: ir.Model,
    values: Sequence[ir.Value],
    samples: Samples,
    *,
    method: Method,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, float]:
    """Find the largest |x| that int8 is to hold, for some values of a model.

    Args:
        model: The model, with shapes; it is not changed.
        values: Values of it: inputs, or what nodes give.
        samples: The data.
        method: `minmax` takes the largest |x|; `percentile` leaves out one value in 10,000;
            `entropy` takes what keeps most information (Kullback and Leibler).
        on_progress: Called with the runs that are done, and all that are to be. Histograms take two
            for each sample.

    Returns:
        The threshold of each value, by its name; 0 if it is always 0.

    Raises:
        InputError: ONNX Runtime cannot run the model, or a value is NaN or infinite.
    """
    groups = list(_groups(values))
    passes = 1 if method == "minmax" else 2
    total = len(groups) * passes * samples.count
    done = 0
    found: dict[str, float] = {}
    for group in groups:
        for collector in (_Largest(found), _Histograms(found, method))[:passes]:
            for arrays in _runs(model, group, samples):
                collector.take(arrays)
                done += 1
                on_progress(done, total)
            collector.finish()
    return found


def _runs(
    model: ir.Model, values: Sequence[ir.Value], samples: Samples
) -> Iterator[dict[str, Array]]:
    """Run the part of a model that computes some values, and yield them for each sample."""
    names = [str(value.name) for value in values]
    part = model.clone()
    made = ir.convenience.create_value_mapping(part.graph)
    inner = [name for name in names if not made[name].is_graph_input()]
    part.graph.outputs[:] = [made[name] for name in inner] or list(part.graph.outputs)
    common.RemoveUnusedNodesPass()(part)
    for feed, outputs in runs(part, samples):
        arrays = dict(zip(inner, outputs, strict=False)) | {
            name: feed[name] for name in names if name in feed
        }
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"{name} is NaN or infinite on {samples.description}.",
                    mend="Calibrate with data that the float32 model takes.",
                )
        yield arrays


def _groups(values: Sequence[ir.Value]) -> Iterator[list[ir.Value]]:
    """Divide values into groups whose arrays for one sample fit into memory."""
    group: list[ir.Value] = []
    total = 0
    for value in values:
        sizes = [size if isinstance(size, int) else 1 for size in value.shape or ()]
        size_bytes = 4 * math.prod(sizes)
        if group and total + size_bytes > _LARGEST_RUN_BYTES:
            yield group
            group, total = [], 0
        group.append(value)
        total += size_bytes
    if group:
        yield group


class _Largest:
    """The largest |x|."""

    def __init__(self, found: dict[str, float]) -> None:
        self._found = found

    def take(self, arrays: dict[str, Array]) -> None:
        for name, array in arrays.items():
            largest = max(float(array.max(initial=0)), -float(array.min(initial=0)))
            self._found[name] = max(self._found.get(name, 0.0), largest)

    def finish(self) -> None:
        """Do nothing: `take` has found everything."""


_LEAST_SPANNED: Final = 1e4 * float(np.finfo(np.float32).tiny)
_MOST_SPANNED: Final = float(np.finfo(np.float32).max) / 2


class _Histograms:
    """ONNX Runtime's histograms, and what its methods make of them.

    They span the largest |x| from the start: left to themselves, they get as many more bins as a
    later sample is larger than the first one, which may have been a black image.
    """

    def __init__(self, found: dict[str, float], method: Method) -> None:
        from onnxruntime.quantization.calibrate import HistogramCollector

        self._found = found
        self._bins = _BINS.get(method, 0)
        self._collector = HistogramCollector(
            method=method,
            symmetric=False,
            num_bins=self._bins,
            num_quantized_bins=_LEVELS,
            percentile=_PERCENTILE,
            scenario="same",
        )

    def take(self, arrays: dict[str, Array]) -> None:
        histograms = self._collector.histogram_dict
        # Of what float32 cannot part into bins, the largest |x| is left.
        wanted = {
            name: array
            for name, array in arrays.items()
            if _LEAST_SPANNED < self._found[name] < _MOST_SPANNED
        }
        for name in wanted.keys() - histograms.keys():
            largest = np.float32(self._found[name])
            edges = np.linspace(-largest, largest, self._bins + 1, dtype=np.float32)
            empty = np.zeros(self._bins, np.int64)
            # The bins, their edges, and the lowest, highest and largest value so far.
            histograms[name] = (empty, edges, -largest, largest, largest)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            self._collector.collect(wanted)

    def finish(self) -> None:
        """Replace the largest |x| by the threshold of the method."""
        if not self._collector.histogram_dict:
            return
        with contextlib.redirect_stdout(io.StringIO()):
            limits = self._collector.compute_collection_result()
        # Of the two limits of a value, the larger one: int8 is to be symmetric.
        self._found.update(
            {name: float(max(-low, high)) for name, (low, high, *_) in limits.items()}
        )
