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
from functools import partial
from typing import Final, TypeAlias

import onnx_ir as ir

from edgeattn.lowering.parts import renumber
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.regions import LOWERED, REGION, STOCK
from edgeattn.lowering.target import TARGETS
from edgeattn.lowering.targets.writer import Form
from edgeattn.records.lowering import Trial

Forms: TypeAlias = Mapping[str, Mapping[str, str]]
"""The form to take, by kind of region and family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two lowered models side by side.

    Attributes:
        is_better: Whether the second is better than the first, beyond doubt, and computes the same.
        figures: What was measured, by name.
        fault: Why nothing could be.
    """

    is_better: bool
    figures: dict[str, float]
    fault: str = ""


#: What is tried for a version that is not trusted with them: the forms of TensorRT-RTX, together.
AS_FOR_RTX: Final = "lowered as for TensorRT-RTX"
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
                fault=found.fault,
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


def compete(
    part: ir.Model,
    kind: str,
    *,
    target: str,
    rules: Iterable[str] | None,
    tensorrt: str | None,
    compare: Compare,
    on_trial: Callable[[int, int], bool],
) -> tuple[dict[str, str], tuple[Trial, ...]]:
    """Find the forms that are best for a kind of region, its own form in the model among them.

    Args:
        part: A part of a model with a region of the kind; it stays as it is.
        kind: The kind.
        target: The runtime.
        rules: The rules to apply; None for all.
        tensorrt: The version of TensorRT, which decides what is tried first.
        compare: Compares what stands with another; both are lowered.
        on_trial: Called before each trial with its number and how many there are; returns whether
            there is time for it.

    Returns:
        The forms by family, among them `region`, which says whether it is lowered at all; and what
        was tried. No forms if the part has no such region, or no time was left.
    """
    lowered = partial(lower, target=target, rules=rules, tensorrt=tensorrt, must_pay=False)

    def made(forms: Mapping[str, str]) -> tuple[ir.Model, dict[str, str]]:
        model = part.clone()
        done = lowered(model, forms={kind: forms})
        renumber(model.graph)
        taken = [dict(one.forms) for one in done.rewrites if one.kind == kind]
        return model, taken[0] if taken else {}

    standing, stands = made({REGION: STOCK})[0], {REGION: STOCK}
    candidate, asked = made({REGION: LOWERED})
    names = {family: [form.name for form in forms] for family, forms in _forms(target).items()}
    # What is taken unless told; what TensorRT-RTX's plans speak for, together; each form by itself.
    best = {REGION: LOWERED, **asked}
    pending = [
        (REGION, LOWERED, best),
        (REGION, AS_FOR_RTX, best | {f: names[f][0] for f in asked}),
    ]
    pending += [(family, form, {family: form}) for family in asked for form in names[family]]
    trials: list[Trial] = []
    seen = {_bytes(standing)}
    for place, (family, form, told) in enumerate(pending):
        tried = {**best, **told}
        candidate, taken = made(tried)
        content = _bytes(candidate)
        if content in seen:
            continue
        if not on_trial(place, len(pending)):
            break
        seen.add(content)
        found = compare(standing, candidate)
        trials.append(
            Trial(
                kind=kind,
                family=family,
                form=form,
                instead_of=stands.get(family, STOCK),
                figures=found.figures,
                fault=found.fault,
                is_taken=found.is_better,
            )
        )
        if found.is_better:
            best = {**tried, **taken}
            standing, stands = candidate, best
    is_measured = any(not trial.fault for trial in trials)
    return (stands if is_measured else {}), tuple(trials)


def _forms(target: str) -> Mapping[str, tuple[Form, ...]]:
    return TARGETS[target].writer.forms


def _bytes(model: ir.Model) -> bytes:
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data
