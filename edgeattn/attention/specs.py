"""What the registry says of an attention module: plain values, and the options of a signature."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShape:
    """Where an attention module is to sit.

    Attributes:
        channels: Channels C of the feature map there.
        height: Its rows H.
        width: Its columns W.
        family: Family of the backbone ("resnet", "mobilenetv1", "mobilenetv2"), if known.
        stage: Stage of the site, from 1, by resolution.
        stages: How many stages the backbone has.
        blocks: How many residual blocks the backbone has: what tells ResNet-50 from ResNet-101.
        conv: The convolution that the module replaces, if it replaces one.
    """

    channels: int
    height: int
    width: int
    family: str | None = None
    stage: int | None = None
    stages: int | None = None
    blocks: int | None = None
    conv: torch.nn.Conv2d | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpec:
    """An attention module that can be asked for by name.

    Attributes:
        name: The name on the command line.
        target: Where it is, as "module:Class", or as "timm:name".
        paper: Authors, year and identifier.
        summary: One line for a list.
        place: Where its paper puts it: a place that `--at` takes, or the name of a rule in
            `edgeattn.models.placement`. None if none is published: it then goes to the end of
            each block, or in place of the 3x3 convolutions if it replaces one.
        min_positions: The fewest H*W at which its formula is defined.
        replaces_conv: Whether it takes the place of a 3x3 convolution.
    """

    name: str
    target: str
    paper: str
    summary: str
    place: str | None
    min_positions: int = 1
    replaces_conv: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of an attention module.

    Attributes:
        name: Its name.
        type: Its type, in words.
        default: What it is if it is not given.
        help: What it does, in one line; empty where the module's author did not say.
    """

    name: str
    type: str
    default: object
    help: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A constructor's parameter that a user may set: its annotation, and its default."""

    annotation: Any
    default: object


def replaced_convolution(site: SiteShape) -> dict[str, object]:
    """Return what a module that replaces a site's 3x3 convolution has to know of it.

    Raises:
        ValueError: There is no convolution at the site, or it is no square 3x3 one.
    """
    conv = site.conv
    if conv is None:
        raise ValueError("it replaces a 3x3 convolution, and there is none here")
    if conv.kernel_size != (3, 3):
        raise ValueError(
            f"it replaces a 3x3 convolution, and this one is {'x'.join(map(str, conv.kernel_size))}"
        )
    if len({*conv.stride}) > 1 or len({*conv.dilation}) > 1:
        raise ValueError("the convolution's stride or dilation differs between rows and columns")
    return {
        "channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "stride": conv.stride[0],
        "dilation": conv.dilation[0],
        "conv_groups": conv.groups,
    }


def type_in_words(annotation: Any) -> str:
    """Return an annotation as a user would write it: `int | auto`, `multiply | add`."""
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in {Union, types.UnionType}:
        return " | ".join(type_in_words(member) for member in get_args(annotation))
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def argument_help(docstring: str | None) -> dict[str, str]:
    """Return the descriptions in the "Args:" of a Google-style docstring, by argument."""
    described: dict[str, str] = {}
    if docstring is None or "Args:" not in docstring:
        return described
    name = ""
    for line in docstring.split("Args:", 1)[1].splitlines()[1:]:
        text = line.strip()
        if not text:
            break
        head, colon, rest = text.partition(": ")
        if colon and head.isidentifier():
            name, text = head, rest
        described[name] = f"{described.get(name, '')} {text}".strip()
    return described
