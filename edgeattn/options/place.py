"""Where attention is to go, for a budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.options.flags import flag

#: What the largest set may be the largest by.
BY: Final = ("sites", "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOptions:
    """What set of sites is looked for.

    Attributes:
        budget: As it is written: above the plain model (+5%, +0.4ms), or in all (8ms).
        keep: Globs of sites, or of the modules that they attend, that are in the set whatever they
            cost.
        by: One of `BY`; the scores of a file come before it.
        scores: A file with a score for each site.

    Raises:
        InputError: There is nothing of that name that a set could have most of.
    """

    budget: str = flag(
        "--budget LIMIT",
        "The most that the attention may cost: +5% or +0.4ms above the plain model, or 8ms in all.",
        default="",
        takes=str,
    )
    keep: tuple[str, ...] = flag(
        "--keep GLOB",
        "Sites that are in the set whatever they cost: by their path, or the module they attend."
        " May be given again.",
        default=(),
    )
    by: str = flag(
        "--by WHAT",
        "What the set is to have most of: sites or parameters. [sites]",
        default="sites",
        takes=str,
    )
    scores: Path | None = flag(
        "--scores FILE.json",
        "What each site is worth, instead: an object of numbers by site, or by glob.",
    )

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise InputError(
                f"--by {self.by!r} is neither {' nor '.join(BY)}.",
                mend=did_you_mean(nearest(self.by, BY)),
            )
