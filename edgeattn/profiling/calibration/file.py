"""Writes a calibration as a device file: each figure with how it was got."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.profiling.calibration.fit import Figures, Rate
from edgeattn.records.work import Layer

# Parts are written so, and none as nothing.
_LEAST_PART: Final = 0.0001
# Where the system says nothing.
_COMMON_MHZ: Final = 2000
_COMMON_KIB: Final = 4096
# These have keys of their own beside the table of layers.
_OWN_KEYS: Final[dict[Layer, str]] = {"dense": "compute", "depthwise": "depthwise"}
_WORDS: Final[dict[Layer, str]] = {
    "dense": "convolutions of 3x3",
    "pointwise": "1x1 convolutions",
    "stem": "convolutions of three channels",
    "grouped": "groups of 16 channels",
    "depthwise": "depthwise convolutions",
    "plain": "convolutions that are not blocked, of 58 channels",
    "plain-depthwise": "depthwise convolutions that are not blocked, of 58 channels",
    "product": "Gemm and MatMul",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the machine beside what kernels take.

    Attributes:
        name: The device's name; "" for the file's.
        title: The same for people.
        clock_mhz: The cores' clock; None if the system does not say.
        cache_kib: The last cache; None if the system does not say.
        header: What, when and with what, in lines.
    """

    name: str
    title: str
    clock_mhz: float | None
    cache_kib: int | None
    header: Sequence[str]


def written(figures: Figures, facts: Facts) -> str:
    """Return the text of the device file."""
    return "\n".join([*_head(figures, facts), *_peaks(figures), *_efficiency(figures), ""])


def _head(figures: Figures, facts: Facts) -> Iterator[str]:
    yield from (f"# {line}" for line in facts.header)
    if facts.name:
        yield f"name = {_text(facts.name)}"
    yield f"title = {_text(facts.title)}"
    yield 'kind = "cpu"'
    yield f"cores = {figures.threads}  # threads that computed; all figures are of as many"
    clock = facts.clock_mhz or _COMMON_MHZ
    yield f"clock_mhz = {clock:.0f}  # {_source(facts.clock_mhz)}; no prediction rests on it"
    yield _figure(
        "bandwidth_gbps", figures.memory_gbps, "weights of 96 MiB, read by a product of one row"
    )
    yield f"last_level_cache_kib = {facts.cache_kib or _COMMON_KIB}  # {_source(facts.cache_kib)}"
    if figures.holds_us is not None:
        yield _figure(
            "last_level_holds_us", figures.holds_us, "an eighth of it, read again after pauses"
        )
    yield _figure("last_level_gbps", _cache_gbps(figures), "what the fastest operator moves")
    yield _figure(
        "kernel_floor_us",
        figures.floor_us,
        "small nodes of several operators, in a chain, not profiled",
    )
    if figures.wake_us is not None:
        yield _figure(
            "wake_us", figures.wake_us,
            "small kernels on all threads, above their share of the time on one",
        )  # fmt: skip
    said = {"clock_mhz": facts.clock_mhz, "last_level_cache_kib": facts.cache_kib}
    if guesses := [key for key, value in said.items() if value is None]:
        yield f"guesses = {json.dumps(guesses)}"


def _peaks(figures: Figures) -> Iterator[str]:
    yield "\n[peak_tflops]"
    fastest = max(figures.layers, key=lambda name: figures.layers[name].value)
    yield _figure("fp32", _peak_tflops(figures), f"what the fastest reach: {_WORDS[fastest]}")


def _efficiency(figures: Figures) -> Iterator[str]:
    peak_gflops = 1e3 * _peak_tflops(figures) / figures.threads
    parts = {name: rate.value / peak_gflops for name, rate in figures.layers.items()}
    yield "\n# Parts of that peak; behind each, GFLOP/s of one core where runs are long."
    yield "[efficiency]"
    for layer, key in _OWN_KEYS.items():
        yield _part(key, parts[layer], _seen(figures.layers[layer], _WORDS[layer]))
    yield "\n[efficiency.layers]"
    for layer, part in parts.items():
        if layer not in _OWN_KEYS:
            yield _part(layer, part, _seen(figures.layers[layer], _WORDS[layer]))
    yield "\n# Places of a row, or of a whole map, that its ends cost."
    yield "[efficiency.ends]"
    for layer, rate in figures.layers.items():
        if rate.ends:
            yield f"{layer} = {rate.ends:.3g}"
    yield "\n# The bandwidth is a measured one already."
    yield "[efficiency.bandwidth]"
    yield "other = 1.0"
    yield "\n# Parts of last_level_gbps; behind each, GB/s of one core. -strided: along an axis"
    yield "# that does not lie together; -broadcast: one of two tensors is stretched."
    yield "[efficiency.operators]"
    core_gbps = _cache_gbps(figures) / figures.threads
    for name, rate in figures.operators.items():
        yield _part(name, rate.value / core_gbps, _seen(rate, ""))


def _peak_tflops(figures: Figures) -> float:
    return figures.threads * max(rate.value for rate in figures.layers.values()) / 1e3


def _cache_gbps(figures: Figures) -> float:
    return figures.threads * max(rate.value for rate in figures.operators.values())


def _seen(rate: Rate, words: str) -> str:
    """Return how a rate was got: `83.5, from 79.8 to 88.8 at 6 sizes`."""
    found = f"{rate.value:.3g}"
    if len(rate.seen) > 1:
        found += f", from {min(rate.seen):.3g} to {max(rate.seen):.3g} at {len(rate.seen)} sizes"
    return f"{words}: {found}" if words else found


def _part(key: str, value: float, comment: str) -> str:
    return f"{key} = {min(1.0, max(_LEAST_PART, value)):.3g}  # {comment}"


def _figure(key: str, value: float, comment: str) -> str:
    return f"{key} = {value:.3g}  # {comment}"


def _source(value: float | None) -> str:
    return "guess: the system does not say" if value is None else "as the system says"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
