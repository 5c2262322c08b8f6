"""A model that was profiled."""

from __future__ import annotations

from dataclasses import dataclass

from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import SavedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A model that was profiled.

    Attributes:
        row: Its trace, and what it takes above the first model's.
        information: Of an engine, the layer information that its kernels are made of.
    """

    row: SavedRow
    information: LayerInformation | None = None
