"""Compares predicted times of TensorRT engines with measured ones.

    python benchmarks/prediction_gpu.py [FOLDER ...] [--fit] [--layers NAME] [--plans DIR]

A folder holds engines: layers.json, profile.json and measurement.json of each, as in the default,
export_tests/engine/files. For each engine: the measured and the predicted end-to-end time,
the interval, and Spearman's rank correlation of the layers' times.

`--fit` picks the model's three free constants again, on all engines, on all but one, and on all but
those of one device, and predicts what was left out. `--layers` prints the layers of an engine.
`--plans` compares plans of TensorRT-RTX with published times on devices of which there is no engine
here, and keeps the plans in a folder; those of YOLO models want ultralytics.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from prediction_engines import Engine, rank_correlation, read_engines

from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.predict.gpu.predict import Prediction, predict

MEASURED: Final = Path(__file__).parents[1] / "export_tests" / "engine" / "files"
# What is fitted, and what each may be. All GPUs share them; what they are on one device follows.
CONSTANTS: Final[Mapping[str, Sequence[float]]] = {
    "compute": [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0],
    "load_clocks": [200, 250, 320, 400, 480, 560, 640, 720, 800, 900, 1000],
    "floor_us": [1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0],
}
# Where the search starts: a plain roofline with half of the peak, which is far from the answer.
START: Final = {"compute": 0.5, "load_clocks": 320.0, "floor_us": 4.0}
# No kernel takes less without the profiler; a mean overhead may be too much for the smallest.
LEAST_US: Final = 1.0


def main() -> int:
    """Print the comparison, and what else was asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="*", default=[MEASURED])
    parser.add_argument("--fit", action="store_true", help="fit again, leaving engines out")
    parser.add_argument("--layers", metavar="NAME", help="print the layers of this engine")
    parser.add_argument(
        "--plans", type=Path, metavar="DIR", help="compare plans with published times"
    )
    asked = parser.parse_args()
    engines = read_engines(asked.folder)
    if not engines:
        print("There is no engine in these folders.")
        return 2
    for engine in engines:
        if engine.name == asked.layers:
            print_layers(engine)
    print_engines(engines, [predicted(engine) for engine in engines])
    if asked.fit:
        print_fits(engines)
    if asked.plans:
        from prediction_plans import print_plans

        print_plans(asked.plans)
    return 0


def predicted(engine: Engine, constants: Mapping[str, float] | None = None) -> Prediction:
    """Predict an engine, with the device's figures or with other constants."""
    device = engine.device if constants is None else adjusted(engine.device, constants)
    return predict(engine.kernels, device, device.at())


def adjusted(device: DeviceProfile, constants: Mapping[str, float]) -> DeviceProfile:
    """Return a device with other constants."""
    compute = {"compute": constants["compute"]}
    return device.model_copy(
        update={
            "efficiency": device.efficiency.model_copy(update=compute),
            "load_us": constants["load_clocks"] / device.clock_mhz,
            "kernel_floor_us": constants["floor_us"],
        }
    )


def print_engines(engines: Sequence[Engine], predictions: Sequence[Prediction]) -> None:
    """Print a line for each engine, and how far all are off."""
    print(f"{'engine':44}{'measured':>9}{'predicted':>10}{'error':>8}{'interval':>16}  holds  rank")
    errors, held = [], []
    for engine, found in zip(engines, predictions, strict=True):
        error = found.end_to_end_us / engine.measured_us - 1
        errors.append(abs(error))
        held.append(found.low_us <= engine.measured_us <= found.high_us)
        pairs = [
            (one.time_us, time)
            for one, time in zip(found.kernels, engine.profiled_us, strict=True)
            if time is not None
        ]
        rank = rank_correlation(*zip(*pairs, strict=True))
        print(
            f"{engine.name:44}{engine.measured_us:9.0f}{found.end_to_end_us:10.0f}{error:8.1%}"
            f"{found.low_us:8.0f} -{found.high_us:6.0f}  {'yes' if held[-1] else 'NO':5}{rank:6.2f}"
        )
    mean, most = statistics.mean(errors), max(errors)
    print(
        f"error: mean {mean:.1%}, largest {most:.1%}; {sum(held)} of {len(held)} intervals hold\n"
    )


