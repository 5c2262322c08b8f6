"""What lowering did to a model: every rewrite, and every near miss with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """A part of the graph that was replaced.

    Attributes:
        rule: The rule that did it.
        site: The module path of what was replaced, or the name of its last node.
        nodes_before: The names of the nodes that are gone.
        nodes_after: The names of the nodes that stand for them.
        kind: What the tournament tells apart: the rule and the map's channels, rows and columns.
        forms: The form that was taken, by family.
    """

    rule: str
    site: str
    nodes_before: tuple[str, ...]
    nodes_after: tuple[str, ...]
    kind: str = ""
    forms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A part of the graph that a rule nearly took.

    Attributes:
        rule: The rule.
        site: The module path of the part, or the name of its last node.
        reason: Why it was left as it is.
    """

    rule: str
    site: str
    reason: str


#: What a graph that nobody thought of may make of a recogniser or a form. It is left as it is, and
#: the record says so: a fault here is no reason to refuse the whole model.
FAULTS: Final = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


def fault(rule: str, site: str, error: Exception) -> NearMiss:
    """Gives the near miss that a fault of lowering's own is."""
    kind = type(error).__name__
    return NearMiss(
        rule=rule, site=site, reason=f"a fault of edgeattn, please report: {kind}: {error}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A form that the tournament tried in place of the one that stood.

    Attributes:
        kind: The kind of region that it was tried in.
        family: What it is a form of.
        form: Its name.
        instead_of: The name of the form that stood.
        figures: What was measured of the model with it, and of the one that stood, by name.
        is_taken: Whether it was better, and stands now.
    """

    kind: str
    family: str
    form: str
    instead_of: str
    figures: tuple[tuple[str, float], ...]
    is_taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What lowering did.

    Attributes:
        target: The runtime that the forms were chosen for.
        rewrites: What was replaced, in order.
        near_misses: What was nearly replaced.
        trials: What the tournament tried, in order.
    """

    target: str
    rewrites: tuple[Rewrite, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    trials: tuple[Trial, ...] = ()
