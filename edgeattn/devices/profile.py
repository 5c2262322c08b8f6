"""Finds a device: by its name, by an alias, or by the path of a user's own file."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pydantic

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.devices.efficiency import Efficiency
from edgeattn.devices.schema import DeviceProfile, JetPack, PowerMode

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_SUFFIX: Final = ".toml"
_ALL_OF_THEM: Final = "See: edgeattn devices list"
# A file to compare with, for each kind; that of a GPU if the kind is not given either.
_EXAMPLES: Final = {"jetson": "jetson-orin-nano-8gb", "cpu": "raspberry-pi-5"}
_EXAMPLE: Final = "rtx-3090"
# What pydantic asks for, in TOML's terms.
_TYPES: Final = {
    "string_type": "must be text",
    "tuple_type": "must be an array",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}


def names() -> list[str]:
    """Return the devices that come with edgeattn."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in _files())


def find(name: str) -> DeviceProfile:
    """Return a device.

    Args:
        name: A device's name or alias, or the path of a file, which ends in `.toml` or has a
            folder before it.

    Raises:
        InputError: There is no such device or file, or the file does not say what it must.
    """
    if name.endswith(_SUFFIX) or Path(name).name != name:
        return _read(Path(name))
    known = {file.name.removesuffix(_SUFFIX): file for file in _files()}
    if name in known:
        return _parse(name, known[name].read_text(encoding="utf-8"), known[name])
    aliases = {alias: one for one, file in known.items() for alias in _aliases(file)}
    if name in aliases:
        return find(aliases[name])
    near = did_you_mean(nearest(name, [*known, *aliases]))
    raise InputError(f"There is no device named {name!r}.", mend=f"{near} {_ALL_OF_THEM}".strip())


def titled(title: str) -> DeviceProfile | None:
    """Return the device that comes with edgeattn and calls itself so: `NVIDIA A100 80GB PCIe`."""
    return next((one for one in map(find, names()) if _bare(one.title) == _bare(title)), None)


def _bare(title: str) -> str:
    return title.lower().replace("nvidia", "").replace(" ", "")


def _folder() -> Traversable:
    return resources.files("edgeattn.profiles")


def _files() -> Iterator[Traversable]:
    return (file for file in _folder().iterdir() if file.name.endswith(_SUFFIX))


def _aliases(file: Traversable) -> list[str]:
    found: list[str] = tomllib.loads(file.read_text(encoding="utf-8")).get("aliases", [])
    return found


def _read(path: Path) -> DeviceProfile:
    """Read a user's own file."""
    if not path.exists():
        near = did_you_mean(nearest(path.stem, names()))
        raise InputError(f"There is no file {path}.", mend=f"{near} {_ALL_OF_THEM}".strip())
    mend = _compare_with(_EXAMPLE)
    text = documents.read_text(
        path, largest_mib=1, otherwise="is no TOML: it is no text", mend=mend
    )
    return _parse(path.stem, text, path)


def _parse(name: str, text: str, where: Traversable) -> DeviceProfile:
    table = documents.parse_toml(text, str(where), mend=_compare_with(_EXAMPLE))
    try:
        return DeviceProfile.model_validate({"name": name, **table})
    except pydantic.ValidationError as error:
        faults = error.errors(include_url=False)
    kind = table.get("kind")
    example = _EXAMPLES.get(kind, _EXAMPLE) if isinstance(kind, str) else _EXAMPLE
    wrong = [fault["loc"][-1] for fault in faults if fault["type"] == "extra_forbidden"]
    near = did_you_mean(nearest(str(wrong[0]), _keys(), count=1)) if wrong else ""
    raise InputError(
        "\n".join([f"{where} describes no device:", *(f"  {_described(one)}" for one in faults)]),
        mend=f"{near} {_compare_with(example)}".strip(),
    )


def _described(fault: Mapping[str, Any]) -> str:
    """Return which key is wrong, and what was expected."""
    kind, place = fault["type"], list(fault["loc"])
    is_key = bool(place) and place[-1] == "[key]"
    key = _dotted(place[:-1] if is_key else place)
    expected = str(fault["msg"]).removeprefix("Value error, ")
    expected = _TYPES.get(kind, expected.replace("Input should be", "must be"))
    if not key:  # of the file as a whole, which names its keys itself
        return f"{expected}."
    if kind == "missing":
        return f"{key} is missing."
    if kind == "extra_forbidden":
        return f"{key} is no key of a device file."
    if is_key:
        return f"{key}: the key {expected}."
    return f"{key} is {reprlib.repr(fault['input'])}, and {expected}."


def _dotted(place: list[str | int]) -> str:
    """Write a place as in `power_mode[1].sms`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _keys() -> list[str]:
    """Return every key that a file may have, at any depth."""
    models: tuple[type[pydantic.BaseModel], ...] = (DeviceProfile, PowerMode, JetPack, Efficiency)
    return list(dict.fromkeys(key for model in models for key in model.model_fields))


def _compare_with(name: str) -> str:
    return f"Compare with {_folder() / (name + _SUFFIX)}"
