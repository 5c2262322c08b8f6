"""Puts attention modules into a model, without changing a name that the model already has.

An attention is registered under the name `attention` on the module around its site, and called
from a forward hook on the module that it attends. So the keys of the backbone's state dict stay
as they are, and torch.export still names the attention's operations by its own path
(`layer1.0.attention`). An attention that replaces a convolution takes that convolution's place,
and its own norm and activation stand in for the norm that followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeattn.attention.registry import AttentionSpec, SiteShape
from edgeattn.base.errors import InputError, in_one_line
from edgeattn.models import plain
from edgeattn.models.blocks import CONTAINERS
from edgeattn.models.placement import family_of, place
from edgeattn.models.sites import Site, Survey
from edgeattn.models.trace import Trace
from edgeattn.records.manifest import PlacedSite

Build = Callable[[AttentionSpec, SiteShape], nn.Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An attention that is asked for.

    Attributes:
        spec: Which.
        at: Where, or None for its published position.
        build: Makes the module for a site.
    """

    spec: AttentionSpec
    at: str | None
    build: Build


class _Hook:
    """A hook that calls an attention.

    It holds the owner and a name rather than the attention itself, so that a deep copy of the
    model calls the copy's attention.
    """

    def __init__(self, owner: nn.Module, name: str, path: str) -> None:
        self.owner = owner
        self.name = name
        self.path = path

    def attention(self) -> nn.Module:
        """Return the attention.

        Where a model uses a module in two places, torch.export has each stood in for by one that
        says by which path it was reached: of ours that would be its name alone.
        """
        found: nn.Module = getattr(self.owner, self.name)
        if not torch.compiler.is_dynamo_compiling() and found is not self.owner._modules[self.name]:  # noqa: SLF001
            found = type(found)(found, self.path)
        return found


class AttendOutput(_Hook):
    """A forward hook that sends a module's output through an attention."""

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Return the attended output for `output: f32[N, C, H, W]`."""
        del module, args
        attended: Tensor = self.attention()(output)
        return attended


class AttendInput(_Hook):
    """A forward pre-hook that sends a module's first input through an attention."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, the first attended."""
        del module
        return (self.attention()(args[0]), *args[1:])


def inject(module: nn.Module, trace: Trace, wanted: Sequence[Wanted]) -> tuple[PlacedSite, ...]:
    """Put attentions into a model.

    All sites are found in the model as it came, so that one attention does not move another's.

    Args:
        module: The model; it is changed.
        trace: A probe of it.
        wanted: What to put in.

    Returns:
        Where each went, in the order of `wanted` and, within one, of the forward pass.

    Raises:
        InputError: The model has no such place, or an attention cannot sit there.
    """
    survey = Survey.of(trace)
    family = family_of(survey)
    planned = [(one, site) for one in wanted for site in place(survey, one.spec, one.at)]
    placed: dict[int, PlacedSite] = {}
    # Convolutions are replaced first: then the hooks of others find the module that stays.
    order = sorted(range(len(planned)), key=lambda at: planned[at][1].side != "replace")
    for at in order:
        one, site = planned[at]
        placed[at] = _put(module, survey, family, one, site)
    return tuple(placed[at] for at in range(len(planned)))


def _put(
    module: nn.Module, survey: Survey, family: str | None, one: Wanted, site: Site
) -> PlacedSite:
    C, H, W = site.shape
    target = module.get_submodule(site.path)
    shape = SiteShape(
        channels=C,
        height=H,
        width=W,
        family=family,
        stage=site.stage,
        stages=survey.stages or None,
        blocks=len(survey.blocks) or None,
        conv=target if isinstance(target, nn.Conv2d) and site.side == "replace" else None,
    )
    try:
        attention, _ = plain.unwrapped(one.build(one.spec, shape))
        plain.check(attention)
    except InputError as error:
        raise InputError(f"at {site.path or 'its input'}: {error.fact}", mend=error.mend) from error
    if any(attention is other for other in module.modules()):
        raise InputError(
            f"{one.spec.name} is the same module at {site.path or 'its input'} as at another site,"
            " and what each costs could not be told",
            mend="Make a new one at each call.",
        )
    # The parameters of the site, or else the model's, give the device and the precision.
    like = next(target.parameters(), next(module.parameters(), None))
    if like is not None and like.is_floating_point():
        attention.to(device=like.device, dtype=like.dtype)
    call = survey.trace.first_call(site.path)
    given = survey.trace.values[call.inputs[0]].shape if site.side == "replace" else (1, C, H, W)
    _check(attention, one.spec.name, site, (1, *given[1:]))
    if site.side == "replace":
        path = site.path
        _replace(module, survey, site, attention)
    else:
        path = _hook(module, site, attention)
    return PlacedSite(
        path=path,
        attention=one.spec.name,
        target=site.path,
        shape=site.shape,
        params=sum(parameter.numel() for parameter in attention.parameters()),
        note=str(getattr(attention, "note", "")),
    )


def _hook(module: nn.Module, site: Site, attention: nn.Module) -> str:
    host = module.get_submodule(site.host)
    if isinstance(host, CONTAINERS):
        # An additional child would change what a container computes.
        raise InputError(
            f"attention cannot be registered on the container {site.host or 'at the root'}",
            mend="Name a module inside of it.",
        )
    name, count = "attention", 1
    while hasattr(host, name):
        count += 1
        name = f"attention{count}"
    host.add_module(name, attention)
    target = module.get_submodule(site.path)
    path = f"{site.host}.{name}" if site.host else name
    if site.side == "input":
        target.register_forward_pre_hook(AttendInput(host, name, path))
    else:
        target.register_forward_hook(AttendOutput(host, name, path))
    return path


def _replace(module: nn.Module, survey: Survey, site: Site, attention: nn.Module) -> None:
    if not isinstance(module.get_submodule(site.path), nn.Conv2d):
        raise InputError(f"{site.path} is replaced twice")
    norm = survey.norm_after(site.path)
    module.set_submodule(site.path, attention)
    own_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in attention.modules())  # noqa: SLF001 - torch has no public name for "any BatchNorm"
    if norm is not None and own_norm:
        # timm's norms carry their activation inside, and that one stays.
        activation = getattr(module.get_submodule(norm), "act", None)
        kept = activation if isinstance(activation, nn.Module) else nn.Identity()
        module.set_submodule(norm, kept)


def _check(attention: nn.Module, name: str, site: Site, given: tuple[int, ...]) -> None:
    """Run an attention alone, once, on a map of its site's size.

    Args:
        attention: The module.
        name: Its name.
        site: Where it is to go.
        given: The shape that it will be given, [1, C, H, W].

    Raises:
        InputError: It fails, or returns another shape than the model needs.
    """
    where = f"{name} at {site.path or 'its input'}"
    like = next(attention.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            result = attention.eval()(torch.zeros(given, dtype=like.dtype, device=like.device))
    except Exception as error:
        shape = "x".join(map(str, given[1:]))
        raise InputError(f"{where} fails on a {shape} map: {in_one_line(error)}") from error
    got = tuple(result.shape[1:]) if isinstance(result, Tensor) else None
    if got != site.shape:
        want = "x".join(map(str, site.shape))
        returned = "no tensor" if got is None else "x".join(map(str, got))
        raise InputError(f"{where} must return a {want} map: it gives {returned}")
