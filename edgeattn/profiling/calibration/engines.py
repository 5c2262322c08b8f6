"""Fits a GPU's figures to engines that were measured: the inverse of `predict.gpu`.

What a kernel takes is made of a few parts (`predict.gpu.predict`), each the inverse of a figure:
computing of the efficiency of its type, waiting for operands of `load_us`, and so on. The parts are
taken once, scaled while the figures are solved for (`solve`), and taken again with these, since
tiles and what bounds a kernel may be others then.

What figures have in common (`engine_figures`) makes a trace in FP16 tell something of INT8.

A profiler adds about the same to each kernel: how much is a figure too, of each trace. Where the
engine was timed without one as well, that is known, and so is the floor.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.calibration.engine_figures import ALWAYS, Figures, said_by
from edgeattn.profiling.calibration.figures import Figure, Fitted
from edgeattn.profiling.calibration.solve import solve
from edgeattn.profiling.predict.gpu.predict import AS_LISTED, Parts, Prediction, parts_of, predict
from edgeattn.profiling.predict.gpu.traffic import traffic_of
from edgeattn.records.layers import Kernel
from edgeattn.records.trace import Trace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# Spread of what is missed of an engine end to end; that of a kernel, predictions say.
_ENGINE: Final = 0.05
# What a profiler adds to a kernel where nothing says, and how sure that is; and how sure, where
# the engine's latency says it.
_ADDED_US: Final = 3.0
_ADDED: Final = (0.7, 0.15)
_LEAST_ADDED_US: Final = 0.05
_EQUAL: Final = 1e-6
# The parts are taken so often: each time with what was found before.
_ROUNDS: Final = 4
# A figure is known if this part of the doubt of it is left, or less.
_KNOWN: Final = 0.65
# A kernel that counts for less is an outlier.
_LITTLE: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that was measured.

    Attributes:
        name: What it is called.
        kernels: Its kernels.
        times_us: What each took under a profiler; 0 where that is not known.
        latency_us: What all took without one; None if that is not known, or if the host held them
            up.
        launch_us: What the host took to launch one, where it launched them one by one; None if it
            did not, or that is not known.
        power_mode: The mode that it ran in; None for the device's default.
    """

    name: str
    kernels: tuple[Kernel, ...]
    times_us: tuple[float, ...]
    latency_us: float | None
    power_mode: str | None = None
    launch_us: float | None = None

    @classmethod
    def of(cls, trace: Trace, power_mode: str | None) -> Engine:
        """Return the engine of a trace that has its layers."""
        assert trace.layers is not None
        kernels = trace.layers.kernels
        times = tuple(one.time_us for one in trace.kernels[: len(kernels)])
        latency_us = trace.end_to_end.latency_us
        # Where nothing was timed as a whole, the latency is the sum of all.
        whole_us = math.fsum(one.time_us for one in trace.kernels)
        is_summed = math.isclose(latency_us, whole_us, rel_tol=_EQUAL)
        told, launch_us = trace.end_to_end, None
        if told.is_launched_singly and told.enqueue_us is not None:
            launch_us = told.enqueue_us / len(kernels)
        return cls(
            name=trace.name,
            kernels=kernels,
            times_us=times,
            latency_us=None if is_summed or told.is_launched_singly else latency_us,
            power_mode=power_mode,
            launch_us=launch_us,
        )

    @property
    def added_us(self) -> float | None:
        """What the profiler added to each kernel; None if that is not known."""
        known = [time for time in self.times_us if time]
        if self.latency_us is None or not known or len({one.stream for one in self.kernels}) > 1:
            return None
        added = (sum(known) - self.latency_us) / len(known)
        return max(_LEAST_ADDED_US, min([added, *known]))  # it is a part of the smallest, too


def fit_engines(engines: Sequence[Engine], start: DeviceProfile) -> Fitted:
    """Fit the figures of a device.

    Args:
        engines: What was measured on it.
        start: What is believed of it.

    Raises:
        InputError: A shape or a type of a kernel is not known.
    """
    import numpy as np

    said = said_by(start)
    start = start.whole
    every = [part for engine in engines for part in _parts(engine, start)]
    known = Figures.of(
        start,
        {part.kind for part in every},
        {part.busy.efficiency for part in every},
        [_ADDED[engine.added_us is not None] for engine in engines],
    )
    x, device = np.zeros(len(known.trusted)), start
    for _ in range(_ROUNDS):
        taken = [_Taken.of(engine, device, known) for engine in engines]
        missed = _Missed(engines, taken, known, base=x)
        solution = solve(missed, known.trusted, x)
        x = solution.x
        device = known.moved(start, x)
    doubt = known.sums @ solution.covariance @ known.sums.T
    doubted = known.sums @ np.diag(known.trusted**2) @ known.sums.T
    spreads = np.sqrt(np.diag(doubt))
    follow = Counter(key for one in taken for key in one.keys)
    before, after = known.values(start), known.values(device)
    figures = [
        Figure(
            key=key,
            before=before[key],
            after=after[key],
            spread=float(spread),
            is_known=follow[key] > 0 and bool(spread < _KNOWN * math.sqrt(doubted[place, place])),
            kernels=follow[key],
        )
        for place, (key, spread) in enumerate(zip(known.keys, spreads, strict=True))
    ]
    silent = {one.key for one in figures if not one.is_known} - said
    device = known.moved(start, x, without=silent)
    launches = [one for one in engines if one.launch_us is not None]
    if launches:
        launch_us = statistics.median(one.launch_us for one in launches if one.launch_us)
        device = device.model_copy(update={"enqueue_us": launch_us})
        figures.append(
            Figure(
                key="enqueue_us",
                before=start.enqueue_us,
                after=launch_us,
                spread=None,
                is_known=True,
                kernels=sum(len(one.kernels) for one in launches),
            )
        )
    return Fitted(
        device=device,
        figures=tuple(one for one in figures if one.key not in silent),
        outliers=tuple(missed.outliers(solution.weights)),
    )


