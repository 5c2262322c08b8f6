"""Finds, among the tensors of a file, the set that fits a model.

Training scripts put the state dict under names of their own, once or several times (raw and
averaged), and a prefix before its keys. So all tensors of a file are looked at by the keys that
lead to them, `ema.module.conv.weight`, and what counts is a prefix under which every key of the
model is found. Of several, averaged weights come first, as in timm: they are what is evaluated and
published; then those less deep in the file; then those that it lists first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgeattn.base.errors import InputError

#: What wraps a module of a model: DataParallel, torch.compile, FSDP, checkpointing.
WRAPPING: Final = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
_LISTED: Final = 5
_COMPARED: Final = 100  # sets of a file, at most
_FLOATS: Final = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_AVERAGED: Final = frozenset(
    {"ema", "ewma", "avg", "average", "averaged", "averages", "polyak", "shadow", "swa"}
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What stands beside a model's weights and is none: counts of thop's, of steps, of averaging.
COUNTS: Final = frozenset(
    {"total_ops", "total_params", "num_batches_tracked", "n_averaged", "num_updates", "updates",
     "decay", "initted", "step", "steps", "epoch"}
)  # fmt: skip
# Modules of training beside a model, and heads that a model without them was given no place for.
_BESIDE: Final = re.compile(
    r".*(?:criterion|criteria|loss|metric|optimi[sz]er|scheduler|accuracy)\w*|(?:aux|teacher)\w*"
    r"|(?:\w*_)?(?:heads?|classifier|fc|logits|projector|predictor)\d*",
    re.IGNORECASE,
)


class File:
    """The tensors of a file by their keys, and the dict that each lies in.

    Args:
        tensors: The tensors, by the keys that lead to them.
        is_bare: Whether to take what only wraps modules out of the keys, at any depth.
    """

    def __init__(
        self, tensors: Mapping[tuple[str, ...], torch.Tensor], *, is_bare: bool = False
    ) -> None:
        name = _bare if is_bare else ".".join
        self.tensors = {name(place): tensor for place, tensor in tensors.items()}
        self.home = {name(place): name(place[:-1]) for place in tensors}
        self.order = {key: number for number, key in enumerate(self.tensors)}
        # OpenMMLab swaps the two before it saves, and counts steps in the averaged model.
        self.is_swapped = "ema_state_dict.steps" in self.tensors


def _bare(place: Sequence[str]) -> str:
    return ".".join(part for part in ".".join(place).split(".") if part not in WRAPPING)


class Model:
    """What a model expects."""

    def __init__(
        self, module: nn.Module, attention: frozenset[str], replaced: frozenset[str]
    ) -> None:
        state = module.state_dict()
        self.tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
        self.attention, self.replaced = attention, replaced
        self.buffers = {name for name, _ in module.named_buffers()}
        # A count of training steps, which older files do not have, and inference does not use.
        self.optional = {key for key in self.tensors if key.endswith("num_batches_tracked")}
        # What the model computes by itself.
        self.computed = self.buffers - self.tensors.keys()
        self.modules = {key.partition(".")[0] for key in self.tensors}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A prefix of a file's keys, and how what is under it fits the model.

    Attributes:
        prefix: What the file's keys begin with, and the model's do not.
        front: What the model's keys begin with, and the file's do not.
        homes: The dicts that the tensors lie in.
        found: The tensors that were found, by the model's keys.
        keys: The keys of the file that they have.
        is_averaged: Whether the names say that the weights were averaged over training.
        is_backbone: Whether there are none for the attention.
        left: Keys of the same dicts that cannot be weights of the model.
        first: The place of the first of them in the file.
    """

    prefix: str
    front: str
    homes: frozenset[str]
    found: Mapping[str, torch.Tensor]
    expected: Mapping[str, torch.Tensor]
    keys: frozenset[str]
    is_averaged: bool
    is_backbone: bool
    left: tuple[str, ...]
    missing: Sequence[str]
    unexpected: Sequence[str]
    first: int

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """The shapes that differ: the file's, and the model's."""
        pairs = {
            key: (_shape(value), _shape(self.expected[key])) for key, value in self.found.items()
        }
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def types(self) -> dict[str, tuple[str, str]]:
        """The types that cannot be brought to the model's: the file's, and the model's."""
        shapes = self.shapes
        return {
            key: (said, _type(self.expected[key]))
            for key, value in self.found.items()
            if key not in shapes and (said := _wrong_type(value, self.expected[key]))
        }

    @property
    def is_whole(self) -> bool:
        """Whether nothing differs."""
        return self.lacks_only(frozenset())

    def lacks_only(self, keys: Collection[str]) -> bool:
        """Return whether nothing differs but that some of these keys are missing."""
        is_all = all(key in keys for key in self.missing)
        return is_all and not (self.unexpected or self.shapes or self.types)

    def rank(self) -> tuple[bool, bool, int, int]:
        """Return what decides between several that fit; the least is taken."""
        depth = len(self.wrapper.split(".")) if self.wrapper else 0
        return self.is_backbone, not self.is_averaged, depth, self.first

    @property
    def wrapper(self) -> str:
        """The keys that lead to the dict, or around the dicts, that the weights lie in."""
        around = self.prefix.rstrip(".")
        return min((*self.homes, around), key=len) if len(self.homes) == 1 else around

    @property
    def name(self) -> str:
        """What it is called for a user."""
        return f"'{self.prefix.rstrip('.')}'" if self.prefix else "no other name"

    def error(self, path: Path) -> InputError:
        """Return the first differences, as an error."""
        different = [
            f"{key} is {got}, the model's is {want}" for key, (got, want) in self.shapes.items()
        ]
        others = [
            f"{key} is {got}, the model's is {want}" for key, (got, want) in self.types.items()
        ]
        nearest = f"; nearest are its weights under {self.name}" if self.prefix else ""
        lines = [f"{path} does not fit the model{nearest}:"]
        lines += _list("missing in the file", self.missing)
        lines += _list("unknown to the model", self.unexpected)
        lines += _list("of another shape", different)
        lines += _list("of another type", others)
        mend = ""
        if not (self.missing or self.unexpected):
            classes = _classes(self.shapes)
            if classes is not None and not self.types:
                mend = f"Only the classifier differs: try --num-classes {classes}."
            elif self.types and not self.shapes:
                mend = "Give the weights as floating numbers: dequantised, in memory, dense."
        return InputError("\n".join(lines), mend=mend)


