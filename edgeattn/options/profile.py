"""What is to be profiled, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A model that is to be profiled.

    Attributes:
        path: Its file: ONNX, an engine, or an engine's manifest.
        name: What it is called in tables and pictures.
        variant: Of a comparison: plain, stock or lowered.
        model: What it was made from, where the file is not kept; "" for the file itself.
    """

    path: Path
    name: str
    variant: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """How to profile.

    Attributes:
        device: A device profile's name or file; None for this machine, or an engine's own.
        power_mode: Its power mode; None for the default.
        runtime: The runtime; None for what the file and the device leave no choice of.
        predict: Predict even what could be measured here.
        threads: Threads of a CPU; None for as many as there are cores.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; none for the file's own.
        seed: Seed of the inputs.
        site_globs: Globs of module paths that are sites, instead of those that are found.
        marginal: Profile the model with its sites replaced by identity too; None for where it
            costs little: of ONNX files, and not of engines.
        limit_s: Seconds after which no new window of runs begins.
    """

    device: str | None = None
    power_mode: str | None = None
    runtime: str | None = None
    predict: bool = False
    threads: int | None = None
    batch: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    site_globs: tuple[str, ...] = ()
    marginal: bool | None = None
    limit_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecFiles:
    """What trtexec exported of a run.

    Attributes:
        layers: Of --exportLayerInfo.
        profile: Of --exportProfile; None to predict instead.
        times: Of --exportTimes; None where there is none.
    """

    layers: Path
    profile: Path | None = None
    times: Path | None = None