def predicted(engine: Engine, device: DeviceProfile) -> Prediction:
    """Predict an engine that was measured."""
    return predict(engine.kernels, device, device.at(engine.power_mode), AS_LISTED)


def _start_us(engine: Engine) -> float:
    known = engine.added_us
    return _ADDED_US if known is None else known


def _parts(engine: Engine, device: DeviceProfile) -> list[Parts]:
    point = device.at(engine.power_mode)
    return parts_of(engine.kernels, traffic_of(engine.kernels), device, point)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The parts of an engine's kernels, and the figures that they follow.

    Attributes:
        keys: The figures that each kernel follows.
        columns: Compute, latency, feeding, memory, cache, floor and spread: a row each.
        computes: f64[kernels, x]: what computing follows.
        moves: The same of what moving bytes follows.
        alike: How many kernels of the engine do the same as each: they are one observation.
        overlap: The engine's time over the sum of its kernels': less than 1 of several streams.
    """

    keys: list[str]
    columns: Array
    computes: Array
    moves: Array
    alike: Array
    overlap: float

    @classmethod
    def of(cls, engine: Engine, device: DeviceProfile, known: Figures) -> _Taken:
        import numpy as np

        parts = _parts(engine, device)
        rows = [
            (
                *(one.busy.compute, one.busy.latency, one.busy.feeding),
                *(one.memory, one.cache, one.floor, one.spread),
            )
            for one in parts
        ]
        counts = Counter(rows)
        computes = [_efficiency_key(one.busy.efficiency) for one in parts]
        moves = [f"efficiency.bandwidth.{one.kind}" for one in parts]
        always = ["efficiency.compute" if of.count(".") > 1 else "" for of in computes]
        return cls(
            keys=[*computes, *moves, *always, *(key for key in ALWAYS for _ in parts)],
            columns=np.array(rows).T,
            computes=np.array([known.row(key) for key in computes]),
            moves=np.array([known.row(key) for key in moves]),
            alike=np.array([float(counts[row]) for row in rows]),
            overlap=predicted(engine, device).end_to_end_us / sum(one.time for one in parts),
        )


def _efficiency_key(of: str) -> str:
    if of == "depthwise":
        return "efficiency.depthwise"
    return f"efficiency.types.{of}" if of else ""


class _Missed:
    """What is missed, in spreads, where figures are moved from where the parts were taken."""

    def __init__(
        self, engines: Sequence[Engine], taken: Sequence[_Taken], known: Figures, *, base: Array
    ) -> None:
        self._pairs = list(zip(engines, taken, strict=True))
        self._known, self._base = known, base

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.concatenate(
            [
                self._of(engine, one, x, float(added))
                for (engine, one), added in zip(self._pairs, x[-len(self._pairs) :], strict=True)
            ]
        )

    def _of(self, engine: Engine, taken: _Taken, x: Array, added: float) -> Array:
        """Return what is missed of each kernel, and of all together."""
        import numpy as np

        moved = x - self._base
        floor_by, cache_by, load_by = (math.exp(self._known.row(key) @ moved) for key in ALWAYS)
        compute, latency, feeding, memory, cache, floor, spread = taken.columns
        slower = np.exp(-taken.moves @ moved)
        traffic = np.maximum(memory, cache / cache_by) * slower
        work = np.cbrt(
            (compute * np.exp(-taken.computes @ moved)) ** 3
            + (latency * load_by) ** 3
            + (feeding / cache_by) ** 3
            + traffic**3
        )
        times = floor * floor_by + work
        said = np.array(engine.times_us)
        profiled = times + _start_us(engine) * math.exp(added)
        missed = np.log(np.where(said > 0, said / profiled, 1.0)) / spread / np.sqrt(taken.alike)
        whole = 0.0
        if engine.latency_us is not None:
            whole = math.log(engine.latency_us / (times.sum() * taken.overlap)) / _ENGINE
        return np.append(missed, whole)

    def outliers(self, weights: Array) -> Iterator[tuple[str, str]]:
        """Yield the kernels that count for little, and the engine of each."""
        place = 0
        for engine, _ in self._pairs:
            for kernel in engine.kernels:
                if weights[place] < _LITTLE:
                    yield engine.name, kernel.name
                place += 1
            place += 1  # the engine as a whole
