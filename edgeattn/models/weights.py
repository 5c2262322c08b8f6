"""Loads weights from files, without running code; names and shapes must fit strictly."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from edgeattn.base.errors import InputError, in_one_line

# Where training scripts put the state dict. Averaged weights come first, as in timm: they are what
# is evaluated and published.
_WRAPPERS: Final = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "net")
# Put in front of every key by DistributedDataParallel and torch.compile.
_PREFIXES: Final = ("module.", "_orig_mod.")
_LISTED: Final = 5


def load(
    module: nn.Module,
    path: Path,
    *,
    attention: Collection[str] = (),
    replaced: Collection[str] = (),
) -> tuple[str, ...]:
    """Load a file of weights into a model; names and shapes must be the model's.

    Args:
        module: The model; changed only if everything fits.
        path: A safetensors file or a state dict that torch saved.
        attention: The keys of the model that belong to attention. A file that has none of them is
            of the backbone, and is loaded into the backbone alone.
        replaced: The keys of the backbone whose modules attention has replaced.

    Returns:
        What a user should know: whether the attention got no weights, which of several sets of
        weights was taken.

    Raises:
        InputError: The file cannot be read without running code, or does not fit.
    """
    state, notes = read(path)
    expected = dict(module.state_dict())
    # A count of training steps, which older files do not have, and inference does not use.
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    own = set(attention)
    if own and not own & state.keys():
        notes.append(f"{path} holds the backbone only: the attention is freshly initialised")
        expected = {key: value for key, value in expected.items() if key not in own}
        state = {key: v for key, v in state.items() if key in expected or key not in replaced}
    _check(path, state, expected, optional)
    module.load_state_dict(state, strict=False)
    return tuple(notes)


def read(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Read a state dict in any of the common forms, and note what was chosen.

    Raises:
        InputError: The file is missing, damaged, holds no weights, or needs code to be run.
    """
    if not path.is_file():
        raise InputError(f"there is no file of weights {path}")
    try:
        with path.open("rb") as file:
            head = file.read(9)
        content = _safetensors(path) if head[8:9] == b"{" else _torch(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return _state(path, content)


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file: {in_one_line(error)}") from error


def _torch(path: Path) -> Any:
    # Only torch's zip format can be mapped into memory instead of being read.
    mmap = zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols, which load all the same
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|class|global:?) `?([\w.]+\.[\w.]+)", str(error))
        if "Unsupported" in str(error) or found:
            what = f" ({found[1]})" if found else ""
            raise InputError(
                f"{path} is a pickle that would run code when read{what}: refused, nothing was run",
                mend="Save its state dict alone, torch.save(model.state_dict(), FILE), "
                "or as safetensors.",
            ) from error
        raise InputError(
            f"{path} holds no weights: it is neither safetensors nor torch's"
        ) from error
    except Exception as error:
        raise InputError(
            f"{path} is damaged, or holds no weights: {in_one_line(error)}",
            mend="Give a safetensors file, or a state dict saved with torch.save.",
        ) from error


def _state(path: Path, content: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    notes: list[str] = []
    while isinstance(content, Mapping) and (
        found := [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
    ):
        if len(found) > 1:
            notes.append(f"of {path}, the weights under '{found[0]}' were taken")
        content = content[found[0]]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no state dict, but {_described(content)}")
    strange = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise InputError(
            f"{path} holds no state dict: {', '.join(strange[:_LISTED])} are no tensors",
            mend="Save the state dict alone: torch.save(model.state_dict(), FILE).",
        )
    state = {str(key): value for key, value in content.items()}
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state, notes


def _described(content: Any) -> str:
    return "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"


def _check(
    path: Path,
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    optional: Collection[str],
) -> None:
    """Compare names and shapes.

    Raises:
        InputError: They differ; the first differences are listed.
    """
    missing = [key for key in expected if key not in state and key not in optional]
    unexpected = [key for key in state if key not in expected]
    shapes = {
        key: (tuple(value.shape), tuple(expected[key].shape))
        for key, value in state.items()
        if key in expected and value.shape != expected[key].shape
    }
    if not (missing or unexpected or shapes):
        return
    different = [f"{key} is {got}, the model's is {want}" for key, (got, want) in shapes.items()]
    lines = [f"{path} does not fit the model:"]
    lines += _list("missing in the file", missing)
    lines += _list("unknown to the model", unexpected)
    lines += _list("of another shape", different)
    classes = None if missing or unexpected else _classes(shapes)
    mend = "" if classes is None else f"Only the classifier differs: try --num-classes {classes}."
    raise InputError("\n".join(lines), mend=mend)


def _list(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"    and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return [f"  {what} ({len(items)}):", *(f"    {item}" for item in items[:_LISTED]), *more]


def _classes(shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> int | None:
    """Return the file's number of classes, if only the outputs of one module differ."""
    modules = {key.rpartition(".")[0] for key in shapes}
    counts = {got[0] for got, _ in shapes.values() if got}
    same = all(got and want and got[1:] == want[1:] for got, want in shapes.values())
    return counts.pop() if len(modules) == len(counts) == 1 and same else None
