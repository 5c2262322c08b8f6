"""timm's attention layers as `timm-NAME`, built for a site with only what their signatures take.

timm's factory passes any keyword on, and some of its layers swallow what they do not know. Here
the explicit signature decides: plain types are options, and what the site knows (channels, map
size, the replaced convolution's stride) is filled in. Every summary says where timm differs from
the paper; the differences are from timm's sources, version 1.0.31.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Union

from edgeattn.attention.specs import AttentionSpec, Parameter, SiteShape, replaced_convolution

if TYPE_CHECKING:
    from torch import nn


def _spec(name: str, paper: str, summary: str, *, replaces_conv: bool = False) -> AttentionSpec:
    return AttentionSpec(
        name=f"timm-{name}",
        target=f"timm:{name}",
        paper=paper,
        summary=summary,
        place=None,
        replaces_conv=replaces_conv,
    )


_SE = "Hu et al. 2018, arXiv:1709.01507"
_ECA = "Wang et al. 2020, arXiv:1910.03151"
_GC = "Cao et al. 2019, arXiv:1904.11492"
_CBAM = "Woo et al. 2018, arXiv:1807.06521"
_COORD = "Hou et al. 2021, arXiv:2103.02907"
_BAT = "Chi et al. 2020, CVPR"

_SPECS: Final = (
    _spec("se", _SE, "SE; hidden width C/16 rounded to a multiple of 8"),
    _spec("ese", "Lee and Park 2020, arXiv:1911.06667", "eSE: one layer, hard gate"),
    _spec("eca", _ECA, "ECA; kernel by the formula, at least 3, never by stage"),
    _spec("ecam", _ECA, "ECA with a hidden layer and biases, not in the paper"),
    _spec("ceca", _ECA, "ECA with circular padding, not in the paper"),
    _spec(
        "ge",
        "Hu et al. 2018, arXiv:1810.12348",
        "gather-excite; timm 1.0.31 fails to build its MLP: give use_mlp=false (the paper's form)",
    ),
    _spec("gc", _GC, "global context as a sigmoid gate; the paper adds it; r=8, LN eps 1e-6"),
    _spec("gca", _GC, "global context, additive as in the paper; r=8 for 16, LN eps 1e-6"),
    _spec("cbam", _CBAM, "CBAM; mean before maximum, no MLP biases"),
    _spec("lcbam", _CBAM, "CBAM of averaged poolings, not in the paper"),
    _spec("coord", _COORD, "coordinate attention; Hardswish, hidden width by its own rule"),
    _spec(
        "scoord", _COORD, "coordinate attention with linear layers and one gate, not the paper's"
    ),
    _spec(
        "ela",
        "Xu and Wan 2024, arXiv:2403.01123",
        "efficient local attention; SiLU before the gate and GroupNorm of one group",
    ),
    _spec("strip", "timm", "one gate from means over rows and columns, after 3-wide convolutions"),
    _spec(
        "sk",
        "Li et al. 2019, arXiv:1903.06586",
        "SK in place of a 3x3; each branch gets half the input (split_input), dense branches",
        replaces_conv=True,
    ),
    _spec(
        "splat",
        "Zhang et al. 2020, arXiv:2004.08955",
        "ResNeSt's split attention in place of a 3x3; without norms unless given",
        replaces_conv=True,
    ),
    _spec("lambda", "Bello 2021, arXiv:2102.08602", "lambda layer with local positions, r=9"),
    _spec(
        "bottleneck",
        "Srinivas et al. 2021, arXiv:2101.11605",
        "BoTNet's self-attention; bound to the map's size, no residual",
    ),
    _spec(
        "halo",
        "Vaswani et al. 2021, arXiv:2103.12731",
        "halo attention; the map's sides must be multiples of block_size (8)",
    ),
    _spec(
        "nl",
        "Wang et al. 2018, arXiv:1711.07971",
        "non-local; inner width C/8 for C/2, scale C^-1/2 for the inner width's",
    ),
    _spec("bat", _BAT, "bilinear attention; the map's sides must be multiples of block_size (7)"),
)

TIMM: Final[Mapping[str, AttentionSpec]] = MappingProxyType({s.name: s for s in _SPECS})
"""timm's layers that we know of; `available` says which of them the installed timm has."""