def _fronts(model: Model) -> Iterator[str]:
    """Yield what every key of the model begins with: nothing, a module, a module in it, ..."""
    front = ""
    yield front
    keys = list(model.tensors)
    while keys:
        heads = {key.removeprefix(front).partition(".")[::2] for key in keys}
        names = {name for name, _ in heads}
        if len(names) > 1 or not all(rest for _, rest in heads):
            return
        front += f"{names.pop()}."
        yield front


def find(file: File, model: Model) -> list[Fit]:
    """Return every set of a file that fits a model whole."""
    each = (_fits(file, model, front) for front in _fronts(model))
    return next(filter(None, each), [])


def _fits(file: File, model: Model, front: str) -> list[Fit]:
    """Return every set of a file that fits a model, those that are least deep first."""
    needed = len(model.tensors.keys() - model.attention - model.optional)
    counted = _votes(file, model, front)
    found = [
        _fit(file, model, prefix, front)
        for prefix, n in counted.most_common(_COMPARED)
        if n >= max(needed, 1)
    ]
    return [fit for fit in found if fit.is_whole]


def nearest(file: File, model: Model) -> Fit:
    """Return the set that has the most of a model's weights, where none fits."""
    found = []
    for front in _fronts(model):
        most = _votes(file, model, front).most_common(_LISTED)
        found += [_fit(file, model, prefix, front) for prefix, _ in most]
    if not found:  # no key is the model's
        home = Counter(file.home.values()).most_common(1)[0][0]
        return _fit(file, model, f"{home}." if home else "", "", homes=frozenset({home}))
    return min(found, key=lambda fit: (-len(fit.found), len(fit.shapes), *fit.rank()))


def averaged(file: File, model: Model, best: Fit) -> Fit | None:
    """Return averaged weights that are most of a model's, and are not those that fit best."""
    half = len(model.tensors) // 2
    votes = _votes(file, model, best.front)
    near = [prefix for prefix, n in votes.items() if n > half and _is_averaged(prefix, file)]
    return _fit(file, model, near[0], best.front) if near else None


def _votes(file: File, model: Model, front: str) -> Counter[str]:
    """Count how many keys of the model are found under each prefix."""
    names = {key.removeprefix(front) for key in model.tensors}
    depths = {name.count(".") for name in names}
    votes: Counter[str] = Counter()
    for key in file.tensors:
        parts = key.split(".")
        for depth in depths:
            if len(parts) > depth and ".".join(parts[-depth - 1 :]) in names:
                votes["".join(f"{part}." for part in parts[: -depth - 1])] += 1
    return votes


