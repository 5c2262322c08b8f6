"""The lowering stage, as export and optimize run it: what may be asked, the pass, its record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from edgeattn.errors import InputError
from edgeattn.nearest import did_you_mean, nearest

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.legalise import Rewrite
    from edgeattn.lowering.pipeline import Target
    from edgeattn.lowering.record import Lowered
    from edgeattn.manifest import LegalisedNode, Trial


def check(target: str, rules: Iterable[str] | None) -> None:
    """Refuses a target or a rule that there is not.

    Raises:
        InputError: Names the nearest ones that there are.
    """
    from edgeattn.lowering.pipeline import RULES, TARGETS

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
    """Lowers a model in place.

    Args:
        model: The model, at opset 13 or above.
        target: The runtime to choose forms for.
        rules: The rules to apply; None for all.

    Returns:
        What was done.
    """
    from edgeattn.lowering.pipeline import lower

    chosen = None if rules is None else frozenset(rules)
    return lower(model, target=cast("Target", target), rules=chosen)


def run_tuned(
    model: ir.Model,
    *,
    target: str,
    rules: Iterable[str] | None,
    on_trial: Callable[[int, int], None],
) -> Lowered:
    """Lowers a model in place, in the forms that win on it.

    Args:
        model: The model, at opset 13 or above.
        target: The runtime to choose forms for.
        rules: The rules to apply; None for all.
        on_trial: Called before each trial with its number and how many there are.

    Returns:
        What was done, and what was tried.
    """
    from edgeattn.lowering.tournament import lower_tuned
    from edgeattn.tuning import tuned

    chosen = None if rules is None else frozenset(rules)
    runtime = cast("Target", target)
    forms, trials = tuned(model, target=runtime, rules=chosen, on_trial=on_trial)
    return lower_tuned(model, target=runtime, rules=chosen, forms=forms, trials=trials)


def record(lowered: Lowered) -> dict[str, Any]:
    """Gives the manifest's fields on what lowering did."""
    from edgeattn.manifest import NearMiss, Rewrite

    return {
        "rewrites": tuple(Rewrite(**asdict(one)) for one in lowered.rewrites),
        "near_misses": tuple(NearMiss(**asdict(one)) for one in lowered.near_misses),
    }


def record_trials(lowered: Lowered) -> tuple[Trial, ...]:
    """Gives the manifest's record of what the tournament tried."""
    from edgeattn.manifest import Trial

    return tuple(Trial(**{**asdict(one), "figures": dict(one.figures)}) for one in lowered.trials)


def record_legalised(rewrites: Iterable[Rewrite]) -> tuple[LegalisedNode, ...]:
    """Gives the manifest's record of what legalisation did."""
    from edgeattn.manifest import LegalisedNode

    return tuple(LegalisedNode(**asdict(one)) for one in rewrites)
