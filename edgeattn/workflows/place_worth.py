"""What sites are worth to whoever looks for a set of them: one, their parameters, or a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.options.place import PlaceOptions
from edgeattn.profiling.subsets import Sites
from edgeattn.records.manifest import PlacedSite


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What sites are worth.

    Attributes:
        by: What is counted: sites, parameters or scores.
        values: What each is worth.
        kept: Those that are to be in the set whatever they cost.
        notes: What a reader should know.
    """

    by: str
    values: tuple[float, ...]
    kept: Sites
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: PlaceOptions, sites: Sequence[PlacedSite]) -> Self:
        """Read what is asked.

        Raises:
            InputError: A glob or a score is of no site, a file cannot be read, or sites are to be
                weighed by what none has.
        """
        kept = frozenset(
            number for glob in asked.keep for number in _matching(glob, sites, "--keep")
        )
        if asked.scores is not None:
            return cls._scored(asked.scores, sites, kept)
        if asked.by == "sites":
            return cls(by=asked.by, values=(1.0,) * len(sites), kept=kept)
        values = tuple(float(site.params) for site in sites)
        if not any(values):
            raise InputError(
                f"{sites[0].attention} has no parameters that a set could have most of.",
                mend="Leave --by out.",
            )
        return cls(by=asked.by, values=values, kept=kept)

    @classmethod
    def _scored(cls, path: Path, sites: Sequence[PlacedSite], kept: Sites) -> Self:
        said = documents.read_json(path)
        if not isinstance(said, dict) or not said:
            raise InputError(
                f"{path} is no object of scores.", mend='For example: {"layer1.0.attention": 0.8}'
            )
        found: dict[int, float] = {}
        for glob, score in said.items():
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise InputError(f"{path} scores {glob} by {score!r}, which is no number.")
            found |= dict.fromkeys(_matching(glob, sites, str(path)), float(score))
        without = [site.path for number, site in enumerate(sites) if number not in found]
        note = f"Sites without a score stay out: {', '.join(without)}."
        return cls(
            by="scores",
            values=tuple(found.get(number, 0.0) for number in range(len(sites))),
            kept=kept,
            notes=(note,) if without else (),
        )


def _matching(glob: str, sites: Sequence[PlacedSite], where: str) -> list[int]:
    """Return the sites whose path, or whose module that they attend, a glob matches.

    Raises:
        InputError: There are none: names the nearest.
    """
    found = [
        number
        for number, site in enumerate(sites)
        if fnmatchcase(site.path, glob) or fnmatchcase(site.target, glob)
    ]
    if not found:
        known = [name for site in sites for name in (site.path, site.target)]
        raise InputError(
            f"{where} names {glob!r}, which is no site.", mend=did_you_mean(nearest(glob, known))
        )
    return found
