"""What a sweep goes through: lists, of which every combination is a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag, flag, flags, switch
from edgeattn.options.hosts import on

#: What is asked for models that are not lowered.
STOCK: Final = "stock"


def listed(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a list, each once; a text may hold several, with commas between.

    Raises:
        InputError: A name is empty.
    """
    found = [part.strip() for text in texts for part in str(text).split(",")]
    if not all(found):
        raise InputError(
            f"{','.join(found)!r} holds a name that is empty.", mend="For example: se,simam,ulsam"
        )
    return tuple(dict.fromkeys(found))


def _several(spelling: str, said: str, default: tuple[str, ...] = ()) -> Any:
    said = f"{said} Commas between several, or given again."
    return flags(Flag(spelling, said), default=default, read=listed)


def _whole(texts: Iterable[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in listed(texts))
    except ValueError:
        raise InputError(
            f"--opset {','.join(map(str, texts))} is no list of whole numbers.",
            mend="For example: --opset 13,17",
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What a sweep goes through, and how.

    Attributes:
        attentions: Their names; the plain model is always there.
        places: Where they go; none for the published places.
        opsets: None for 17, or the highest that a host takes.
        targets: None for what is to run them.
        runtimes: None for that of the device or host.
        devices: The devices that are predicted for, each with its power mode as in NAME@15W.
        hosts: The hosts that are measured on.
        workers: How many processes export; None for as many as there are cores.
    """

    models: tuple[str, ...] = _several("--model NAME", "Models, as `edgeattn export` takes them.")
    attentions: tuple[str, ...] = _several(
        "--attention -a NAME", "Attentions, one's own too. The plain model is there by itself."
    )
    places: tuple[str, ...] = flags(
        Flag(
            "--at [NAME=]PLACE",
            "Places to put each attention, or NAME alone, in; given again for several."
            " [where its paper puts it]",
        ),
        default=(),
        read=tuple,
    )
    opsets: tuple[int, ...] = flags(
        Flag("--opset N", "Opsets. Commas between several. [17]"), default=(), read=_whole
    )
    precisions: tuple[str, ...] = _several(
        "--precision P", "fp32, fp16, int8; bf16 of OpenVINO.", default=("fp32",)
    )
    targets: tuple[str, ...] = _several(
        "--target NAME",
        f"What to lower for: {{targets}}; {STOCK} is as torch writes it. [what is to run it]",
    )
    runtimes: tuple[str, ...] = _several(
        "--runtime NAME", "What runs it, where a device, a host or this machine leaves a choice."
    )
    devices: tuple[str, ...] = _several(
        "--device NAME[@MODE]", "Devices to predict for. See: edgeattn devices list."
    )
    hosts: tuple[str, ...] = on(
        "Hosts to measure on. Without a device and a host, this machine measures."
    )
    output: Path | None = flag(
        "--output -o FILE.db", "The file of jobs and rows. [that of PLAN, or sweep.db]"
    )
    retry: bool = switch("--retry", "Try what failed again.")
    dry_run: bool = switch("--dry-run", "Say how many jobs there are, and about how long.")
    workers: int | None = flag(
        "--workers N", "Processes that export and build at a time. [one a core]", min=1
    )
    scheduler: str | None = flag(
        "--scheduler tcp://HOST:PORT", "Export and build on a cluster of Dask's instead."
    )
