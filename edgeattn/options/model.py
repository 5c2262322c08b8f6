"""Which model, with which weights and attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag, flag, flags, switch
from edgeattn.options.shapes import dtype_of, parse_shapes


def parse_pairs(texts: Iterable[str], *, option: str = "--model-arg") -> dict[str, str]:
    """Read K=V texts.

    Args:
        texts: What was given.
        option: The option that took them, for the message.

    Raises:
        InputError: A text has no key or no "=", or a key is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option} {text!r} is not K=V.", mend=f"For example: {option} k=3")
        if key in pairs:
            raise InputError(f"{option} gives {key} twice: {pairs[key]!r} and {value!r}.")
        pairs[key] = value
    return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRequest:
    """One attention that is asked for.

    Attributes:
        name: Its name ("se"), or that of one's own ("path/to/file.py:Class",
            "package.module:Class"); "none" puts nothing in.
        options: Its options, as written.
        at: Where it goes; None is its published position.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None

    @property
    def label(self) -> str:
        """What it is called in reports and in the names of files: of one's own, its class."""
        return self.name.rpartition(":")[2]


def check_labels(attentions: Iterable[AttentionRequest]) -> None:
    """Refuse attentions that no report could tell apart.

    Raises:
        InputError: Two are called the same.
    """
    names: dict[str, str] = {}
    for one in attentions:
        other = names.setdefault(one.label, one.name)
        if other != one.name:
            raise InputError(
                f"{other} and {one.name} are both called {one.label}, and no report could tell"
                " them apart",
                mend=f"Give one another name in its file, and ask for that: {one.label}2 ="
                f" {one.label}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model that is asked for.

    Attributes:
        source: A name, "timm:NAME", "torchvision:NAME", "ultralytics:NAME.yaml",
            "ultralytics:file.pt", "file.py:factory" or "file.pt2".
        attentions: What to put into it; "none" is dropped.
        num_classes: None leaves the classifier as it is.
        shapes: Empty takes the model's own.
        types: Their types, "" for what the model takes; of themselves those said with the shapes.

    Raises:
        InputError: "none" is given options or a place, or two attentions are called the same.
    """

    source: str
    model_args: Mapping[str, str] = flag(
        "--model-arg K=V",
        "An argument of the model's constructor or factory.",
        default=dict,
        read=parse_pairs,
    )
    pretrained: bool = switch("--pretrained", "Fetch the published weights of the backbone.")
    weights: Path | None = flag("--weights FILE", "Weights: safetensors, or a state dict of torch.")
    trust_checkpoint: bool = switch(
        "--trust-checkpoint",
        "Read ultralytics:FILE.pt, a pickle that runs whatever code its maker put into it.",
    )
    num_classes: int | None = flag("--num-classes", "Outputs of the classifier.", min=1)
    seed: int = flag("--seed", "Seed of weights and inputs.", default=0, min=0, max=2**32 - 1)
    attentions: tuple[AttentionRequest, ...] = flags(
        Flag(
            "--attention -a NAME",
            "Attention to insert; may be given again. `none` is the plain model; one's own is"
            " path/to/file.py:Class, or package.module:Class. See: edgeattn list attentions.",
        ),
        Flag(
            "--attention-arg [NAME.]K=V",
            "An option of the attention; with several, NAME says of which.",
        ),
        Flag(
            "--at [NAME=]PLACE",
            "block-end, after-dw, conv2, stage-end, input, last; backbone, neck, before-head of"
            " Ultralytics' models; or a glob of module paths such as 'layer3.*.bn2'; or several of"
            " these, with commas between. By default, where its paper puts it.",
        ),
        default=(),
    )
    shapes: tuple[tuple[int, ...], ...] = flag(
        "--shape 1x3x224x224",
        "Shape of the input, the batch first; once per input. One that takes whole numbers, such as"
        " a camera's bytes, has its type too: 1x224x224x3:uint8.",
        default=(),
        read=parse_shapes,
    )
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(map(dtype_of, self.shapes)):
            object.__setattr__(self, "types", tuple(map(dtype_of, self.shapes)))
        check_labels(self.attentions)
        none = [one for one in self.attentions if one.name == "none"]
        if any(one.options or one.at is not None for one in none):
            raise InputError("the attention 'none' takes neither options nor a place")
        if none:
            kept = tuple(one for one in self.attentions if one.name != "none")
            object.__setattr__(self, "attentions", kept)
