"""Infers the properties of a value from the operation that made it: layout, stride, squeezed.

Sizes alone do not tell a squeezed 1x1 map (a gate's) from the last stage's map of a small input,
so that sites would move with the input. Hence the reduction itself is noticed, and the stride is
followed through the operations' own arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

CONVOLUTIONS: Final = frozenset({"conv2d", "conv_transpose2d", "linear"})
NORMS: Final = frozenset({"batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"})
ADDITIONS: Final = frozenset({"add", "add_", "__add__", "__iadd__", "__radd__"})
CONCATENATIONS: Final = frozenset({"cat", "concat", "concatenate"})
ACTIVATIONS: Final = frozenset(
    {"relu", "relu6", "hardtanh", "hardswish", "silu", "gelu", "leaky_relu", "elu", "celu", "selu"}
    | {"mish", "prelu", "hardsigmoid", "sigmoid", "tanh", "softplus", "clamp", "rrelu"}
)
_REDUCTIONS: Final = frozenset({"mean", "sum", "amax", "max", "amin", "std", "var", "logsumexp"})
_POOLS: Final = frozenset({"max_pool2d", "avg_pool2d", "lp_pool2d"})
# A window this large, on a map of exactly its size, is a global pool: strides use 2 or 3.
_GLOBAL_WINDOW: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor that depends on the model's input.

    Attributes:
        shape: Its shape.
        stride: Positions of the input per position of this map, along one side.
        squeezed: It has lost its positions to a global reduction.
        channels_last: Its channels are the last dimension: N,H,W,C.
        grid: (H, W) of it, or of the last feature map that it was made from.
        scattered: Its dimensions are not those of the grid: tokens by head, windows.
    """

    shape: tuple[int, ...]
    stride: float
    squeezed: bool
    channels_last: bool
    grid: tuple[int, ...]
    scattered: bool

    @classmethod
    def of_input(cls, shape: tuple[int, ...]) -> Self:
        """Return the value of an input of `shape`."""
        return cls(
            shape=shape,
            stride=1.0,
            squeezed=False,
            channels_last=False,
            grid=shape[2:],
            scattered=False,
        )

    @property
    def is_map(self) -> bool:
        """Whether it is a feature map, N,C,H,W."""
        return self.is_grid and not self.channels_last

    @property
    def is_grid(self) -> bool:
        """Whether it is a feature map in either layout."""
        return len(self.shape) == 4 and not self.squeezed and not self.scattered

    @property
    def side_lengths(self) -> tuple[int, ...]:
        """(H, W) of a feature map."""
        return self.shape[1:3] if self.channels_last else self.shape[2:4]


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a torch function, without "torch." but with the "_" of an in-place one."""
    name = getattr(function, "__name__", "")
    return str(name) if name else type(function).__name__


def is_activation(name: str) -> bool:
    """Return whether the function `name`, in place or not, is an activation."""
    return name.rstrip("_") in ACTIVATIONS


def infer(
    name: str,
    args: Sequence[Any],
    options: Mapping[str, Any],
    inputs: Sequence[Value],
    shape: tuple[int, ...],
) -> Value:
    """Infer what the result of an operation is.

    Args:
        name: The operation.
        args: Its positional arguments.
        options: Its keyword arguments.
        inputs: The values among its arguments, the earliest first; at least one.
        shape: The result's shape.
    """
    applied = _Applied(name=name, args=args, options=options)
    # The earliest of those alike: in `x + attention(x)` the shortcut's stride is the surer one.
    source = max(inputs, key=lambda value: (value.is_grid, value.shape == shape))
    if name == "conv2d":
        scattered = False  # what it reads is a map, wherever that came from
    elif len(source.shape) != 4:
        scattered = source.grid not in {shape[2:4], shape[1:3]}
    else:
        scattered = source.scattered
    result = Value(
        shape=shape,
        stride=source.stride,
        squeezed=_squeezed(applied, inputs, shape),
        channels_last=_channels_last(applied, source, shape),
        grid=source.grid,
        scattered=scattered,
    )
    return replace(
        result,
        stride=source.stride * _step(applied, source, result),
        grid=result.side_lengths if result.is_grid else source.grid,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """An operation with its arguments."""

    name: str
    args: Sequence[Any]
    options: Mapping[str, Any]

    def side(self, at: int, name: str) -> Any:
        """Return the first of a (height, width) argument, or the one number given for both."""
        found = self.args[at] if len(self.args) > at else None
        found = self.options.get(name, found)
        return found[0] if isinstance(found, (tuple, list)) and found else found


def _squeezed(applied: _Applied, inputs: Sequence[Value], shape: tuple[int, ...]) -> bool:
    if all(value.squeezed for value in inputs):
        return True
    source = inputs[0]
    if applied.name.startswith("adaptive_"):
        return True
    if applied.name in _POOLS:
        window = applied.side(1, "kernel_size")
        return bool(window == source.shape[2] >= _GLOBAL_WINDOW) if source.is_map else False
    if applied.name in _REDUCTIONS and source.is_map:
        # Over positions, the channels stay; the mean over channels (a spatial gate) is a map.
        return len(shape) == 2 or shape[1:] == (source.shape[1], 1, 1)
    return False


def _channels_last(applied: _Applied, source: Value, shape: tuple[int, ...]) -> bool:
    if len(shape) != 4:
        return False
    if len(source.shape) == 3:  # N,L,C put back onto its grid
        return source.shape[2] == shape[3] and source.shape[2] != shape[1]
    if applied.name == "permute":
        dims = applied.options.get("dims", applied.args[1:])
        order = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        order = tuple(dim % 4 for dim in order)
        if order == (0, 2, 3, 1):
            return True
        return False if order == (0, 3, 1, 2) else source.channels_last
    # These act on the last dimension, so what they read and write has its channels there.
    return applied.name in {"linear", "layer_norm", "rms_norm"} or source.channels_last


def _step(applied: _Applied, source: Value, result: Value) -> float:
    """Return the factor by which an operation increases the stride."""
    if applied.name == "conv2d":
        return float(applied.side(3, "stride") or 1)
    if applied.name in _POOLS:
        return float(applied.side(2, "stride") or applied.side(1, "kernel_size") or 1)
    if not source.is_grid or not result.is_grid or source.side_lengths[0] == result.side_lengths[0]:
        return 1.0
    ratio = source.side_lengths[0] / max(result.side_lengths[0], 1)
    return float(round(ratio)) if ratio > 1 else 1 / round(1 / ratio)
