"""What lowering did to a model: every rewrite, and every near miss with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeattn.records.lowering import NearMiss, Rewrite, Trial

#: What a graph that nobody thought of may make of a recogniser or a form. It is left as it is, and
#: the record says so: a fault here is no reason to refuse the whole model.
FAULTS: Final = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


#: Why forms that a region would have are not taken.
LEFT_OUT: Final = "no fusion that TensorRT documents makes these pay, and they are left out: {}"


def fault(rule: str, site: str, error: Exception) -> NearMiss:
    """Return the near miss that a fault of lowering's own is."""
    kind = type(error).__name__
    return NearMiss(
        rule=rule, site=site, reason=f"a fault of edgeattn, please report: {kind}: {error}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What lowering did.

    Attributes:
        target: The runtime that the forms were chosen for.
        rewrites: What was replaced, in order.
        near_misses: What was nearly replaced.
        trials: What the tournament tried, in order.
        left_out: The forms that were not taken because of the runtime's version, as "gate negated".
    """

    target: str
    rewrites: tuple[Rewrite, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    trials: tuple[Trial, ...] = ()
    left_out: tuple[str, ...] = ()
