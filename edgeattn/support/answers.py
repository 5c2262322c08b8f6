"""Answers to whether something runs there: yes, no, or unknown, each with its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgeattn.records.check import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether something runs.

    Attributes:
        verdict: Unknown where sources disagree, or none says.
        reason: What decides, in a sentence without its subject: "its axes are no constant"; ""
            where there is nothing to say.
        source: Where that is said, for people; "" if nothing says.
        mend: What to do about it; "" if nothing is to be done, or nothing helps.
    """

    verdict: Verdict
    reason: str = ""
    source: str = ""
    mend: str = ""


#: The worst verdict first.
WORST_FIRST: Final[tuple[Verdict, ...]] = ("no", "unknown", "yes")


def worst(answers: Iterable[Answer]) -> Answer:
    """Return the first of the answers that say no, or else unknown, or else yes.

    Args:
        answers: One at least.
    """
    return min(answers, key=lambda one: WORST_FIRST.index(one.verdict))
