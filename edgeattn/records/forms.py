"""Forms that were measured on a device: what is kept of them, and given to others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from edgeattn.base import documents, files
from edgeattn.base.legible import legible
from edgeattn.records.base import SCHEMA_VERSION, Frozen
from edgeattn.records.lowering import Trial
from edgeattn.records.trace import RUNTIMES

_MEND = "It is written by edgeattn optimize --tune --on HOST --save-forms FILE."


class _Strict(Frozen):
    model_config = ConfigDict(extra="forbid")


class Place(_Strict):
    """What forms were measured on.

    Attributes:
        title: The module, or what the host calls itself.
        device: The name of its device profile; None if there is none.
        runtime: What ran them.
        version: The runtime's version.
        power_mode: The power mode; None if it is not known.
    """

    title: str
    device: str | None
    runtime: Literal["tensorrt", "onnxruntime", "openvino"]
    version: str
    power_mode: str | None

    def __str__(self) -> str:
        words = [self.title, f"{RUNTIMES[self.runtime]} {self.version}", self.power_mode]
        return ", ".join(map(legible, filter(None, words)))


class MeasuredRegion(_Strict):
    """The forms of one kind of region.

    Attributes:
        content: The hash of the part of a model that they were measured on, without its weights.
        kind: The rule and the map's channels, rows and columns, for people.
        precision: What it was computed in.
        forms: The form by family; `region` says whether it is lowered at all.
        trials: What was tried, with its figures.
    """

    content: str
    kind: str
    precision: str
    forms: dict[str, str]
    trials: tuple[Trial, ...]


class MeasuredForms(_Strict):
    """The document: forms that were measured in one place.

    Attributes:
        edgeattn: The version that measured them.
        target: What they are forms for.
        place: Where they were measured.
        regions: The forms, by kind of region.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    edgeattn: str
    target: str
    place: Place
    regions: tuple[MeasuredRegion, ...]


def read_forms(path: Path) -> MeasuredForms:
    """Read measured forms.

    Raises:
        InputError: The file cannot be read, or holds none.
    """
    document = documents.read_json(path, mend=_MEND)
    found: MeasuredForms = documents.checked(
        MeasuredForms, document, f"{path} holds no measured forms", mend=_MEND
    )
    return found


def write_forms(path: Path, forms: MeasuredForms) -> None:
    """Write measured forms.

    Raises:
        InputError: The file cannot be written.
    """
    files.write(path, forms.model_dump_json(indent=2) + "\n")
