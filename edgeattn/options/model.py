"""Which model, with which weights and attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeattn.base.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRequest:
    """One attention that is asked for.

    Attributes:
        name: Its name ("se"); "none" puts nothing in.
        options: Its options, as written.
        at: Where it goes; None is its published position.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model that is asked for.

    Attributes:
        source: A name, "timm:NAME", "torchvision:NAME", "file.py:factory" or "file.pt2".
        model_args: Arguments for what builds it, as written.
        pretrained: Whether to fetch its published weights.
        weights: A file of weights.
        num_classes: How many classes it is to have; None leaves it as it is.
        seed: What all random numbers depend on.
        attentions: What to put into it; "none" is dropped.
        shapes: Shapes of its inputs; empty takes its own.

    Raises:
        InputError: "none" is given options or a place.
    """

    source: str
    model_args: Mapping[str, str] = field(default_factory=dict)
    pretrained: bool = False
    weights: Path | None = None
    num_classes: int | None = None
    seed: int = 0
    attentions: tuple[AttentionRequest, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        none = [one for one in self.attentions if one.name == "none"]
        if any(one.options or one.at is not None for one in none):
            raise InputError("the attention 'none' takes neither options nor a place")
        if none:
            kept = tuple(one for one in self.attentions if one.name != "none")
            object.__setattr__(self, "attentions", kept)
