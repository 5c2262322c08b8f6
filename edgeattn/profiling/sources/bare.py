"""A model with its sites replaced by identity, as a file to run or to build beside the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.graph import identity
from edgeattn.graph.writing import save
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import Difference, Identity, Kernel, Site

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class BareModel:
    """A model with its sites replaced by identity.

    Attributes:
        model: The model.
        path: Its file.
        sites: The sites of the model that it was.
        kept: Those that could not be replaced, and why.
    """

    model: ir.Model
    path: Path
    sites: tuple[Site, ...]
    kept: dict[str, str]

    def identity(self, kernels: Sequence[Kernel], difference: Difference | None) -> Identity:
        """Put together what was found of it.

        Args:
            kernels: Its kernels.
            difference: What the model takes above it; None where they were not run in turns.
        """
        return Identity(
            kernels=tuple(kernels),
            difference=difference,
            replaced=tuple(site.path for site in self.sites if site.path not in self.kept),
            kept=self.kept,
        )


def write_bare(subject: Subject, folder: Path) -> BareModel:
    """Replace a model's sites by identity; its file is written to a new folder."""
    folder.mkdir()
    model = subject.model.clone()
    kept = identity.replace(model, subject.parts)
    path = folder / "identity.onnx"
    save(model, path, external=True)
    return BareModel(model=model, path=path, sites=subject.sites, kept=kept)
