"""Model names: short ones, timm's and torchvision's, and the nearest to an unknown one."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgeattn.base.nearest import nearest as alike
from edgeattn.base.torchvision_ops import declare_missing_operators

# The sizes of torchvision's RegNets, and timm's numbers for them.
_REGNET_SIZES: Final = {
    "400mf": "004", "800mf": "008", "1_6gf": "016", "3_2gf": "032", "8gf": "080", "16gf": "160",
    "32gf": "320",
}  # fmt: skip

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mobilenetv1": "timm:mobilenetv1_100",
        "mobilenet_v1": "timm:mobilenetv1_100",
        "mobilenetv2": "timm:mobilenetv2_100",
        "mobilenet_v2": "timm:mobilenetv2_100",
        "mobilenetv3": "timm:mobilenetv3_large_100",
        "mobilenet_v3": "timm:mobilenetv3_large_100",
        "mobilenetv3_large": "timm:mobilenetv3_large_100",
        "mobilenet_v3_large": "timm:mobilenetv3_large_100",
        "mobilenetv3_small": "timm:mobilenetv3_small_100",
        "mobilenet_v3_small": "timm:mobilenetv3_small_100",
        "mobilenetv4": "timm:mobilenetv4_conv_small",
        "ghostnet": "timm:ghostnet_100",
        "ghostnetv2": "timm:ghostnetv2_100",
        "mnasnet0_5": "timm:mnasnet_050",
        "mnasnet0_75": "timm:mnasnet_075",
        "mnasnet1_0": "timm:mnasnet_100",
        **{
            f"regnet_{kind}_{size}": f"timm:regnet{kind}_{number}"
            for kind in "xy"
            for size, number in _REGNET_SIZES.items()
        },
        "shufflenet": "torchvision:shufflenet_v2_x1_0",
        "shufflenetv2": "torchvision:shufflenet_v2_x1_0",
        "shufflenet_v2": "torchvision:shufflenet_v2_x1_0",
        "squeezenet": "torchvision:squeezenet1_1",
        "swin_t": "timm:swin_tiny_patch4_window7_224",
        "swin_s": "timm:swin_small_patch4_window7_224",
        "swin_b": "timm:swin_base_patch4_window7_224",
        "vit_b_16": "timm:vit_base_patch16_224",
        "vit_b_32": "timm:vit_base_patch32_224",
        "vit_l_16": "timm:vit_large_patch16_224",
    }
)
"""Bare names that are neither timm's nor torchvision's own, or that timm spells otherwise."""

FORMS: Final = (
    "NAME (see: edgeattn list models)",
    "timm:NAME",
    "torchvision:NAME",
    "ultralytics:NAME.yaml",
    "ultralytics:best.pt",
    "path/to/file.py:factory",
    "path/to/program.pt2",
)
"""How a model can be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """The models that can be asked for by name.

    Attributes:
        aliases: Short names, and what each stands for.
        timm: timm's names.
        torchvision: Names that only torchvision has.
        forms: How a model can be given.
    """

    aliases: Mapping[str, str]
    timm: tuple[str, ...]
    torchvision: tuple[str, ...]
    forms: tuple[str, ...]


def available(pattern: str = "*") -> Available:
    """Return every name that matches a glob.

    Args:
        pattern: The glob ("mobilenet*").
    """
    known = set(timm_names())
    others = [name for name in torchvision_names() if name not in known and name not in ALIASES]
    return Available(
        aliases={k: v for k, v in ALIASES.items() if fnmatch.fnmatchcase(k, pattern)},
        timm=tuple(fnmatch.filter(timm_names(), pattern)),
        torchvision=tuple(fnmatch.filter(others, pattern)),
        forms=FORMS,
    )


def timm_names() -> list[str]:
    """Return all models of the installed timm."""
    declare_missing_operators()
    import timm

    return list(timm.list_models())


def torchvision_names() -> list[str]:
    """Return all classifiers of the installed torchvision."""
    declare_missing_operators()
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def resolve(name: str) -> str | None:
    """Return a bare name as "timm:NAME" or "torchvision:NAME"; None if there is no such model."""
    if name in ALIASES:
        return ALIASES[name]
    declare_missing_operators()
    import timm

    if timm.is_model(name):
        return f"timm:{name}"
    return f"torchvision:{name}" if name in torchvision_names() else None


def yolos(name: str) -> list[str]:
    """Return the models of Ultralytics that are meant by a name that says no library."""
    stem = name.removesuffix(".pt").removesuffix(".yaml")
    if not stem.lower().startswith(("yolo", "rtdetr")) or "/" in stem:
        return []
    return [f"{stem}.yaml"]


def nearest(name: str) -> list[str]:
    """Return the known names that are most like `name`, the most similar first."""
    _, _, bare = name.rpartition(":")
    known = dict.fromkeys([*ALIASES, *timm_names(), *torchvision_names()])
    starting = [one for one in known if one.startswith(bare)] if len(bare) > 2 else []
    close = alike(bare, known, count=5)
    return list(dict.fromkeys([*close, *sorted(starting, key=len)]))[:5]
