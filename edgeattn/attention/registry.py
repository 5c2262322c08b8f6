"""The attention modules by name: what they are, what they take, and how one is built for a site.

The mapping is explicit, and a module is imported when it is asked for: this file imports no torch.
A constructor says by its signature what can be set. Its keyword-only parameters are the options
of the user; the others are facts of the site (channels, height, stage, ...), filled in here.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pydantic

from edgeattn.attention import own, timm_layers
from edgeattn.attention.ours import OURS
from edgeattn.attention.specs import (
    AttentionSpec,
    Option,
    Parameter,
    SiteShape,
    argument_help,
    replaced_convolution,
    type_in_words,
)
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ATTENTIONS",
    "AttentionSpec",
    "Option",
    "SiteShape",
    "build",
    "check_options",
    "find",
    "names",
    "options_of",
    "sources",
    "takes",
]


_ALL_OF_THEM: Final = (
    "`edgeattn list attentions` shows them all; one's own is path/to/file.py:Class."
)

ATTENTIONS: Final[Mapping[str, AttentionSpec]] = MappingProxyType({s.name: s for s in OURS})
"""The modules of this package, in the order of the list."""


def names() -> list[str]:
    """Return every name that can be asked for: ours, then those of the installed timm."""
    return [*ATTENTIONS, *timm_layers.available()]


def find(name: str) -> AttentionSpec:
    """Return the module of this name, or of the file or module that it says.

    Raises:
        InputError: There is none; the message has the nearest names.
    """
    if own.is_own(name):
        return own.spec_of(name)
    known = {**ATTENTIONS, **timm_layers.TIMM}
    if name in known:
        return known[name]
    raise InputError(
        f"There is no attention module named {name!r}.",
        mend=f"{did_you_mean(nearest(name, known))} {_ALL_OF_THEM}".strip(),
    )


def sources(name: str) -> list[Path]:
    """Return the files of a user's that a module is in; none of those that have a name."""
    return own.sources(name) if own.is_own(name) else []


def takes(spec: AttentionSpec, option: str) -> bool:
    """Return whether a module has an option."""
    return own.takes(spec, option) if _is_own(spec) else option in _parameters(spec)


def options_of(spec: AttentionSpec) -> list[Option]:
    """Return what can be set on a module, in the order of its constructor."""
    described = {} if _is_own(spec) else argument_help(_constructor(spec).__doc__)
    return [
        Option(
            name=name,
            type=type_in_words(parameter.annotation),
            default=parameter.default,
            help=described.get(name, ""),
        )
        for name, parameter in _parameters(spec).items()
    ]


def check_options(spec: AttentionSpec, options: Mapping[str, str]) -> dict[str, object]:
    """Return the options in the types of the constructor's annotations.

    Raises:
        InputError: The module has no such option, or the option is of another type.
    """
    if _is_own(spec):
        return own.check_options(spec, options)
    parameters = _parameters(spec)
    checked: dict[str, object] = {}
    for name, value in options.items():
        if name not in parameters:
            near = did_you_mean(nearest(name, parameters))
            raise InputError(
                f"The attention {spec.name} has no option {name!r}.",
                mend=f"{near} {_options_in_words(parameters)}".strip(),
            )
        annotation = parameters[name].annotation
        try:
            checked[name] = pydantic.TypeAdapter(annotation).validate_python(value)
        except pydantic.ValidationError:
            raise InputError(
                f"The option {name} of {spec.name} takes {type_in_words(annotation)}, "
                f"not {value!r}."
            ) from None
    return checked


def build(spec: AttentionSpec, site: SiteShape, options: Mapping[str, object]) -> nn.Module:
    """Build the module for a site, with the options that `check_options` returned.

    Returns:
        The module, whose `note: str` says what it chose by itself.

    Raises:
        InputError: The module cannot sit there, or an option's value is refused, with the reason.
    """
    if _is_own(spec):
        return own.build(spec, site, options)
    where = f"{spec.name} cannot sit on a {site.channels}x{site.height}x{site.width} feature map"
    positions = site.height * site.width
    if positions < spec.min_positions:
        raise InputError(
            f"{where}: its formula needs at least {spec.min_positions} positions, "
            f"and there is {positions}.",
            mend="Use a larger --shape, or put it elsewhere with --at.",
        )
    try:
        if spec.target.startswith("timm:"):
            return timm_layers.build(spec, site, options)
        constructor = _constructor(spec)
        facts = _facts(spec, site)
        wanted = {name: facts[name] for name in _site_parameters(constructor)}
        module: nn.Module = constructor(**wanted, **options)
    except ValueError as error:
        raise InputError(f"{where}: {error}.") from error
    return module


def _is_own(spec: AttentionSpec) -> bool:
    return spec.target.startswith(own.PREFIX)


def _facts(spec: AttentionSpec, site: SiteShape) -> dict[str, object]:
    """Return what the site tells a constructor, by parameter.

    Raises:
        ValueError: The module replaces a convolution, and there is none of its kind.
    """
    facts: dict[str, object] = {
        "channels": site.channels,
        "height": site.height,
        "width": site.width,
        "family": site.family,
        "stage": site.stage,
        "stages": site.stages,
        "blocks": site.blocks,
    }
    if spec.replaces_conv:
        facts.update(replaced_convolution(site))
    return facts


def _constructor(spec: AttentionSpec) -> Any:
    """Return the class (of timm's, or a partial) that the specification points at."""
    module, _, name = spec.target.partition(":")
    if module == "timm":
        return timm_layers.layer(spec)
    return getattr(importlib.import_module(module), name)


def _parameters(spec: AttentionSpec) -> dict[str, Parameter]:
    """Return what the user can set, from the constructor's explicit signature."""
    if _is_own(spec):
        return own.parameters(spec)
    if spec.target.startswith("timm:"):
        return timm_layers.parameters(spec)
    constructor = _constructor(spec)
    annotations = typing.get_type_hints(constructor.__init__)
    return {
        name: Parameter(annotations[name], parameter.default)
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _site_parameters(constructor: Any) -> list[str]:
    """Return what the site has to fill in: the parameters that are not keyword-only."""
    return [
        name
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


def _options_in_words(parameters: Mapping[str, Parameter]) -> str:
    """Return a sentence with every option, its default and its type."""
    if not parameters:
        return "It has no options."
    listed = (
        f"{name}={parameter.default} ({type_in_words(parameter.annotation)})"
        for name, parameter in parameters.items()
    )
    return f"Its options: {', '.join(listed)}."
