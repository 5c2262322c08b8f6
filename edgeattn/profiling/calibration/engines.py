"""Fits a GPU's figures to engines that were measured: the inverse of `predict.gpu`.

What a kernel takes is made of a few parts (`predict.gpu.predict`), each the inverse of a figure:
computing of the efficiency of its type, waiting for operands of `load_us`, and so on. The parts are
taken once, scaled while the figures are solved for (`solve`), and taken again with these, since
tiles and what bounds a kernel may be others then.

Efficiencies of all types move together, and each a little by itself; so do kinds of kernels with
the bandwidth. So a trace in FP16 tells something of INT8, and one in INT8 more.

A profiler adds about the same to each kernel: how much is a figure too, of each trace. Where the
engine was timed without one as well, that is known, and so is the floor.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgeattn.devices.efficiency import Efficiency
from edgeattn.devices.schema import DeviceProfile
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

# The figures that all kernels have, or all engines.
_ALWAYS: Final = ("kernel_floor_us", "last_level_gbps", "load_us")
# Spreads of what a start says, as standard deviations of the logarithm: of a guess, and of what
# rests on something.
_GUESS: Final = 0.4
_SOURCED: Final = 0.2
# What one type, or one kind of kernel, may differ by from the others.
_BY_ITSELF: Final = 0.2
# Spread of what is missed of an engine end to end; that of a kernel, predictions say.
_ENGINE: Final = 0.05
# What a profiler adds to a kernel where nothing says, and how sure that is; and how sure, where
# the engine's latency says it.
_ADDED_US: Final = 3.0
_ADDED: Final = (0.7, 0.15)
_LEAST_ADDED_US: Final = 0.05
_EQUAL: Final = 1e-6
# No part of a peak is less.
_LEAST_PART: Final = 0.01
# The parts are taken so often: each time with what was found before.
_ROUNDS: Final = 4
# A figure of which this much of the doubt is gone is known.
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

    said = _said(start)
    start = start.whole
    known = _Figures.of(engines, start)
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


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of a device that are solved for.

    Attributes:
        keys: Their keys.
        sums: f64[keys, x]: which x the logarithm of each is the sum of. The last x are what the
            profiler adds to the kernels of each engine.
        trusted: The spread of each x.
    """

    keys: tuple[str, ...]
    sums: Array
    trusted: Array

    @classmethod
    def of(cls, engines: Sequence[Engine], start: DeviceProfile) -> _Figures:
        import numpy as np

        kinds, types = set[str](start.efficiency.bandwidth), set[str]()
        for engine in engines:
            for part in _parts(engine, start):
                kinds.add(part.kind)
                types.add(part.busy.efficiency)
        parts: dict[str, tuple[str, ...]] = {key: (key,) for key in _ALWAYS}
        parts["efficiency.compute"] = ("efficiency.compute",)
        for one in sorted(types - {"", "depthwise"}):
            parts[f"efficiency.types.{one}"] = ("efficiency.compute", f"efficiency.types.{one}")
        if "depthwise" in types:
            parts["efficiency.depthwise"] = ("efficiency.depthwise",)
        for kind in sorted(kinds):
            key = f"efficiency.bandwidth.{kind}"
            parts[key] = ("efficiency.bandwidth", key)
        names = list(dict.fromkeys(name for names in parts.values() for name in names))
        sums = np.zeros((len(parts), len(names) + len(engines)))
        for row, own in enumerate(parts.values()):
            for name in own:
                sums[row, names.index(name)] = 1
        trusted = [_trusted(name, start) for name in names]
        trusted += [_ADDED[engine.added_us is not None] for engine in engines]
        return cls(tuple(parts), sums, np.array(trusted))

    def row(self, key: str) -> Array:
        """Return which x a figure is the sum of; none for no figure."""
        found: Array = self.sums[self.keys.index(key)] if key in self.keys else self.sums[0] * 0
        return found

    def values(self, device: DeviceProfile) -> dict[str, float]:
        """Return what each is."""
        return {key: _value(device, key) for key in self.keys}

    def moved(
        self, start: DeviceProfile, x: Array, *, without: Collection[str] = ()
    ) -> DeviceProfile:
        """Return a device with its figures moved, but for those that it shall not say."""
        by = dict(zip(self.keys, self.sums @ x, strict=True))
        found: dict[str, Any] = {"efficiency": start.efficiency.model_dump()}
        for key, more in by.items():
            *tables, last = key.split(".")
            table = found
            for name in tables:
                table = table[name]
            value = _value(start, key) * math.exp(more)
            table[last] = min(1.0, max(_LEAST_PART, value)) if tables else value
            if key in without:
                table[last] = None
        for name in ("types", "bandwidth"):
            parts = found["efficiency"][name]
            found["efficiency"][name] = {
                one: part for one, part in parts.items() if part is not None
            }
        return start.model_copy(update=found | {"efficiency": Efficiency(**found["efficiency"])})


def _said(device: DeviceProfile) -> set[str]:
    """Return the figures that a file says itself."""
    efficiency = device.efficiency
    return {
        *(key for key in _ALWAYS if getattr(device, key) is not None),
        "efficiency.compute",
        *(f"efficiency.types.{one}" for one in efficiency.types),
        *(f"efficiency.bandwidth.{kind}" for kind in efficiency.bandwidth),
        *(["efficiency.depthwise"] if efficiency.depthwise is not None else []),
    }


def _value(device: DeviceProfile, key: str) -> float:
    said = device.efficiency
    _, _, name = key.rpartition(".")
    if key in _ALWAYS:
        return float(getattr(device, key))
    if key.startswith("efficiency.types."):
        return {str(one): part for one, part in said.types.items()}.get(name, said.compute)
    if key.startswith("efficiency.bandwidth."):
        parts = {str(kind): part for kind, part in said.bandwidth.items()}
        return parts.get(name, parts["other"])
    return said.compute if name == "compute" else said.depthwise or said.compute


def _trusted(name: str, start: DeviceProfile) -> float:
    """Return how far a figure of the start is trusted."""
    if name.count(".") > 1:
        return _BY_ITSELF
    # What no profile says follows from the clock, as on another GPU.
    is_guess = name in ("last_level_gbps", "load_us") or start.is_guess(name)
    return (
        _GUESS if is_guess or any(one.startswith(f"{name}.") for one in start.guesses) else _SOURCED
    )


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
    def of(cls, engine: Engine, device: DeviceProfile, known: _Figures) -> _Taken:
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
            keys=[*computes, *moves, *always, *(key for key in _ALWAYS for _ in parts)],
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
        self, engines: Sequence[Engine], taken: Sequence[_Taken], known: _Figures, *, base: Array
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
        floor_by, cache_by, load_by = (math.exp(self._known.row(key) @ moved) for key in _ALWAYS)
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