def _fit(
    file: File, model: Model, prefix: str, front: str, homes: frozenset[str] = frozenset()
) -> Fit:
    """Compare what is under a prefix with the model."""
    keys = {key: prefix + key.removeprefix(front) for key in model.tensors}
    keys = {key: name for key, name in keys.items() if name in file.tensors}
    found = {key: file.tensors[name] for key, name in keys.items()}
    for key in model.optional & found.keys():  # a count is no reason to refuse a file
        if (found[key].dtype, found[key].shape) != (torch.int64, ()):
            del found[key]
    is_backbone = bool(model.attention) and model.attention.isdisjoint(found)
    expected = {
        k: v for k, v in model.tensors.items() if not is_backbone or k not in model.attention
    }
    homes = homes or frozenset(file.home[name] for name in keys.values())
    taken = set(keys.values())
    rest = [
        name
        for name, home in file.home.items()
        # What lies beside the prefix is left, if the model's names are whole.
        if home in homes and (front or name.startswith(prefix)) and name not in taken
    ]
    unexpected: list[str] = []
    left: list[str] = []
    for name in rest:
        key = front + name.removeprefix(prefix)
        if is_backbone and key in model.replaced:
            taken.add(name)
            continue
        is_left = _cannot_be(name.removeprefix(prefix), key, file.tensors[name], model)
        (left if is_left else unexpected).append(name if is_left else key)
    return Fit(
        prefix=prefix,
        front=front,
        homes=homes,
        found=found,
        expected=expected,
        keys=frozenset(taken),
        is_averaged=_is_averaged(prefix, file),
        is_backbone=is_backbone,
        left=tuple(left),
        missing=[key for key in expected if key not in keys and key not in model.optional],
        unexpected=unexpected,
        first=min((file.order[name] for name in taken), default=0),
    )


def _cannot_be(name: str, key: str, value: torch.Tensor, model: Model) -> bool:
    """Return whether a tensor beside a model's weights cannot be one of them."""
    last, head = name.rpartition(".")[2], name.partition(".")[0]
    if key in model.computed or (last in COUNTS and value.numel() <= 1):
        return True
    is_training = _says_averaged(head) or _BESIDE.fullmatch(head) is not None
    return is_training and key.partition(".")[0] not in model.modules


def _is_averaged(prefix: str, file: File) -> bool:
    if file.is_swapped and prefix.startswith(("state_dict.", "ema_state_dict.")):
        return prefix.startswith("state_dict.")
    return _says_averaged(prefix)


def _says_averaged(name: str) -> bool:
    return not _AVERAGED.isdisjoint(word.lower() for word in _WORD.findall(name))


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return () if tensor.is_nested else tuple(tensor.shape)


def _type(tensor: torch.Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    for what, is_so in {
        "nested": tensor.is_nested,
        "quantised": tensor.is_quantized,
        "without values (meta)": tensor.is_meta,
        str(tensor.layout).removeprefix("torch."): tensor.layout != torch.strided,
    }.items():
        if is_so:
            return f"{kind}, {what}"
    return kind


def _wrong_type(got: torch.Tensor, want: torch.Tensor) -> str:
    """Return the type of a tensor that cannot be brought to another's, or "" if it can."""
    is_plain = got.layout in {torch.strided, torch.sparse_coo} and not got.is_nested
    if not is_plain or got.is_quantized or got.is_meta:
        return _type(got)
    if got.dtype == want.dtype or {got.dtype, want.dtype} <= _FLOATS:
        return ""
    are_whole = got.layout == torch.strided and _is_whole(got) and _is_whole(want)
    keeps_all = are_whole and torch.equal(got.to(want.dtype).to(got.dtype), got)
    return "" if keeps_all else _type(got)


def _is_whole(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex()


def _list(what: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"    and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return [f"  {what} ({len(items)}):", *(f"    {item}" for item in items[:_LISTED]), *more]


def _classes(shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> int | None:
    """Return the file's number of classes, if only the outputs of one module differ."""
    modules = {key.rpartition(".")[0] for key in shapes}
    counts = {got[0] for got, _ in shapes.values() if got}
    same = all(got and want and got[1:] == want[1:] for got, want in shapes.values())
    return counts.pop() if len(modules) == len(counts) == 1 and same else None
