"""Builds the model of a request: its modules, its attention, its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from edgeattn.attention import registry
from edgeattn.base.errors import InputError, in_one_line
from edgeattn.models import weights
from edgeattn.models.inject import Wanted, inject
from edgeattn.models.probe import (
    check_outputs,
    described,
    gives_numbers,
    keys_of,
    made_float,
    probe,
)
from edgeattn.models.seeding import seeded
from edgeattn.models.source import Created, create
from edgeattn.models.yolo import is_checkpoint
from edgeattn.models.zoo import pixels_of, published_weights
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.shapes import Shape, dtype_of, whole_numbers
from edgeattn.records.manifest import PlacedSite
from edgeattn.records.pixels import Pixels

__all__ = ["AttentionRequest", "BuiltModel", "ModelRequest", "PlacedSite", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A model that is ready to be exported.

    Attributes:
        module: The model, in eval mode and without gradients.
        program: The exported program, of a .pt2 file only.
        inputs: Example inputs of the shapes asked for.
        source: Where it is from, canonically ("timm:resnet50").
        sites: Which attention was put where.
        params: How many parameters it has, attention included.
        notes: What a user should know of how it was built.
        pixels: What its library says that it takes photos to be normalised by.
        input_names: What its library calls its inputs; empty if it does not.
        output_names: What its library, or the keys of a dictionary that it returns, call outputs.
        metadata: What runtimes of its library read of a file.
    """

    module: nn.Module
    program: torch.export.ExportedProgram | None
    inputs: tuple[torch.Tensor, ...]
    source: str
    sites: tuple[PlacedSite, ...]
    params: int
    notes: tuple[str, ...]
    pixels: Pixels | None = None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def build(request: ModelRequest) -> BuiltModel:
    """Build the model that is asked for.

    Its initial weights, those of the attention and the example inputs each depend on the seed
    alone, and the caller's random numbers are left as they were.

    Raises:
        InputError: What was asked for cannot be built, does not fit together or does not run.
        MissingError: Something needed is not on this machine.
    """
    wanted = _wanted(request)
    with seeded(request.seed):
        created = create(request)
    module = created.module
    inputs = _inputs(created, request)
    if any(map(_is_wide, inputs)):
        with seeded(request.seed):
            if not gives_numbers(module, inputs):  # as of a size of 0
                ones = tuple(torch.ones_like(one) if _is_wide(one) else one for one in inputs)
                inputs = ones if gives_numbers(module, ones) else inputs
    sites: tuple[PlacedSite, ...] = ()
    notes = created.notes
    if created.program is not None:
        if request.weights is not None:
            raise InputError(
                f"--weights cannot be applied to {request.source}: it holds its own weights"
            )
        keys = keys_of(_run(module, inputs))
    else:
        before = set(module.state_dict())
        trace = probe(module, inputs)
        keys = trace.keys
        if not any(request.types):
            notes += tuple(made_float(trace, inputs))
        if wanted:
            with seeded(request.seed):
                sites = inject(module, trace, wanted)
        if request.weights is not None:
            after = set(module.state_dict())
            inside = tuple(f"{site.path}." for site in sites)
            notes += weights.load(
                module,
                request.weights,
                attention=[key for key in after if inside and key.startswith(inside)],
                replaced=[key for key in before if key not in after or key.startswith(inside)]
                if inside
                else (),
            )
        with suppress(NotImplementedError):  # of a traced program's own module
            module.eval()
        for child in module.modules():
            child.training = False  # whatever eval() does in a user's model
    if (yolo := created.yolo) is not None:
        yolo.fuse()
    module.requires_grad_(requires_grad=False)
    notes += _assumed(created, request, sites)
    return BuiltModel(
        module=module,
        program=created.program,
        inputs=inputs,
        source=created.source,
        sites=sites,
        params=sum(parameter.numel() for parameter in module.parameters()),
        notes=notes,
        pixels=yolo.pixels if yolo else pixels_of(module, created.source),
        input_names=("images",) if yolo else (),
        output_names=keys or (yolo.outputs if yolo else ()),
        metadata=yolo.metadata(inputs) if yolo else {},
    )


