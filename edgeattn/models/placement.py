"""Decides where an attention module goes: as published, or where the user says.

The published positions are rules over what a survey finds (blocks, stages, strides), so they hold
for timm's, torchvision's and a user's own spelling of a family alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from edgeattn.attention.specs import AttentionSpec
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.models.blocks import Block, is_depthwise
from edgeattn.models.flow import NORMS, is_activation
from edgeattn.models.layered import Layers
from edgeattn.models.sites import Site, Survey, is_spatial_3x3, paths


def family_of(survey: Survey) -> str | None:
    """Return the family that a published position may depend on, told by structure alone.

    Returns:
        "resnet": four stages of residual blocks without depthwise convolutions.
        "mobilenetv1": 13 blocks of a depthwise and a pointwise convolution, without shortcuts.
        "mobilenetv2": 17 blocks around a depthwise 3x3 convolution, some with a shortcut.
        None: another.
    """
    blocks, trace = survey.blocks, survey.trace
    depthwise = [block.depthwise(trace) for block in blocks]
    if survey.stages == 4 and not any(depthwise) and all(b.residual is not None for b in blocks):
        return "resnet"
    if not all(len(found) == 1 for found in depthwise):
        return None
    if len(blocks) == 13 and all(
        block.residual is None
        and len(at := block.convolutions(trace)) == 2
        and block.main[at[0]] is found[0]
        for block, found in zip(blocks, depthwise, strict=True)
    ):
        return "mobilenetv1"
    if (
        len(blocks) == 17
        and any(block.residual is not None for block in blocks)
        and all(is_spatial_3x3(trace.module(found[0].path)) for found in depthwise)
    ):
        return "mobilenetv2"
    return None


def place(survey: Survey, attention: AttentionSpec, at: str | None) -> list[Site]:
    """Return the sites of one attention module.

    Args:
        survey: The model.
        attention: The attention; its published position is used if `at` is None.
        at: A place by name (`PLACES`) or a glob of module paths; or several, with commas between.

    Raises:
        InputError: There is no such place in this model, or it gives no feature map.
    """
    if at is None:
        sites = _RULES[_default(attention)](survey)
        if not sites:
            where = f"the published position of {attention.name}"
            raise InputError(f"this model has no place for {where}", mend=_mend(survey, at))
    else:
        found = [site for one in at.split(",") for site in _at(survey, one.strip())]
        sites = list({(site.path, site.side): site for site in found}.values())
        if "," in at:  # in the order of the forward pass, however they are named
            sites.sort(key=partial(_when, survey))
    if attention.replaces_conv:
        return [_replacing(survey, attention.name, site) for site in sites]
    return sites


def _at(survey: Survey, at: str) -> list[Site]:
    """Return the sites of a place, or of a glob of module paths."""
    sites = PLACES[at](survey) if at in PLACES else survey.matching(at)
    if not sites:
        where = at if at in PLACES else f"'{at}'"
        raise InputError(f"this model has no place for {where}", mend=_mend(survey, at))
    return sites


def _when(survey: Survey, site: Site) -> int:
    call = survey.trace.first_call(site.path)
    return call.first if site.side == "input" else call.last


def default_place(attention: AttentionSpec) -> str:
    """Return where an attention goes without `--at`: a place of `PLACES`, or a described rule."""
    name = _default(attention)
    return name if name in PLACES else (_RULES[name].__doc__ or "").splitlines()[0].rstrip(".")


def _default(attention: AttentionSpec) -> str:
    otherwise = "3x3-convolutions" if attention.replaces_conv else "block-end"
    return attention.place or otherwise


def _mend(survey: Survey, at: str | None) -> str:
    if at is not None and at not in PLACES:
        near = did_you_mean(nearest(at, [*PLACES, *paths(survey.trace)], count=5))
        return f"{near} A place is one of {', '.join(PLACES)}, or a glob of module paths.".strip()
    maps = [
        call.path
        for call in survey.trace.calls
        if call.path and survey.trace.map_of(call) and not list(call.module.children())
    ]
    if not maps:
        return "None of its modules returns an N,C,H,W feature map."
    return f"Name the modules to attend by a glob of their paths, as in --at '{maps[-1]}'."


def _replacing(survey: Survey, attention: str, site: Site) -> Site:
    module = survey.trace.module(site.path)
    if site.side != "output" or not is_spatial_3x3(module):
        raise InputError(
            f"{attention} replaces a 3x3 convolution, and "
            f"{site.path or 'the root'} is a {type(module).__name__}",
            mend="Name 3x3 convolutions by a glob, as in --at 'layer*.conv2'.",
        )
    return replace(site, side="replace")


def _block_end(survey: Survey) -> list[Site]:
    return survey.block_ends(survey.blocks)


def _gc(survey: Survey) -> list[Site]:
    """GCNet leaves the first stage of a ResNet out."""
    if family_of(survey) != "resnet":
        return _block_end(survey)
    return survey.block_ends(block for block in survey.blocks if block.stage > 1)


def _simam(survey: Survey) -> list[Site]:
    """After a block's depthwise convolution, or else after its second."""
    sites: list[Site] = []
    for block in survey.blocks:
        depthwise = survey.after_depthwise(block.depthwise(survey.trace))
        sites += depthwise or survey.second_convolutions([block])
    return sites


