"""How long a convolution or a product keeps the cores busy, cut into tiles as a GPU cuts it.

A product of rows × depth × columns is cut into tiles of the output, one for each block of threads.
Every block walks the depth step by step. Three things bound the kernel:

    compute  ⌈tiles / SMs⌉ · 2 · tile · depth / (reached · peak / SMs): what is padded is computed
             too, also the channels of each place of a convolution's kernel to those of a step, and
             the SM with the most tiles ends last.
    latency  ⌈tiles / 2 SMs⌉ · load · (2 + steps / (stages - 1)): each step waits for its operands,
             but stages - 1 steps, or all there are, are on their way at once; two loads more fill
             the pipeline and write the tile out. Two blocks share an SM, and wait together.
    feeding  tiles · steps · (rows + columns of a tile) · step · bytes / L2's bandwidth: every tile
             reads its operands out of L2, and the larger the tile, the less is read twice.

Where the tactic's name does not give the tile, the one that is fastest by this is taken, as
TensorRT's builder does by measuring. Where it does, the builder has found no other to be faster; so
no tile is taken to be much slower than the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgeattn.devices.efficiency import Peak
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.engine.work import Product
from edgeattn.profiling.predict.gpu.rate import Rate, rate_of
from edgeattn.profiling.predict.gpu.tactic import Tactic
from edgeattn.records.layers import Kernel

_TILES: Final = ((256, 128), (256, 64), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32))
# Bytes of the depth that a step takes: 32 values in fp16 and 64 in int8, as most tactics say.
_STEP_BYTES: Final = 64
# From Ampere on, copies into shared memory run beside the computation, three steps ahead.
_STAGES: Final = 4
# Blocks that wait on one SM at once: registers hold the accumulators of two of the larger tiles.
_SHARING: Final = 2
# Of 127 named tiles in the engines of benchmarks/prediction_gpu.py, 94 % are within a quarter of
# the best by this, and the worst is 1.8 times as slow.
_SLOWEST: Final = 1.5
# Up to so many rows a product is one pass over its weights, and any number of blocks shares it.
_FEW_ROWS: Final = 8
# What an image's channels are padded to for tensor cores.
_IMAGE_CHANNELS: Final = 4
# F(2x2, 3x3) multiplies 16 times where a 3x3 kernel does 36 times; its transforms cost a quarter.
_WINOGRAD: Final = 36 / 16 * 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """What bounds a product, in µs, each by itself.

    Attributes:
        compute: On the SM that has the most to do.
        latency: Waiting for operands.
        feeding: Reading operands out of L2.
        ideal: Computing, if nothing were padded and all SMs had as much to do.
        efficiency: What of a device's efficiency computing rests on: a type, or depthwise.
    """

    compute: float = 0.0
    latency: float = 0.0
    feeding: float = 0.0
    ideal: float = 0.0
    efficiency: Peak | Literal["depthwise", ""] = ""

    @property
    def together(self) -> float:
        """All at once."""
        return joined(self.compute, self.latency, self.feeding)

    def times(self, factor: float) -> Busy:
        """The same work, so many times as slow."""
        return replace(
            self,
            compute=self.compute * factor,
            latency=self.latency * factor,
            feeding=self.feeding * factor,
        )


def joined(*times: float) -> float:
    """Return how long it takes to do at once what takes these times by itself.

    More than the longest, since what bounds a kernel changes along its way: the third root of the
    sum of the third powers, which is 26 % more where two are as long.
    """
    return math.cbrt(math.fsum(time**3 for time in times))


def busy(
    kernel: Kernel, product: Product, tactic: Tactic, device: DeviceProfile, point: OperatingPoint
) -> Busy:
    """Return what bounds a product's kernel, its traffic with memory left out."""
    assert point.load_us is not None, "it is a GPU"
    rate, said = rate_of(kernel, tactic, device, point), device.efficiency
    if product.is_depthwise:
        reached = said.depthwise or said.compute
        time = 2 * product.macs / (reached * point.peak_tflops["fp32"] * 1e6)
        return Busy(compute=time, ideal=time, latency=2 * point.load_us, efficiency="depthwise")
    reached = said.of_peak(rate.peak)
    ideal = 2 * product.macs / (reached * rate.flop)
    if tactic.is_winograd:  # its tiles are those of 16 smaller products
        ideal /= _WINOGRAD
    elif tactic.tile is not None or (product.rows > _FEW_ROWS and not tactic.is_small_batch):
        return _tiled(product, tactic, rate, device, point)
    return Busy(compute=ideal, ideal=ideal, latency=3 * point.load_us, efficiency=rate.peak)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """How a block walks the depth, and what a GPU gives it.

    Attributes:
        depth: What it computes of the depth, padded to whole steps.
        fed: Bytes that it reads of the depth, for each row and column of its tile.
        wait: What it waits in all, in µs.
        flop: FLOP per µs that an SM reaches.
        peak: The type whose peak that is a part of.
        sms: SMs.
        cache: Bytes per µs that come out of L2.
    """

    depth: int
    fed: int
    wait: float
    flop: float
    peak: Peak
    sms: int
    cache: float


