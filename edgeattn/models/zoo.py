"""Models of timm and of torchvision, by name."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import nn

from edgeattn.base.arguments import literals
from edgeattn.base.errors import InputError, MissingError, in_one_line
from edgeattn.base.torchvision_ops import declare_missing_operators
from edgeattn.options.model import ModelRequest
from edgeattn.records.pixels import FILTERS, Fit, Pixels

# What huggingface_hub, its HTTP clients and urllib raise without a network; recognised by name,
# because which of the clients is installed depends on the version.
_NETWORK: Final = frozenset(
    {"ConnectionError", "ConnectError", "ConnectTimeout", "HfHubHTTPError", "HTTPError"}
    | {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "URLError", "Timeout", "ReadTimeout"}
    | {"SSLError", "ProxyError", "MaxRetryError", "gaierror", "IncompleteRead", "TimeoutError"}
)

# What timm calls ways to fit photos, and what it crops where a model says nothing.
_FITS: Final[Mapping[str, Fit]] = {"squash": "stretch", "border": "letterbox"}
_CROP: Final = 0.875


def timm_has(name: str) -> bool:
    """Return whether timm has a model of this name, or could fetch it from a hub ("hf-hub:...")."""
    declare_missing_operators()
    import timm

    return bool(timm.is_model(name)) or name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))


def from_timm(name: str, request: ModelRequest) -> tuple[nn.Module, tuple[int, int, int]]:
    """Build a model of timm, and return it with the (C, H, W) of its images.

    Raises:
        InputError: timm refuses an argument, or has no weights for it.
        MissingError: Its weights cannot be fetched.
    """
    declare_missing_operators()
    import timm

    arguments = _arguments(request)
    pretrained = request.pretrained
    with _refusals(f"timm:{name}", pretrained=pretrained), _reachable_hub(wanted=pretrained):
        module: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", {})
    C, H, W = config.get("input_size", (3, 224, 224))
    return module, (_channels(module, C), H, W)


def from_torchvision(name: str, request: ModelRequest) -> nn.Module:
    """Build a classifier of torchvision.

    Raises:
        InputError: torchvision refuses an argument.
        MissingError: Its weights cannot be fetched.
    """
    declare_missing_operators()
    import torchvision

    arguments = _arguments(request)
    weights = "DEFAULT" if request.pretrained else None
    with _refusals(f"torchvision:{name}", pretrained=request.pretrained):
        module: nn.Module = torchvision.models.get_model(name, weights=weights, **arguments)
    return module


def pixels_of(module: nn.Module, source: str) -> Pixels | None:
    """Return how timm or torchvision says that photos are brought to a model.

    Args:
        module: The model; one of timm says it, also if a user's file built it.
        source: Where it is from.
    """
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, Mapping) and {"mean", "std"} <= config.keys():
        mean, std, kind = config["mean"], config["std"], config.get("interpolation")
        crop = config.get("crop_pct") or _CROP
        fit = _FITS.get(str(config.get("crop_mode")), "crop")
    elif source.startswith("torchvision:"):
        import torchvision

        preset = torchvision.models.get_model_weights(source.partition(":")[2]).DEFAULT.transforms()
        mean, std = getattr(preset, "mean", None), getattr(preset, "std", None)
        kind = getattr(getattr(preset, "interpolation", None), "value", None)
        part, whole = (getattr(preset, name, None) for name in ("crop_size", "resize_size"))
        crop, fit = (part[0] / whole[0], "crop") if part and whole else (1.0, "stretch")
    else:
        return None
    try:
        return Pixels(
            mean=tuple(map(float, mean)),
            std=tuple(map(float, std)),
            fit=fit,
            crop=float(crop),
            filter=kind if kind in FILTERS else "bicubic",
            said_by="torchvision" if source.startswith("torchvision:") else "timm",
        )
    except (InputError, TypeError, ValueError):  # of something else than RGB
        return None


def published_weights(module: nn.Module, origin: str, name: str) -> str:
    """Return what the published weights are called that a model was built with."""
    if origin == "torchvision":
        import torchvision

        return f"torchvision's {torchvision.models.get_model_weights(name).DEFAULT}"
    config = getattr(module, "pretrained_cfg", None) or {}
    return f"timm's {'.'.join(filter(None, (config.get('architecture'), config.get('tag'))))}"


def _arguments(request: ModelRequest) -> dict[str, Any]:
    given = literals(request.model_args)
    classes = request.num_classes
    return given if classes is None else {"num_classes": classes, **given}


def _channels(module: nn.Module, default: int) -> int:
    """Return the channels that the first convolution takes, which an argument may have changed."""
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    return default if first is None or first.in_channels % default == 0 else first.in_channels


@contextmanager
def _reachable_hub(*, wanted: bool) -> Iterator[None]:
    """Make the hub's client look only into its cache, if its host has no address.

    It would try ten times and wait most of a minute. A proxy may resolve names that this machine
    cannot, so nothing is concluded with one.
    """
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname or ""
    offline: bool = constants.HF_HUB_OFFLINE
    if wanted and not urllib.request.getproxies() and not _has_address(host):
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _has_address(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


@contextmanager
def _refusals(source: str, *, pretrained: bool) -> Iterator[None]:
    """Turn what a constructor raises into an error that says what to do."""
    try:
        with warnings.catch_warnings():
            # torchvision and timm announce their own future defaults, which no user can act on.
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if pretrained and _is_network(error):
            raise MissingError(
                f"the weights of {source} could not be fetched ({in_one_line(error)})",
                mend="Without a network, give a file with --weights FILE.",
            ) from error
        raise InputError(
            f"{source} cannot be built as asked: {in_one_line(error)}",
            mend="Check --model-arg, --num-classes and --pretrained.",
        ) from error


def _is_network(error: BaseException | None) -> bool:
    while error is not None:
        if any(kind.__name__ in _NETWORK for kind in type(error).__mro__):
            return True
        error = error.__cause__ or error.__context__
    return False