def _assumed(
    created: Created, request: ModelRequest, sites: Sequence[PlacedSite]
) -> tuple[str, ...]:
    """Say what nobody has asked for, and what decides what is exported."""
    notes = []
    origin, _, name = created.source.partition(":")
    is_published = origin in ("timm", "torchvision") and created.program is None
    if not request.shapes and created.program is None and origin != "timm":
        shapes = ", ".join("x".join(map(str, shape)) for shape in created.shapes)
        notes.append(f"An input of {shapes} is assumed; --shape says another.")
    random = f"random, of seed {request.seed}"
    if request.weights is None and created.yolo is not None and not is_checkpoint(created.source):
        given = "a checkpoint (ultralytics:FILE.pt) or --weights FILE gives others"
        notes.append(f"The weights are {random}; {given}.")
    elif request.weights is None and is_published and not request.pretrained:
        notes.append(f"The weights are {random}; --pretrained or --weights FILE gives others.")
    elif request.weights is None and request.pretrained:
        own = any(site.params for site in sites)
        published = published_weights(created.module, origin, name)
        notes.append(
            f"The weights are {published}{f'; those of the attention are {random}' if own else ''}."
        )
    return tuple(notes)


def _wanted(request: ModelRequest) -> list[Wanted]:
    """Check the names and options of a request's attentions before anything is built."""
    found = []
    for one in request.attentions:
        spec = registry.find(one.name)
        options = registry.check_options(spec, one.options)
        found.append(Wanted(spec=spec, at=one.at, build=partial(registry.build, options=options)))
    return found


def _inputs(created: Created, request: ModelRequest) -> tuple[torch.Tensor, ...]:
    """Draw inputs of the shapes and types asked for, or else of the model's own.

    Whole numbers of more than 8 bits are those that a program was traced with, if it holds them:
    they may be places or sizes.
    """
    shapes: Sequence[tuple[int, ...]] = request.shapes or created.shapes
    for shape in shapes:
        if min(shape, default=1) < 1:
            raise InputError(f"the shape {_written(shape)} has a size below 1")
    like = next(created.module.parameters(), torch.empty(0))
    usual = like.dtype if like.is_floating_point() and created.program is None else torch.float32
    generator = torch.Generator().manual_seed(request.seed)
    asked = [*request.types, *[""] * len(shapes)][: len(shapes)]
    own = created.shapes if len(created.shapes) == len(shapes) else shapes
    examples = created.examples if len(created.examples) == len(shapes) else [None] * len(shapes)
    found = []
    try:
        for shape, kind, before, example in zip(shapes, asked, own, examples, strict=True):
            name = kind or dtype_of(before)
            dtype = getattr(torch, name) if name else usual
            numbers = torch.randn(shape, generator=generator)
            if not dtype.is_floating_point:
                low, high = whole_numbers(name)
                numbers = ((low + high) / 2 + numbers * (high - low) / 4).round().clamp(low, high)
                if example is not None and (example.shape, high) == (numbers.shape, 1):
                    numbers = example
            found.append(numbers.to(dtype))
    except RuntimeError as error:  # what torch raises if memory or an index does not suffice
        said = ", ".join(map(_written, shapes))
        raise InputError(
            f"an input of {said} does not fit into memory", mend="Give a smaller --shape."
        ) from error
    return tuple(found)


def _is_wide(tensor: torch.Tensor) -> bool:
    """Return whether an input is of whole numbers that are no pixels."""
    return tensor.dtype in {torch.int16, torch.int32, torch.int64}


def _written(shape: Sequence[int]) -> str:
    return str(Shape(shape, dtype_of(shape)))


def _run(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> object:
    """Run an exported program once, and return what it gives.

    Raises:
        InputError: It does not take these inputs.
    """
    try:
        with torch.no_grad():
            outputs = module(*(tensor.clone() for tensor in inputs))
    except Exception as error:
        raise InputError(
            f"the exported program fails on an input of {described(inputs)}: {in_one_line(error)}",
            mend="Give the shape that it was exported with; only its dynamic sizes can differ.",
        ) from error
    check_outputs(outputs)
    return outputs
