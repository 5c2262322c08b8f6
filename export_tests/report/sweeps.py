"""Rows of sweeps as large as one likes, with figures of the size that real ones have."""

from __future__ import annotations

import itertools
import random

from edgeattn.records.sweep import SiteFigures, SweepRow

#: Parameters and MACs in millions, GPU latency in ms on the fastest device, channels of each stage.
BACKBONES = {
    "resnet18": (11.7, 1814, 1.1, (64, 128, 256, 512)),
    "resnet50": (25.6, 4089, 2.4, (256, 512, 1024, 2048)),
    "mobilenet_v2": (3.5, 301, 1.0, (24, 32, 96, 320)),
    "efficientnet_b0": (5.3, 386, 1.6, (24, 40, 112, 320)),
    "timm:convnext_tiny": (28.6, 4456, 3.9, (96, 192, 384, 768)),
    "densenet121": (8.0, 2834, 4.1, (256, 512, 1024, 1024)),
    "regnet_y_400mf": (4.3, 402, 1.5, (48, 104, 208, 440)),
    "shufflenet_v2_x1_0": (2.3, 145, 1.2, (116, 232, 464, 464)),
    "ghostnet_100": (5.2, 142, 1.7, (24, 40, 112, 160)),
    "yolo11n": (2.6, 3280, 2.9, (64, 128, 128, 256)),
}
#: Of each attention: parameters for a channel, its share of time, launches.
ATTENTIONS = {
    "simam": (0, 3.0, 3), "se": (40, 1.4, 4), "eca": (0.1, 1.2, 3), "cbam": (42, 4.2, 9),
    "bam": (30, 3.6, 8), "ulsam": (9, 5.1, 14), "ca": (24, 2.9, 8), "gam": (900, 7.5, 12),
    "sge": (1, 3.3, 6), "sa": (3, 2.2, 7), "triplet": (2, 6.1, 15), "srm": (4, 1.9, 4),
    "gct": (3, 1.7, 4), "lct": (2, 1.8, 4), "fca": (40, 1.6, 5), "ge": (20, 2.4, 6),
    "gcnet": (60, 2.6, 7), "nonlocal": (500, 9.0, 8), "skip": (0, 0.2, 1), "mine": (12, 2.0, 5),
}  # fmt: skip
DEVICES = {
    "jetson-orin-nano": ("Jetson Orin Nano", "15W", 1.0),
    "jetson-agx-orin": ("Jetson AGX Orin", "MAXN", 0.35),
    "jetson-nano": ("Jetson Nano", "MAXN", 9.0),
    "jetson-xavier-nx": ("Jetson Xavier NX", "15W", 1.9),
    "a100-80g-pcie": ("A100 80GB PCIe", "", 0.12),
}
PLACES = ("", "block-end", "stage-end", "neck", "stages.-1")


def rows(
    *,
    backbones=3,
    attentions=4,
    devices=2,
    places=1,
    precisions=("fp32", "fp16"),
    measured=(),
    seed=0,
):
    """Yields the rows of a sweep, a plain model first at each place.

    Args:
        measured: Devices, by their number, whose rows are measured.
    """
    chance = random.Random(seed)
    known = list(DEVICES.items())[:devices]
    for (number, (device, facts)), backbone, precision in itertools.product(
        enumerate(known), list(BACKBONES)[:backbones], precisions
    ):
        plain_ms = BACKBONES[backbone][2] * facts[2] * (0.6 if precision == "fp16" else 1.0)
        plain_ms *= chance.uniform(0.95, 1.05)
        how = {"model": backbone, "precision": precision, "device": device}
        how["evidence"] = "measured" if number in measured else "predicted"
        yield row(plain_ms, chance, attention="", at="", **how)
        for attention, at in itertools.product(list(ATTENTIONS)[:attentions], PLACES[:places]):
            yield row(plain_ms, chance, attention=attention, at=at, **how)


def row(plain_ms, chance, *, model, attention, at, precision, device, evidence):
    """A row whose sites cost what maps of their size do."""
    params_m, macs_m, _, channels = BACKBONES[model]
    title, mode, speed = DEVICES[device]
    per_channel, weight, launches = ATTENTIONS.get(attention, (0, 0, 0))
    each = {"": 3, "block-end": 3, "stage-end": 1}.get(at, 2)
    sites = []
    for stage, wide in enumerate(channels if attention else ()):
        side = 56 >> stage
        for block in range(each):
            traffic = int(wide * side * side * 4 * weight)
            sites.append(
                SiteFigures(
                    path=f"layer{stage + 1}.{block}.attention",
                    attention=attention,
                    shape=(wide, side, side),
                    time_us=speed * (4 * launches + traffic / 4e4) * chance.uniform(0.9, 1.1),
                    macs_us=speed * per_channel * wide / 4e3,
                    traffic_bytes=traffic,
                    launches=launches,
                )
            )
    attention_us = sum(one.time_us for one in sites)
    latency_ms = plain_ms + attention_us / 1e3 * (0.5 if precision == "fp16" else 1.0)
    above_ms = latency_ms - plain_ms
    percent = 100 * above_ms / plain_ms
    spread = 0.02 if evidence == "measured" else 0.2
    params = int(1e6 * params_m + per_channel * sum(one.shape[0] for one in sites))
    return SweepRow(
        key=f"{chance.getrandbits(256):064x}",
        model=model,
        attention=attention,
        at=at,
        opset=18,
        precision=precision,
        target="tensorrt",
        runtime="tensorrt",
        device=device,
        title=title,
        power_mode=mode,
        evidence=evidence,
        latency_ms=latency_ms,
        latency_interval_ms=((1 - spread) * latency_ms, (1 + spread) * latency_ms),
        above_ms=above_ms if attention else None,
        above_percent=percent if attention else None,
        above_interval_percent=(percent * 0.7 - 1, percent * 1.3 + 1) if attention else None,
        params=params,
        macs=int(1e6 * macs_m + 1000 * per_channel),
        element_ops=int(sum(one.traffic_bytes for one in sites)),
        traffic_bytes=int(4e6 * params_m) + sum(one.traffic_bytes for one in sites),
        kernels=60 + launches * len(sites),
        attention_us=attention_us if attention else None,
        sites=tuple(sites),
        energy_mj=10 * latency_ms if evidence == "measured" else None,
        weights_bytes=4 * params,
        activations_bytes=int(2.4e6),
        versions={"edgeattn": "0.1.0", "torch": "2.13.0"},
        notes=("The plan is of another GPU.",) if device == "a100-80g-pcie" else (),
    )
