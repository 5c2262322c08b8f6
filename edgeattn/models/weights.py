"""Loads weights from files into a model, and tells what was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgeattn.models import checkpoint
from edgeattn.models.fitting import COUNTS, File, Fit, Model, averaged, find, nearest

_LISTED: Final = 5


def load(
    module: nn.Module,
    path: Path,
    *,
    attention: Collection[str] = (),
    replaced: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Load a file of weights into a model; names and shapes must be the model's.

    Args:
        module: The model; changed only if everything fits.
        path: A safetensors file, or what torch or pickle saved.
        attention: The keys of the model that belong to attention. A file that has none of them is
            of the backbone, and is loaded into the backbone alone.
        replaced: The keys of the backbone whose modules attention has replaced.
        renamed: Beginnings of keys inside of wrappers that were taken off, and what they are now.

    Returns:
        What a user should know: which weights of the file were taken, how they were brought to the
        model's names and types, what was left, and whether the attention got none.

    Raises:
        InputError: The file cannot be read without running code, or does not fit.
    """
    file = File(checkpoint.read(path), renamed or {})
    model = Model(module, frozenset(attention), frozenset(replaced))
    fits = find(file, model)
    if not fits:
        raise nearest(file, model).error(path)
    best = min(fits, key=Fit.rank)
    module.load_state_dict(best.weights(), strict=False)
    return tuple(f"{path}: {note}" for note in _notes(best, file, fits, model))


def _notes(best: Fit, file: File, fits: Sequence[Fit], model: Model) -> Iterator[str]:
    """Yield what a user should know of what was taken."""
    others = [fit for fit in fits if fit is not best]
    off = best.prefix.removeprefix(f"{best.wrapper}." if best.wrapper else "")
    taken = []
    if best.wrapper:
        kind = "averaged weights" if best.is_averaged else "weights"
        taken.append(f"the {kind} under '{best.wrapper}' were taken")
    if others:
        taken.append(f"not those under {_some(fit.name for fit in others)}")
    if off:
        taken.append(f"'{off}' was taken off their names")
    if best.front:
        taken.append(f"'{best.front}' was put before their names")
    if taken:
        yield ", ".join(taken)
    if not best.is_averaged and (near := averaged(file, model, best)):
        yield f"averaged weights under {near.name} do not fit, {_first(near)}"
    if best.is_backbone:
        yield "it holds the backbone only: the attention is freshly initialised"
    left = _left(best, file, others)
    if left:
        yield f"left out, as no weights of this model: {_some(left)}"
    yield from _conversions(best)


def _first(fit: Fit) -> str:
    lines = str(fit.error(Path())).splitlines()
    return f"{lines[1].strip()} {lines[2].strip()}"


def _left(best: Fit, file: File, others: Sequence[Fit]) -> list[str]:
    """Return what was left, in groups: modules and counts beside the weights, other dicts."""
    elsewhere = {key for fit in others for key in fit.keys}
    groups: Counter[str] = Counter()
    beside = set(best.left)
    for key, home in file.home.items():
        if key in best.keys or key in elsewhere:
            continue
        inner = key.removeprefix(f"{home}." if home else "")
        last = inner.rpartition(".")[2]
        if key in beside and last in COUNTS:
            groups[f"*.{last}"] += 1
        elif home in best.homes:
            groups[f"{inner.partition('.')[0]}.*" if "." in inner else inner] += 1
        else:
            groups[f"{key.partition('.')[0]}.*"] += 1
    return [f"{name} ({count})" for name, count in groups.items()]


def _conversions(best: Fit) -> Iterator[str]:
    changed = {
        (value.dtype, best.expected[key].dtype): None
        for key, value in best.found.items()
        if value.dtype != best.expected[key].dtype and value.is_floating_point()
    }
    for got, want in changed:
        how = "widened" if got.itemsize < want.itemsize else "rounded"
        yield f"weights of {str(got)[6:]} were {how} to {str(want)[6:]}"
    values = {key: v for key, v in best.found.items() if v.is_floating_point()}
    broken = [
        key
        for key, v in values.items()
        if bool(torch.isnan(v.coalesce().values() if v.is_sparse else v).any())
    ]
    if broken:
        yield f"{len(broken)} of its weights hold NaN, the first is {broken[0]}"


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f" and {more} more" if more > 0 else "")
