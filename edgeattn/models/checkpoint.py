"""Reads the tensors of a file of weights, without running code of the file.

torch's restricted reader knows tensors and plain containers. For what else training scripts save
beside weights, settings mostly, it is given stand-ins. What has none is refused.
"""

from __future__ import annotations

import mmap
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from torch.serialization import safe_globals

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.files import opened
from edgeattn.models.stand_ins import NUMPY, Array, RefusedError, Unpickler, stand_in

# A file that names more kinds of things is none of weights.
_MOST_NAMES: Final = 100
_DEEPEST: Final = 32
_LEGACY: Final = b"l\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch's older files begin with
_ZIP: Final = b"PK\x03\x04"
_LFS: Final = b"version https://git-lfs"
# Opcodes of later protocols than the one that torch saves in: strings, bytes, frames and the memo.
_LATER: Final = frozenset(b"BC\x8c\x8d\x8e\x90\x91\x92\x93\x94\x95\x96")
_ALONE: Final = (
    "Save its state dict alone: torch.save(model.state_dict(), FILE), or as safetensors."
)


def read(path: Path) -> dict[tuple[str, ...], torch.Tensor]:
    """Read the tensors of a file, each by the keys that lead to it.

    Args:
        path: A safetensors file, or what `torch.save` or `pickle.dump` wrote.

    Raises:
        InputError: The file is missing, damaged, holds no tensors, or needs code to be run.
    """
    if not path.exists():
        raise InputError(f"there is no file of weights {path}")
    with opened(path) as file:
        head = file.read(64)
    if head.startswith(_LFS):
        raise InputError(
            f"{path} is a pointer of Git LFS, not the file itself.", mend="git lfs pull"
        )
    if head[8:9] == b"{":
        content = _safetensors(path)
    elif head.startswith(_ZIP) or _LEGACY in head:
        content = _torch(path)
    elif head.startswith(pickle.PROTO):
        content = _pickle(path)
    else:
        raise _neither(path)
    found = dict(_tensors(content))
    if not found:
        raise InputError(f"{path} holds no state dict, but {_described(content)}", mend=_ALONE)
    return found


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file: {in_one_line(error)}") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that is none of torch's weights, or a trap.

    Raises:
        InputError: Says what it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        _damaged(path, error)
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise InputError(
            f"{path} is a TorchScript archive, which holds a model and its code.",
            mend="Save its weights: torch.save(torch.jit.load(FILE).state_dict(), OUT)",
        )
    if "archive_format" in names:
        raise InputError(f"{path} is a program of torch.export.", mend="Give it as the model.")
    if "data.pkl" not in names:
        raise InputError(f"{path} is an archive, and none that torch.save wrote.", mend=_ALONE)
    unpacked = sum(entry.file_size for entry in entries)
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or unpacked > path.stat().st_size:
        raise InputError(
            f"{path} would unpack to {unpacked:,} bytes; torch.save compresses nothing: refused.",
            mend="If you trust it, save it again: torch.save(torch.load(FILE), OUT)",
        )


def _torch(path: Path) -> Any:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"\nbytearray\n") >= 0:  # torch's reader would make one of any size
            raise _refused(path, "builtins.bytearray")
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        _check_archive(path)
    stand_ins = dict(NUMPY)
    for _ in range(_MOST_NAMES):
        try:
            with warnings.catch_warnings(), safe_globals([(c, n) for n, c in stand_ins.items()]):
                warnings.simplefilter("ignore")  # of old pickle protocols, which load all the same
                return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
        except pickle.UnpicklingError as error:
            name = _unknown(path, error)
            try:
                stand_ins[name] = stand_in(name)
            except RefusedError:
                raise _refused(path, name) from error
        except Exception as error:  # noqa: BLE001 - whatever a file of anything makes torch raise
            _damaged(path, error)
    raise InputError(f"{path} holds no weights: it names more than {_MOST_NAMES} kinds of things.")


def _pickle(path: Path) -> Any:
    try:
        with opened(path) as file:
            return Unpickler(file).load()
    except RefusedError as error:
        raise _refused(path, str(error)) from error
    except pickle.UnpicklingError as error:
        raise _neither(path) from error
    except Exception as error:  # noqa: BLE001 - whatever a file of anything makes pickle raise
        _damaged(path, error)


def _neither(path: Path) -> InputError:
    return InputError(f"{path} holds no weights: it is neither safetensors nor torch's")


def _damaged(path: Path, error: Exception) -> NoReturn:
    raise InputError(
        f"{path} is damaged, or holds no weights: {in_one_line(error)}",
        mend="Give a safetensors file, or a state dict saved with torch.save.",
    ) from error


def _unknown(path: Path, error: pickle.UnpicklingError) -> str:
    """Return the name that torch's reader stopped at.

    Raises:
        InputError: It stopped at something else.
    """
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text)
    if found is not None:
        return found[1] if "." in found[1] else f"builtins.{found[1]}"
    code = re.search(r"Unsupported operand (\d+)", text)
    if code is not None and int(code[1]) in _LATER:
        raise InputError(
            f"{path} was saved with a later pickle protocol than torch's own, 2, which alone is"
            " read without running code.",
            mend="If you trust it, save it again:"
            " torch.save(torch.load(FILE, weights_only=False), OUT)",
        ) from error
    if "must be imported to load" in text:
        raise InputError(
            f"{path} holds tensors that are spread over devices, or nested.",
            mend="Save whole ones: torch.distributed.checkpoint.format_utils.dcp_to_torch_save",
        ) from error
    if code is not None or "WeightsUnpickler" not in text:
        raise _neither(path) from error
    reason = text.rsplit("WeightsUnpickler error: ", maxsplit=1)[-1].strip().splitlines()[0]
    raise InputError(
        f"{path} holds what is not read without running code: {reason}", mend=_ALONE
    ) from error


def _refused(path: Path, name: str) -> InputError:
    mend = f"If you trust it, read it where it was made. {_ALONE}"
    if name.startswith("ultralytics."):
        mend = (
            "It is a whole model. If you trust it, give it as the model:"
            f" ultralytics:{path} --trust-checkpoint"
        )
    return InputError(
        f"{path} is a pickle that would run code when read ({name}): refused, nothing was run",
        mend=mend,
    )


def _tensors(content: Any) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    """Yield the tensors in dicts and lists, in their order, each container once."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: set[int] = set()
    while waiting:
        place, value = waiting.pop()
        tensor = value.tensor() if isinstance(value, Array) else value
        if isinstance(tensor, torch.Tensor) and place:
            yield place, tensor.detach()
        if not isinstance(value, dict | list | tuple) or len(place) > _DEEPEST or id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [
            ((*place, _key(key)), one) for key, one in items if isinstance(key, str | bytes | int)
        ]
        waiting += reversed(inner)


def _key(key: str | bytes | int) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _described(content: Any) -> str:
    if isinstance(content, dict):
        keys = [_key(key) for key in content if isinstance(key, str | bytes | int)]
        return f"no tensors: {', '.join(keys[:5])}" if keys else "nothing"
    kind = type(content).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
