"""What is to be profiled, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.options.flags import flag, switch
from edgeattn.options.hosts import on
from edgeattn.options.precision import HINTS
from edgeattn.options.shapes import Shape, dtype_of

# What a host runs models by.
_OF_HOSTS: Final = ("tensorrt", "onnxruntime", "openvino")
# More make no batch, and Python refuses to read very many.
_DIGITS: Final = 9
#: What can be run in the same rounds as another.
TOGETHER: Final = ("onnxruntime", "openvino")
Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A model that is to be profiled.

    Attributes:
        path: Its file: ONNX, an engine, or an engine's manifest.
        name: What it is called in tables and pictures.
        variant: Of a comparison: plain, stock or lowered.
        runtime: Of a comparison of runtimes, what is to run it; "" for what the options say.
        precision: Of a comparison of precisions, the one that it is in; "" else.
        model: What it was made from, where the file is not kept; "" for the file itself.
        notes: What a reader should know of how it was made.
    """

    path: Path
    name: str
    variant: str = ""
    runtime: str = ""
    precision: str = ""
    model: str = ""
    notes: tuple[str, ...] = ()

    @property
    def way(self) -> tuple[str, str]:
        """How it is run: what it costs is told above the first that is run so."""
        return self.runtime, self.precision


def compared_with(items: Sequence[Item], place: int) -> int:
    """Return the place of the model that another is compared with: its own if with none."""
    return next(k for k, one in enumerate(items) if one.way == items[place].way)