_PLAIN: Final = frozenset({int, float, bool, str, type(None)})
_BY_THE_SITE: Final = frozenset(
    {"channels", "in_channels", "dim", "out_channels", "dim_out", "feat_size", "stride", "dilation"}
)
_NOT_OFFERED: Final = frozenset(
    {
        "padding",  # it must keep the map's size
        "device",
        "dtype",
    }
)
# timm computes these from the channels that we give it, and would ignore what the user says.
_IGNORED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {name: frozenset({"kernel_size"}) for name in ("timm-eca", "timm-ecam", "timm-ceca")}
)


def available() -> list[str]:
    """Return which of timm's layers the installed timm has."""
    return [name for name, spec in TIMM.items() if _lookup(spec) is not None]


def layer(spec: AttentionSpec) -> Any:
    """Return the class of timm for a name, or a partial of it.

    Raises:
        ValueError: The installed timm has no such layer.
    """
    found = _lookup(spec)
    if found is None:
        raise ValueError(f"the installed timm has no attention named {_short(spec)}")
    return found


def parameters(spec: AttentionSpec) -> dict[str, Parameter]:
    """Return what the user can set: the parameters of plain types that the site does not settle."""
    constructor = layer(spec)
    settled = {*_BY_THE_SITE, *_NOT_OFFERED, *_IGNORED.get(spec.name, ())}
    settled |= set(getattr(constructor, "keywords", {}))  # what makes timm's partial what it is
    plain: dict[str, Parameter] = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        annotation = _plain(parameter)
        if name not in settled and annotation is not None:
            plain[name] = Parameter(annotation, parameter.default)
    return plain


def build(spec: AttentionSpec, site: SiteShape, options: Mapping[str, object]) -> nn.Module:
    """Build timm's layer for a site and run it once there, for most refuse only when run.

    Raises:
        ValueError: timm refuses, or the layer does not keep the map's shape.
    """
    import torch

    constructor = layer(spec)
    explicit = inspect.signature(constructor).parameters
    facts = _facts(spec, site)
    wanted = {name: value for name, value in facts.items() if name in explicit}
    try:
        module: nn.Module = constructor(**{**wanted, **options})
        if not spec.replaces_conv:
            shape = (1, site.channels, site.height, site.width)
            with torch.no_grad():
                kept = module.eval()(torch.zeros(shape)).shape == shape
            if not kept:
                raise ValueError("the result has another shape")
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"timm refuses it ({_reason(error)})") from error
    module.note = ""  # type: ignore[assignment]  # torch declares attributes tensors or modules
    return module.train()


def _facts(spec: AttentionSpec, site: SiteShape) -> dict[str, object]:
    """Return what the site fills in, under every name that timm's signatures have for it."""
    channels: object = site.channels
    facts: dict[str, object] = {}
    if spec.replaces_conv:
        conv = replaced_convolution(site)
        channels = conv["channels"]
        facts = {name: conv[name] for name in ("out_channels", "stride", "dilation")}
        facts["groups"] = conv["conv_groups"]
    feat_size = (site.height, site.width)
    return {
        **facts,
        "channels": channels,
        "in_channels": channels,
        "dim": channels,
        "feat_size": feat_size,
    }


def _lookup(spec: AttentionSpec) -> Any:
    """Return the class of timm, or None if this timm has none of the name."""
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    layers = importlib.import_module("timm.layers")
    try:
        return layers.get_attn(_short(spec))
    except AssertionError:  # how timm says that it does not know a name
        return None


def _short(spec: AttentionSpec) -> str:
    return spec.target.removeprefix("timm:")


def _reason(error: Exception) -> str:
    """Return what timm said, or if it said nothing, the line of timm that failed."""
    said = str(error).strip()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.line for frame in frames if "timm" in Path(frame.filename).parts and frame.line]
    return said or next(reversed(lines), type(error).__name__)


def _plain(parameter: inspect.Parameter) -> Any:
    """Return the plain types that a parameter takes, as an annotation; None if there is none."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or parameter.default is parameter.empty:
            return None
        # timm's `nl` has no annotations; its only default of None is a number of channels.
        return int | None if parameter.default is None else type(parameter.default)
    members = (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in {Union, types.UnionType}
        else (annotation,)
    )
    kept = tuple(member for member in members if member in _PLAIN)
    return Union[kept] if set(kept) - {type(None)} else None  # noqa: UP007  members found at run time