def _tiled(
    product: Product, tactic: Tactic, rate: Rate, device: DeviceProfile, point: OperatingPoint
) -> Busy:
    walk = _walk(product, tactic, rate, device, point)
    best = min((_cut(product, tile, walk) for tile in _TILES), key=_together)
    if tactic.tile is None:
        return best
    named = _cut(product, tactic.tile, walk)
    return named if named.together <= _SLOWEST * best.together else best.times(_SLOWEST)


def _walk(
    product: Product, tactic: Tactic, rate: Rate, device: DeviceProfile, point: OperatingPoint
) -> _Walk:
    sms, cache_gbps, load_us = point.sms, point.last_level_gbps, point.load_us
    assert sms is not None, "it is a GPU"
    assert cache_gbps is not None, "same"
    assert load_us is not None, "same"
    usual = _STEP_BYTES // rate.width
    step = tactic.depth or tactic.slices * usual
    depth = product.depth
    if rate.on_tensor_cores:  # no step takes channels of two places, but of an image
        is_image = product.channels <= _IMAGE_CHANNELS
        channels = _IMAGE_CHANNELS if is_image else math.ceil(product.channels / usual) * usual
        depth = product.area * channels
    steps = math.ceil(depth / step)
    # CUDA cores take less in a step, and fetch further ahead for it.
    waits = min(steps, math.ceil(depth / usual))
    is_async = rate.on_tensor_cores and (device.compute_capability or (0, 0)) >= (8, 0)
    stages = tactic.stages or (_STAGES if is_async else 1)
    return _Walk(
        depth=steps * step,
        # A block reads an image's places once for all places of its tile that they neighbour.
        fed=0 if product.channels <= _IMAGE_CHANNELS else steps * step * rate.width,
        wait=load_us * (2 + max(1.0, waits / max(1, stages - 1))),
        flop=device.efficiency.of_peak(rate.peak) * rate.flop / sms,
        peak=rate.peak,
        sms=sms,
        cache=cache_gbps * 1e3,
    )


def _cut(product: Product, tile: tuple[int, int], walk: _Walk) -> Busy:
    """Cut a product into tiles, the side that fits better along the rows.

    Families of kernels differ in which side is which, and names do not say.
    """
    found = []
    for rows, columns in (tile, tile[::-1]):
        blocks = math.ceil(product.rows / rows) * math.ceil(product.columns / columns)
        blocks *= product.groups
        rounds = math.ceil(blocks / walk.sms)
        found.append(
            Busy(
                compute=rounds * 2 * rows * columns * walk.depth / walk.flop,
                latency=math.ceil(rounds / _SHARING) * walk.wait,
                feeding=blocks * (rows + columns) * walk.fed / walk.cache,
                ideal=2 * product.macs / (walk.flop * walk.sms),
                efficiency=walk.peak,
            )
        )
    return min(found, key=_together)


def _together(one: Busy) -> float:
    return one.together
