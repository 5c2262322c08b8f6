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

from edgeattn.base.errors import InputError, MissingError, in_one_line
from edgeattn.base.torchvision_ops import declare_missing_operators
from edgeattn.models.arguments import literals

# What huggingface_hub, its HTTP clients and urllib raise where there is no network; told by name,
# for which of the clients is installed depends on the version.
_NETWORK: Final = frozenset(
    {"ConnectionError", "ConnectError", "ConnectTimeout", "HfHubHTTPError", "HTTPError"}
    | {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "URLError", "Timeout", "ReadTimeout"}
    | {"SSLError", "ProxyError", "MaxRetryError", "gaierror", "IncompleteRead", "TimeoutError"}
)


def timm_has(name: str) -> bool:
    """Return whether timm has a model of this name, or could fetch it from a hub ("hf-hub:...")."""
    declare_missing_operators()
    import timm

    return bool(timm.is_model(name)) or name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))


def from_timm(
    name: str, *, pretrained: bool, num_classes: int | None, model_args: Mapping[str, str]
) -> tuple[nn.Module, tuple[int, int, int]]:
    """A model of timm, and the (C, H, W) of the images that it is made for.

    Raises:
        InputError: timm refuses an argument, or has no weights for it.
        MissingError: Its weights cannot be fetched.
    """
    declare_missing_operators()
    import timm

    arguments = _arguments(num_classes, model_args)
    with _refusals(f"timm:{name}", pretrained=pretrained), _reachable_hub(wanted=pretrained):
        module: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", {})
    C, H, W = config.get("input_size", (3, 224, 224))
    return module, (_channels(module, C), H, W)


def from_torchvision(
    name: str, *, pretrained: bool, num_classes: int | None, model_args: Mapping[str, str]
) -> nn.Module:
    """A classifier of torchvision.

    Raises:
        InputError: torchvision refuses an argument.
        MissingError: Its weights cannot be fetched.
    """
    declare_missing_operators()
    import torchvision

    arguments = _arguments(num_classes, model_args)
    weights = "DEFAULT" if pretrained else None
    with _refusals(f"torchvision:{name}", pretrained=pretrained):
        module: nn.Module = torchvision.models.get_model(name, weights=weights, **arguments)
    return module


def _arguments(num_classes: int | None, model_args: Mapping[str, str]) -> dict[str, Any]:
    given = literals(model_args)
    return given if num_classes is None else {"num_classes": num_classes, **given}


def _channels(module: nn.Module, default: int) -> int:
    """The channels that the first convolution takes, which an argument may have changed."""
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    return default if first is None or first.in_channels % default == 0 else first.in_channels


@contextmanager
def _reachable_hub(*, wanted: bool) -> Iterator[None]:
    """Make the hub's client look into its cache only, where its host has no address.

    It would try ten times and wait most of a minute. A proxy may resolve names that this machine
    cannot, so with one nothing is concluded.
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
    """Turn what a constructor raises into what the user can do about it."""
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