def pairs_of(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Return the places of models whose difference is to be known well.

    Each is compared with the first that is run as it is, and with the first of the same model that
    is run otherwise.
    """
    found = [(place, compared_with(items, place)) for place in range(len(items))]
    for place, one in enumerate(items):
        same = (
            k
            for k, other in enumerate(items)
            if (other.name, other.variant) == (one.name, one.variant)
        )
        found.append((place, next(same)))
    return [(a, b) for a, b in dict.fromkeys(found) if a != b]


def parse_batches(text: str) -> tuple[int, ...]:
    """Read batches with commas between, and return them from the smallest on.

    Raises:
        InputError: One is no whole number from 1 on, or is named twice.
    """
    found: list[int] = []
    for one in text.split(","):
        number = int(said) if (said := one.strip()).isdecimal() and len(said) <= _DIGITS else 0
        if number < 1:
            raise InputError(
                f"--batches {text!r}: {said!r} is no number of images.",
                mend="Write whole numbers from 1 on, with commas between: --batches 1,2,4,8,16",
            )
        if number in found:
            raise InputError(
                f"--batches {text!r} names {number} twice.", mend="Name each batch once."
            )
        found.append(number)
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """How to profile.

    Attributes:
        hosts: The addresses of hosts to measure on; none for this machine.
        shapes: The shape of each input; none for the file's own.
        seed: Seed of the inputs.
        arithmetic: What OpenVINO computes in: f32, bf16 or f16; None for f32.
        precise_to: How precisely it is to be measured, as `Limits.precise_to` has it.
        clear_of: What differences are to be clear of, as `Limits.clear_of` has it.
        marginal: None for where it costs little.
    """

    hosts: tuple[str, ...] = on(
        "Measure on that machine, by its trtexec, or the onnxruntime or openvino of its Python;"
        " several are measured side by side."
    )
    device: str | None = flag(
        "--device NAME",
        "A device, or the path of a file of your own. [this machine, or an engine's own]"
        " See: edgeattn devices list.",
    )
    power_mode: str | None = flag("--power-mode NAME", "Its power mode, as in 15W.")
    runtime: str | None = flag(
        "--runtime NAME",
        "onnxruntime, openvino, tensorrt, tensorrt-rtx or torch, where the file leaves a choice.",
    )
    openvino_device: str | None = flag(
        "--openvino-device NAME", "OpenVINO's device, as in CPU, GPU, NPU. [CPU]"
    )
    predict: bool = switch("--predict", "Predict even what could be measured here.")
    cuda_graph: bool = switch(
        "--no-cuda-graph",
        "Predict an engine whose kernels the host launches one by one, and not as a CUDA graph.",
    )
    threads: int | None = flag("--threads N", "Threads. [all cores]", min=1)
    batch: int = flag("--batch N", "What an open batch stands for.", default=1, min=1)
    limit_s: float = flag(
        "--limit S",
        "Seconds after which no new window is measured, for each model compared.",
        default=30.0,
        min=0.1,
    )
    plan_timeout_s: float = flag(
        "--plan-timeout S",
        "Seconds that TensorRT-RTX gets to plan the kernels of a model for --device.",
        default=600.0,
        min=1.0,
    )
    site_globs: tuple[str, ...] = flag(
        "--site GLOB",
        "Modules that are sites, such as '*.se'. [those of the manifest, or found gates]",
        default=(),
    )
    marginal: bool | None = flag(
        "--marginal/--no-marginal",
        "Profile the model with its sites replaced by identity too."
        " [of an ONNX file, and not of an engine]",
    )
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    arithmetic: str | None = None
    precise_to: float | None = None
    clear_of: float | None = None

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that are asked, with commas between; none if none is.

        Raises:
            InputError: Of several, one cannot be run in the same rounds as others.
        """
        found = tuple(dict.fromkeys(one.strip() for one in (self.runtime or "").split(",")))
        for one in found if len(found) > 1 else ():
            if one not in TOGETHER:
                raise InputError(
                    f"{one or 'A runtime without a name'} cannot be run in rounds with another.",
                    mend=f"Those that can: --runtime {','.join(TOGETHER)}",
                )
        return tuple(filter(None, found))

    def of(self, item: Item) -> ProfileOptions:
        """Return how an item is profiled, which may say by what, and in what precision."""
        runtime = item.runtime or self.runtime
        hint = HINTS.get(item.precision) if runtime == "openvino" else None
        return replace(self, runtime=runtime, arithmetic=hint or self.arithmetic)

    def at_batch(self, batch: int) -> ProfileOptions:
        """Return how the same is profiled at another batch; without sites only if that is asked.

        Where shapes are given, those are brought to it whose first size is that of the first.
        """
        shapes = tuple(
            Shape((batch, *one[1:]), dtype_of(one)) if one[:1] == self.shapes[0][:1] else one
            for one in self.shapes
        )
        return replace(self, batch=batch, shapes=shapes, marginal=self.marginal or False)

    def check_openvino(self) -> None:
        """Refuse a device of OpenVINO's for another runtime.

        Raises:
            InputError: OpenVINO is not asked.
        """
        if self.openvino_device is not None and "openvino" not in self.runtimes:
            raise InputError(
                "--openvino-device is given, and not --runtime openvino.",
                mend="Add --runtime openvino.",
            )

    def check_hosts(self) -> None:
        """Refuse what does not go with hosts.

        Raises:
            InputError: Something is asked that is not to be had on a host.
        """
        self.check_openvino()
        if self.predict:
            raise InputError(
                "--on measures, and --predict predicts.", mend="Leave one of them out."
            )
        if not self.cuda_graph:
            raise InputError(
                "--on measures, and --no-cuda-graph is for what is predicted.",
                mend="Leave one of them out.",
            )
        for one in set(self.runtimes).difference(_OF_HOSTS):
            raise InputError(
                f"--runtime {one} is not to be had on a host.",
                mend=f"A host runs {' or '.join(_OF_HOSTS)}.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecFiles:
    """What trtexec wrote of a run: layers, a profile, or both; without one, it is predicted."""

    layers: Path | None = flag(
        "--layers FILE.json",
        "What trtexec --exportLayerInfo wrote, anywhere; MODEL is then its ONNX file, or left out.",
    )
    profile: Path | None = flag("--profile FILE.json", "What --exportProfile wrote.")
    times: Path | None = flag("--times FILE.json", "What --exportTimes wrote.")
