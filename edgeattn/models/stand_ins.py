"""Stands for what training scripts save beside weights, so that reading it runs nothing.

No class that a file names is looked up, so none is constructed: settings, dates and paths are
dropped, a kind of dict is a dict, and arrays of NumPy's are put together from their bytes.
"""

from __future__ import annotations

import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch

# Packages whose classes hold settings, dates, paths and histories; of others, these names alone.
_SETTINGS: Final = frozenset(
    {"addict", "argparse", "datetime", "decimal", "easydict", "enum", "fractions", "fvcore",
     "lightning", "lightning_fabric", "mmcv", "mmengine", "ml_collections", "numpy", "omegaconf",
     "pathlib", "pytorch_lightning", "typing", "uuid", "yacs"}
)  # fmt: skip
_PLAIN: Final = frozenset(
    {"builtins.bool", "builtins.bytes", "builtins.dict", "builtins.float", "builtins.frozenset",
     "builtins.getattr", "builtins.int", "builtins.list", "builtins.object", "builtins.range",
     "builtins.slice", "builtins.str", "builtins.tuple", "collections.defaultdict",
     "collections.deque", "detectron2.config.config.CfgNode", "functools.partial",
     "types.SimpleNamespace"}
)  # fmt: skip
_MODULES: Final = ("torch.nn.modules.", "torch.optim.")  # as an option names them
_IS_DICT: Final = re.compile(r"dict$|Dict$|CfgNode$")
_ITEM: Final = re.compile(r"[fiub](?:1|2|4|8)|c(?:8|16)")


class RefusedError(Exception):
    """A file names something that is not known to hold settings alone; its text is the name."""


def stand_in(name: str) -> type:
    """Return what stands for something that a file names.

    Raises:
        RefusedError: It is not known to hold settings alone.
    """
    known = name in _PLAIN or name.startswith(_MODULES) or name.partition(".")[0] in _SETTINGS
    if not known or not all(part.isidentifier() for part in name.split(".")):
        raise RefusedError(name)
    if name.endswith("deque"):
        return _SettingsList
    return type(name, (_SettingsDict if _IS_DICT.search(name) else _Settings,), {})


class Unpickler(pickle._Unpickler):  # noqa: SLF001 - that of C makes room for any index at once
    """Reads a plain pickle, of which only containers, numbers, strings and stand-ins are made."""

    read: Any  # set by load
    append: Any

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what stands for something that the file names."""
        full = f"{module}.{name}".replace("__builtin__.", "builtins.", 1)
        if full in {"collections.OrderedDict", "builtins.dict"}:
            return _SettingsDict
        if full == "_codecs.encode":
            return _Bytes
        return NUMPY.get(full) or stand_in(full)

    def load_bytearray8(self) -> None:
        """Read the bytes of an array, of which no more are made than the file has."""
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(size))

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,  # noqa: SLF001
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


class _Settings:
    """Stands for what is no tensor, whatever it is made from."""

    def __new__(cls, *_: object, **__: object) -> Any:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Drop it."""


class _SettingsDict(_Settings):
    """Stands for a kind of dict, by a dict that has what it holds."""

    def __new__(cls, *given: object, **__: object) -> Any:
        return (
            OrderedDict(given[0]) if given and isinstance(given[0], list | dict) else OrderedDict()
        )


class _SettingsList(_Settings):
    """Stands for a kind of list."""

    def __new__(cls, *_: object) -> Any:
        return []


class _Bytes(_Settings):
    """Stands for the function that old protocols write bytes by."""

    def __new__(cls, text: str = "", *_: object) -> Any:
        return text.encode("latin1")


class _Dtype(_Settings):
    """Stands for NumPy's type of an item."""

    item: object = ""
    order = "<"

    def __init__(self, item: object = "", *_: object) -> None:
        self.item = item.decode("latin1") if isinstance(item, bytes) else item

    def __setstate__(self, state: Any) -> None:
        self.order = ">" if state[1] in {">", b">"} else "<"


class Array(_Settings):
    """Stands for an array of NumPy's, with its bytes."""

    shape: Any = ()
    dtype: object = None
    order: object = "C"
    data: Any = b""

    def __setstate__(self, state: Any) -> None:
        self.shape, self.dtype, is_fortran, self.data = state[-4:]
        self.order = "F" if is_fortran else "C"

    def tensor(self) -> torch.Tensor | None:
        """Return it as a tensor, or None if it is none of numbers."""
        if not isinstance(self.dtype, _Dtype) or not isinstance(self.dtype.item, str):
            return None
        item = self.dtype.item
        order: Literal["F", "C"] = "F" if self.order == "F" else "C"
        try:
            data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
            flat = np.frombuffer(data, self.dtype.order + item if _ITEM.fullmatch(item) else "O")
            array = flat.reshape(self.shape, order=order)
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
        except (TypeError, ValueError, OverflowError):
            return None


class _Buffer(Array):
    """Stands for the function that protocol 5 writes arrays by."""

    def __init__(self, *given: Any) -> None:
        self.data, self.dtype, self.shape, self.order = given


#: What stands for the names that arrays are written by.
NUMPY: Final[Mapping[str, type]] = {
    "numpy.ndarray": Array,
    "numpy.dtype": _Dtype,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in {
            "multiarray._reconstruct": Array,
            "numeric._frombuffer": _Buffer,
        }.items()
    },
}