def _ca(survey: Survey) -> list[Site]:
    """A block's end; in MobileNetV2 its depthwise convolution's activation, where it expands."""
    if family_of(survey) != "mobilenetv2":
        return _block_end(survey)
    mains = [block.main for block in survey.blocks]
    return survey.operation_outputs(
        activation
        for main in mains
        for conv, norm, activation in zip(main[1:], main[2:], main[3:], strict=False)
        if is_depthwise(survey.trace, conv)
        and norm.name in NORMS
        and is_activation(activation.name)
    )


def _bam(survey: Survey) -> list[Site]:
    """Between the stages."""
    return survey.stage_ends()[:-1]


def _ulsam(survey: Survey) -> list[Site]:
    """After layers 11 to 13 of MobileNetV1, layer 17 of MobileNetV2; the stem is layer 1."""
    chosen: Mapping[str | None, tuple[Block, ...]] = {
        "mobilenetv1": survey.blocks[9:12],
        "mobilenetv2": survey.blocks[15:16],
    }
    family = family_of(survey)
    return survey.block_outputs(chosen[family]) if family in chosen else _block_end(survey)


def _nonlocal(survey: Survey) -> list[Site]:
    """After every second block of the stages of stride 8 and 16."""
    chosen: list[Block] = []
    for stage in range(1, survey.stages + 1):
        blocks = [block for block in survey.blocks if block.stage == stage]
        if blocks[0].stride in {8, 16}:
            chosen += blocks[1::2]
    return survey.block_outputs(chosen)


def _sk(survey: Survey) -> list[Site]:
    """The 3x3 convolutions that a norm and an activation follow."""
    sites: list[Site] = []
    for block in survey.blocks:
        for conv, norm, activation in zip(block.main, block.main[1:], block.main[2:], strict=False):
            if (
                conv.name == "conv2d"
                and is_spatial_3x3(survey.trace.module(conv.path))
                and norm.name in NORMS
                and is_activation(activation.name)
            ):
                sites += survey.operation_outputs([conv])
    return sites


PLACES: Final[Mapping[str, Callable[[Survey], list[Site]]]] = {
    "block-end": _block_end,
    "after-dw": lambda survey: survey.after_depthwise(survey.trace.operations),
    "conv2": lambda survey: survey.second_convolutions(survey.blocks),
    "stage-end": lambda survey: survey.stage_ends(),
    "input": lambda survey: survey.input(),
    "last": lambda survey: survey.last(),
    "backbone": lambda survey: survey.layer_outputs(Layers.stage_ends),
    "neck": lambda survey: survey.layer_outputs(Layers.neck),
    "before-head": lambda survey: survey.layer_outputs(Layers.before_head),
}
"""What `--at` takes by name."""

_RULES: Final[Mapping[str, Callable[[Survey], list[Site]]]] = {
    **PLACES,
    "3x3-convolutions": _sk,
    "behind-expanded-depthwise": _ca,
    "between-stages": _bam,
    "depthwise-or-second": _simam,
    "every-second-block": _nonlocal,
    "resnet-past-stage-1": _gc,
    "ulsam-layers": _ulsam,
}
"""What an attention's specification may give as its place; the docstring of a rule is listed."""
