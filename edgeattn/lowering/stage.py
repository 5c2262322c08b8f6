"""The lowering stage, as export and optimize run it: what may be asked, the pass, its record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.lowering.pipeline import RULES, TARGETS, Target, lower
from edgeattn.lowering.record import Lowered

if TYPE_CHECKING:
    import onnx_ir as ir


def check(target: str, rules: Iterable[str] | None) -> None:
    """Refuse a target or a rule that there is not.

    Raises:
        InputError: Names the nearest ones that there are.
    """
    if target not in TARGETS:
        raise InputError(
            f"There is no target {target!r}; there are {' and '.join(TARGETS)}.",
            mend=did_you_mean(nearest(target, TARGETS, count=1)),
        )
    for rule in rules or ():
        if rule not in RULES:
            offered = did_you_mean(nearest(rule, RULES))
            raise InputError(
                f"There is no rule {rule!r}.",
                mend=" ".join(filter(None, [offered, "See: edgeattn list rules"])),
            )


def run(model: ir.Model, *, target: str, rules: Iterable[str] | None) -> Lowered:
    """Lower a model in place.

    Args:
        model: The model, at opset 13 or above.
        target: The runtime to choose forms for.
        rules: The rules to apply; None for all.

    Returns:
        What was done.
    """
    chosen = None if rules is None else frozenset(rules)
    return lower(model, target=cast("Target", target), rules=chosen)
