"""The tournament: forms compete, by kind of region, and the better one stands.

A kind is a rule and the size of its map. For each kind, each family of forms that its regions asked
for is taken in turn: every other form of the family is put in the place of the one that stands, in
all regions of the kind, and the whole model is compared with what it was. A form that is better
stands from then on. That is a climb, not a search of everything: forms of several families that are
good only together are not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import TARGETS
from edgeattn.records.lowering import Trial

Forms: TypeAlias = Mapping[str, Mapping[str, str]]
"""The form to take, by kind of region and family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two lowered models side by side.

    Attributes:
        is_better: Whether the second is better than the first, beyond doubt, and computes the same.
        figures: What was measured, by name.
    """

    is_better: bool
    figures: dict[str, float]


Compare: TypeAlias = Callable[[ir.Model, ir.Model], Comparison]


def tune(
    model: ir.Model,
    *,
    target: str,
    rules: Iterable[str] | None,
    compare: Compare,
    on_trial: Callable[[int, int], None] = lambda _, __: None,
) -> tuple[Forms, tuple[Trial, ...]]:
    """Find the forms that are best for a model.

    Args:
        model: The model, not yet lowered; it stays as it is.
        target: The runtime.
        rules: The rules to apply; None for all.
        compare: Compares the model that stands with another; both are lowered.
        on_trial: Called before each trial with its number and how many there are.

    Returns:
        The forms, and what was tried.
    """
    forms: dict[str, dict[str, str]] = {}
    standing = model.clone()
    lowered = lower(standing, target=target, rules=rules)
    pending = list(_alternatives(lowered, target))
    trials: list[Trial] = []
    for number, (kind, family, form) in enumerate(pending):
        on_trial(number, len(pending))
        stands = forms.get(kind, {}).get(family, TARGETS[target].writer.default(family))
        tried = {**forms, kind: {**forms.get(kind, {}), family: form}}
        candidate = model.clone()
        lower(candidate, target=target, rules=rules, forms=tried)
        found = compare(standing, candidate)
        trials.append(
            Trial(
                kind=kind,
                family=family,
                form=form,
                instead_of=stands,
                figures=found.figures,
                is_taken=found.is_better,
            )
        )
        if found.is_better:
            forms, standing = tried, candidate
    return forms, tuple(trials)


def _alternatives(lowered: Lowered, target: str) -> Iterator[tuple[str, str, str]]:
    asked: dict[tuple[str, str], str] = {}
    for rewrite in lowered.rewrites:
        for family, form in rewrite.forms:
            asked[rewrite.kind, family] = form
    for (kind, family), taken in asked.items():
        names = [form.name for form in TARGETS[target].writer.forms[family]]
        yield from ((kind, family, name) for name in names if name != taken)