def print_layers(engine: Engine) -> None:
    """Print what each layer takes, less what profiling adds on average, and what is predicted."""
    found = predicted(engine)
    print(f"{engine.name}: profiling adds {engine.overhead_us:.1f} µs to each layer")
    for kernel, one, time in zip(engine.kernels, found.kernels, engine.profiled_us, strict=True):
        measured = "-" if time is None else f"{time - engine.overhead_us:.1f}"
        print(f"{measured:>8}{one.time_us:8.1f}  {one.bound:8}{kernel.kind:26}{kernel.name[:60]}")
    print()


def print_fits(engines: Sequence[Engine]) -> None:
    """Fit on all, and on all but a part that is then predicted."""
    print(f"{'left out':44}{'error':>8}  holds  constants fitted on the others")
    report("nothing", engines, engines)
    for engine in engines:
        report(engine.name, [one for one in engines if one is not engine], [engine])
    for name in dict.fromkeys(engine.device.name for engine in engines):
        own = [engine for engine in engines if engine.device.name == name]
        report(f"all of {name}", [one for one in engines if one not in own], own)


def report(name: str, fitted_on: Sequence[Engine], tried_on: Sequence[Engine]) -> None:
    """Print how engines are hit by constants that others gave."""
    if not fitted_on:
        return
    constants = fit(fitted_on)
    errors, held = [], []
    for engine in tried_on:
        found = predicted(engine, constants)
        errors.append(abs(found.end_to_end_us / engine.measured_us - 1))
        held.append(found.low_us <= engine.measured_us <= found.high_us)
    said = ", ".join(f"{name} {value:g}" for name, value in constants.items())
    print(f"{name:44}{statistics.mean(errors):8.1%}  {sum(held)} of {len(held)}  {said}")


def fit(engines: Sequence[Engine]) -> dict[str, float]:
    """Climb from the start to the constants that no neighbours in the lattice better."""
    sizes = [len(values) for values in CONSTANTS.values()]
    at = tuple(
        min(range(len(values)), key=lambda place: abs(values[place] - START[name]))
        for name, values in CONSTANTS.items()
    )
    known: dict[tuple[int, ...], float] = {}

    def cost_at(place: tuple[int, ...]) -> float:
        if place not in known:
            known[place] = cost(engines, constants_at(place))
        return known[place]

    while True:
        near = (
            tuple(one + step for one, step in zip(at, steps, strict=True))
            for steps in itertools.product((-1, 0, 1), repeat=len(at))
        )
        inside = (
            place
            for place in near
            if all(0 <= one < size for one, size in zip(place, sizes, strict=True))
        )
        best = min(inside, key=cost_at)
        if cost_at(best) >= cost_at(at):
            return constants_at(at)
        at = best


def constants_at(place: Sequence[int]) -> dict[str, float]:
    """Return the constants at a place of the lattice."""
    return {
        name: values[index] for (name, values), index in zip(CONSTANTS.items(), place, strict=True)
    }


def cost(engines: Sequence[Engine], constants: Mapping[str, float]) -> float:
    """Return the error: of the engines and, with half the weight, of their layers (squared)."""
    total = 0.0
    for engine in engines:
        found = predicted(engine, constants)
        total += math.log(found.end_to_end_us / engine.measured_us) ** 2
        total += 0.5 * statistics.mean(
            math.log(one.time_us / max(LEAST_US, time - engine.overhead_us)) ** 2
            for one, time in zip(found.kernels, engine.profiled_us, strict=True)
            if time is not None
        )
    return total


if __name__ == "__main__":
    sys.exit(main())
