"""What each module of a torch model costs by its shapes: MACs, element operations, bytes.

Counted as `graph.cost_rules` counts ONNX nodes, of the operations that torch runs one after another
in eager mode: each reads its inputs from memory, and writes its outputs there. Views cost nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from edgeattn.records.kinds import Kind

_PRECISIONS: Final = {
    torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int8: "int8",
}  # fmt: skip
# The first whose words an operation's name holds; what holds none computes element by element.
_KINDS: Final[Mapping[Kind, str]] = {
    "other": "upsample|grid_sampler|affine_grid|roi_align|nms",
    "matmul": "scaled_dot_product|conv|addmm|baddbmm|mm|bmm|mv|addmv|dot|linear|lstm|gru|rnn",
    "pooling": "max_pool|(?<!adaptive_)avg_pool",
    "reduction": (
        "mean|sum|amax|amin|aminmax|max$|min$|argmax|argmin|prod|var|std|softmax|logsumexp"
        "|vector_norm|topk|cumsum|cumprod|sort|median|nonzero|adaptive_avg_pool"
    ),
    "normalisation": "batch_norm|layer_norm|group_norm|instance_norm|rms_norm",
    "pointwise": "to_copy$",
    "shuffle": (
        "cat|stack|clone|copy|index|gather|scatter|pad|constant_pad|repeat|roll|flip|shuffle|im2col"
        "|col2im|masked_fill|fill|zeros|ones|arange|full|embedding|narrow|slice|unfold|constant"
    ),
}
_PATTERNS: Final = {kind: re.compile(f"(?:^|_)(?:{words})") for kind, words in _KINDS.items()}
# What moves nothing, beside what torch itself says is a view.
_FREE: Final = ("empty", "new_empty", "_unsafe_view", "_reshape_alias", "_local_scalar")
# Per element of the input, of what is not one for each.
_PER_INPUT: Final = {"softmax": 5, "norm": 7, "var": 4, "std": 4}
_BATCH_NORM: Final = 2


@dataclass(slots=True)
class Cost:
    """What one module costs, without what lies inside of it.

    Attributes:
        macs: Multiply-accumulates.
        element_ops: What FLOP counters skip.
        traffic_bytes: Bytes that its operations read and write.
        by_kind: The bytes, by the kind of operation.
        by_precision: The bytes that are written, by what they are computed in.
    """

    macs: int = 0
    element_ops: int = 0
    traffic_bytes: int = 0
    by_kind: Counter[Kind] = field(default_factory=Counter)
    by_precision: Counter[str] = field(default_factory=Counter)

    @property
    def kind(self) -> Kind:
        """The kind that most of its bytes go to; of a module that only calls others, `other`."""
        return self.by_kind.most_common(1)[0][0] if self.by_kind else "other"

    @property
    def precision(self) -> str:
        """What it computes in; "" if it computes nothing."""
        return self.by_precision.most_common(1)[0][0] if self.by_precision else ""


class CountCosts(TorchDispatchMode):  # type: ignore[no-untyped-call]  # its base's hook
    """Counts what every operation costs, while it is entered.

    Args:
        where: Returns the path of the module that runs.

    Attributes:
        costs: By path.
    """

    def __init__(self, where: Callable[[], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._where = where
        self.costs: dict[str, Cost] = defaultdict(Cost)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        result = func(*args, **options)
        if not func.is_view and torch.Tag.inplace_view not in func.tags:
            self._count(func, args, options, result)
        return result

    def _count(self, func: Any, args: tuple[Any, ...], options: dict[str, Any], out: Any) -> None:
        name = str(func.overloadpacket).rpartition(".")[2]
        made, read = list(_tensors(out)), list(_tensors((args, options)))
        if name.startswith(_FREE) or not made:
            return
        cost, kind = self.costs[self._where()], kind_of(name)
        size = sum(map(_bytes, read)) + sum(map(_bytes, made))
        cost.traffic_bytes += size
        cost.by_kind[kind] += size
        for tensor in made:
            if (precision := _PRECISIONS.get(tensor.dtype)) is not None:
                cost.by_precision[precision] += _bytes(tensor)
        if "scaled_dot_product" in name:
            query, key, value = (tensor.shape for tensor in args[:3])
            flops: int = sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]
            cost.macs += flops // 2
            cost.element_ops += _PER_INPUT["softmax"] * math.prod(query[:-1]) * key[-2]
        elif func.overloadpacket in flop_registry:
            cost.macs += flop_registry[func.overloadpacket](*args, **options, out_val=out) // 2
        else:
            cost.element_ops += _element_ops(name, kind, args, read, made)


def kind_of(name: str) -> Kind:
    """Return the kind of an operation of torch's, by its name (`native_batch_norm`)."""
    return next((kind for kind, words in _PATTERNS.items() if words.search(name)), "pointwise")


def _element_ops(
    name: str,
    kind: Kind,
    args: tuple[Any, ...],
    read: Sequence[torch.Tensor],
    made: Sequence[torch.Tensor],
) -> int:
    if not read or kind in {"pointwise", "shuffle"}:
        return made[0].numel()
    if "batch_norm" in name:
        return _BATCH_NORM * read[0].numel()
    if kind == "pooling":
        window = args[1] if isinstance(args[1], list | tuple) else [args[1]]
        return math.prod(window) * made[0].numel()
    if kind == "other":  # neighbours that are read, of two dimensions that are resized
        return made[0].numel() * (1 if "nearest" in name else 4)
    each = next((count for part, count in _PER_INPUT.items() if part in name), 1)
    return each * read[0].numel()


def _tensors(nested: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in _pytree.tree_leaves(nested) if isinstance(leaf, torch.Tensor))


def _bytes(tensor: torch.Tensor) -> int:
    """Return what lies in memory: an expanded tensor is no larger than what it was made of."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
