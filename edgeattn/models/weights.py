"""Loads weights from files into a model, and tells what was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgeattn.models import checkpoint
from edgeattn.models.fitting import COUNTS, WRAPPING, File, Fit, Model, averaged, find, nearest

_LISTED: Final = 5


def load(
    module: nn.Module,
    path: Path,
    *,
    attention: Collection[str] = (),
    replaced: Collection[str] = (),
) -> tuple[str, ...]:
    """Load a file of weights into a model; names and shapes must be the model's.

    Args:
        module: The model; changed only if everything fits.
        path: A safetensors file, or what torch or pickle saved.
        attention: The keys of the model that belong to attention. A file that has none of them is
            of the backbone, and is loaded into the backbone alone.
        replaced: The keys of the backbone whose modules attention has replaced.

    Returns:
        What a user should know: which weights of the file were taken, how they were brought to the
        model's names and types, what was left, and whether the attention got none.

    Raises:
        InputError: The file cannot be read without running code, or does not fit.
    """
    tensors = checkpoint.read(path)
    model = Model(module, frozenset(attention), frozenset(replaced))
    notes: list[str] = []
    file = File(tensors)
    fits = find(file, model)
    if not fits:
        bare = File(tensors, is_bare=True)
        fits = find(bare, model) if len(bare.tensors) == len(file.tensors) else []
        if not fits:
            raise nearest(file, model).error(path)
        file = bare
        notes.append(f"wrappers were taken out of its names: {', '.join(sorted(WRAPPING))}")
    best = min(fits, key=Fit.rank)
    near = None if best.is_averaged else averaged(file, model, best)
    # Parameters alone are often averaged; the statistics beside them are the model's.
    over = near if near is not None and near.lacks_only(model.buffers) else None
    found = {**best.found, **(over.found if over else {})}
    module.load_state_dict(
        {key: value.to_dense() if value.is_sparse else value for key, value in found.items()},
        strict=False,
    )
    notes += [*_taken(best, fits), *_averages(near, over)]
    if best.is_backbone:
        notes.append("it holds the backbone only: the attention is freshly initialised")
    if left := _left(best, file, [*fits, *([over] if over else [])]):
        notes.append(f"left out, as no weights of this model: {_some(left)}")
    return tuple(f"{path}: {note}" for note in (*notes, *_values(found, model)))


def _taken(best: Fit, fits: Sequence[Fit]) -> Iterator[str]:
    """Yield which set was taken, and how its names were brought to the model's."""
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


def _averages(near: Fit | None, over: Fit | None) -> Iterator[str]:
    """Yield what became of averaged weights that are no whole set."""
    if over is not None:
        lacking = f"what they lack ({len(over.missing)}, the first is {over.missing[0]})"
        yield f"averaged weights under {over.name} were taken over them, but for {lacking}"
    elif near is not None:
        yield f"averaged weights under {near.name} do not fit, {_first(near)}"


def _first(fit: Fit) -> str:
    lines = str(fit.error(Path())).splitlines()
    return f"{lines[1].strip()} {lines[2].strip()}"


def _left(best: Fit, file: File, fits: Sequence[Fit]) -> list[str]:
    """Return what was left, in groups: modules and counts beside the weights, other dicts."""
    taken = {key for fit in fits for key in fit.keys}
    groups: Counter[str] = Counter()
    beside = set(best.left)
    for key, home in file.home.items():
        if key in taken:
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


def _values(found: Mapping[str, torch.Tensor], model: Model) -> Iterator[str]:
    """Yield how values were converted, and whether some are NaN."""
    floats = {key: value for key, value in found.items() if value.is_floating_point()}
    types = {(value.dtype, model.tensors[key].dtype): None for key, value in floats.items()}
    for got, want in types:
        if got != want:
            how = "widened" if got.itemsize < want.itemsize else "rounded"
            yield f"weights of {str(got)[6:]} were {how} to {str(want)[6:]}"
    broken = [
        key
        for key, value in floats.items()
        if torch.isnan(value.coalesce().values() if value.is_sparse else value).any()
    ]
    if broken:
        yield f"{len(broken)} of its weights hold NaN, the first is {broken[0]}"


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f" and {more} more" if more > 0 else "")
