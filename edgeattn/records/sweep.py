"""What a sweep found: one row for each job, a model at one place."""

from __future__ import annotations

from pydantic import ConfigDict

from edgeattn.records.base import Frozen
from edgeattn.records.trace import Evidence


def made_of(model: str, attention: str, at: str) -> str:
    """Return what a model is called: its backbone, the attention in it, and where that sits."""
    return f"{model}{f' + {attention}' if attention else ''}{f' at {at}' if at else ''}"


def label_of(
    model: str,
    attention: str,
    at: str,
    opset: int,
    precision: str,
    target: str,
    options: str,
    place: str,
) -> str:
    """Return what a job, or its row, is called: all that tells it from others."""
    said = [
        made_of(model, attention, at),
        f"opset {opset}",
        precision,
        target or "stock",
        options,
        place,
    ]
    return ", ".join(filter(None, said))


class _Finite(Frozen):
    model_config = ConfigDict(allow_inf_nan=False)


class SiteFigures(_Finite):
    """What one site costs.

    Attributes:
        path: The module that holds it.
        attention: What it is.
        shape: (C, H, W) of the map that it attends; none where it is not known.
        time_us: Its kernels' time.
        macs_us: What its MACs would take at the rate of the backbone's convolutions; None if there
            are none.
        traffic_bytes: Bytes that its kernels move; None if they are not told.
        launches: Kernels that are its own, or that it shares.
    """

    path: str
    attention: str
    shape: tuple[int, ...] = ()
    time_us: float
    macs_us: float | None
    traffic_bytes: int | None
    launches: int


class SweepRow(_Finite):
    """A model, how it was made, where it runs, and what it takes there.

    Attributes:
        key: The hash of all that decides the row.
        model: The source of the backbone.
        attention: What the attention is called; "" of the plain model.
        at: Where it sits; "" for its published place.
        opset: The opset of the file.
        precision: fp32, fp16 or int8.
        target: What it was lowered for; "" where it was not.
        runtime: What runs it.
        device: The device profile that it is predicted for, the address of the host, or the name
            of this machine's processor.
        title: The same for people.
        power_mode: The device's power mode; "" if there is none.
        options: What else was asked that decides it, where that is not the default.
        evidence: Whether it was measured or predicted.
        latency_ms: The median, or what is predicted.
        latency_interval_ms: Between what bounds; None if that is not known.
        above_ms: What it takes above the plain model there; None of the plain model, or if that is
            not known.
        above_percent: The same, per cent of the plain model.
        above_interval_percent: Between what bounds: 95 % of what was measured, 90 % of what was
            predicted.
        params: Parameters; None if they are not known.
        macs: Multiply-accumulates, those of products of two activations included.
        element_ops: What FLOP counters skip.
        traffic_bytes: Bytes that its kernels move; None if they are not told.
        kernels: How many kernels, or nodes of the optimised graph, it runs.
        attention_us: The time of all sites' kernels; None of the plain model.
        sites: What each site costs.
        energy_mj: Energy of an inference; None where it was not read.
        weights_bytes: What its weights take.
        activations_bytes: The most that its activations take at one time, as planned.
        versions: The versions of what made it.
        notes: What else a reader should know.
    """

    key: str
    model: str
    attention: str
    at: str = ""
    opset: int
    precision: str
    target: str
    runtime: str
    device: str
    title: str
    power_mode: str = ""
    options: str = ""
    evidence: Evidence
    latency_ms: float
    latency_interval_ms: tuple[float, float] | None
    above_ms: float | None = None
    above_percent: float | None = None
    above_interval_percent: tuple[float, float] | None = None
    params: int | None
    macs: int
    element_ops: int
    traffic_bytes: int | None
    kernels: int
    attention_us: float | None = None
    sites: tuple[SiteFigures, ...] = ()
    energy_mj: float | None = None
    weights_bytes: int | None = None
    activations_bytes: int | None = None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What it is called."""
        mode = f", {self.power_mode}" if self.power_mode else ""
        place = f"{self.runtime} on {self.title}{mode}"
        made = (self.model, self.attention, self.at, self.opset, self.precision, self.target)
        return label_of(*made, self.options, place)

    @property
    def coordinates(self) -> tuple[object, ...]:
        """What it has in common with the same model at the same place, made another time."""
        made = (self.model, self.attention, self.at, self.opset, self.precision, self.target)
        where = (self.runtime, self.device, self.title, self.power_mode, self.evidence)
        return (*made, self.options, *where)
