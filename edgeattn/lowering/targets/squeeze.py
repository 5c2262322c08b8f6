"""The squeeze taken through the 1x1 convolution that made the map.

    mean(W y + b) = W mean(y) + b
    mean(k_g (W_g y + b_g)) = W_g mean(k_g y) + b_g mean(k_g)    with constant maps k_g, as of a DCT

over the whole map, or over its rows or columns alone,

so the statistics need not wait for the map: they are made from what the convolution reads, and the
gate can be part of the convolution's own kernel. The first layer after the squeeze takes W in,
W1 (W m + b) + b1 = (W1 W) m + (W1 b + b1), as does a band over the channels.

Real-number exact. Requires a 1x1 convolution without stride, padding or groups, whose output
nothing else reads and, where the gate shall be part of its kernel, of which nothing but means over
positions is asked. It is done where it moves less, counted in elements: reading y and the
weights that come in, against the passes over the map that it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, ints, is_unpadded, static, weight_and_bias
from edgeattn.lowering.indices import Index, count, leaves, unify
from edgeattn.lowering.raising import Raised, Raising
from edgeattn.lowering.targets.layout import CHANNELS, channels_of, homed, is_space
from edgeattn.lowering.terms import Const, Layer, Term, subterms

_STATISTICS: Final = frozenset(
    {"mean", "max", "variance", "centred", "normalised", "softmax", "window"}
)
# A map that is kept in cache is written once and read twice for a gate.
_PASSES: Final = 3


def through_producer(
    root: Term,
    raising: Raising,
    *,
    passes: int = _PASSES,
    alone: bool = True,
    weighted: bool = False,
    known: dict[Term, tuple[Term, Term]] | None = None,
) -> Term:
    """Return an equal term, in which means are taken before the convolution where that is less.

    Args:
        root: The term.
        raising: What is known of its leaves.
        passes: How many passes over the map are saved.
        alone: Leave a map of which other statistics are asked.
        weighted: Take means with constant weights for each position, too.
        known: What was exchanged for what, by mean, so that two roots have it in common.
    """
    known = {} if known is None else known
    for mean in [term for term in subterms(root) if term.op == "mean"]:
        if mean in known:
            root = exchanged(root, *known[mean], raising, {})
            continue
        leaf = averaged(mean, weighted=weighted)
        if leaf is None or not _is_squeezed(root, mean, leaf, alone=alone):
            continue
        layer = _layer(mean, raising)
        if layer is None:
            continue
        users = [term for term in subterms(root) if mean in term.args]
        exchange = _better(mean, layer, users, raising, passes)
        if exchange is not None:
            known[mean] = exchange
            root = exchanged(root, *exchange, raising, {})
    return root


def averaged(mean: Term, *, weighted: bool) -> Term | None:
    """Return the leaf that a mean is of, alone or with a constant for each position."""
    arg = mean.args[0]
    if weighted and arg.op == "mul" and len(arg.args) == 2 and arg.args[0].op == "const":
        arg = arg.args[1]
    return arg if arg.op == "leaf" else None


def _is_squeezed(root: Term, mean: Term, leaf: Term, *, alone: bool) -> bool:
    """Return whether a mean is over positions; alone, and all that is asked of its leaf are."""
    asked = [
        t
        for t in subterms(root)
        if t.op in _STATISTICS and (leaf in t.args or leaf is averaged(t, weighted=True))
    ]
    if mean.args[0] is not leaf:
        return (asked == [mean] or not alone) and _is_whole(mean)
    are_means = all(t.op == "mean" and is_space(t.attrs) for t in asked)
    return (are_means or not alone) and is_space(mean.attrs)


def _is_whole(mean: Term) -> bool:
    """Return whether a mean is over the whole map, and not over its rows or columns alone."""
    space = {index for index in mean.args[0].indices() if index.home in {2, 3}}
    return space == frozenset(leaves(mean.attrs))


def _layer(mean: Term, raising: Raising) -> Term | None:
    """Return the mean as the convolution of the mean of what it reads."""
    leaf = mean.args[0].args[-1] if mean.args[0].op == "mul" else mean.args[0]
    node = leaf.attrs.producer()
    users = [user for user in leaf.attrs.consumers() if user.graph is not None]
    if node is None or not is_layer(node) or any(user not in raising.rules for user in users):
        return None
    y, constants = raising.raised(node.inputs[0]), weight_and_bias(node)
    if y is None or constants is None:
        return None
    out, over = channels_of(leaf.indices()), y.axis(CHANNELS)
    if not over or not _is_map(y) or homed(leaf.indices(), 0) != homed(y.term.indices(), 0):
        return None
    weight, bias = constants[0].reshape(len(constants[0]), -1), constants[1]
    offset = np.zeros(len(weight)) if bias is None else bias
    if mean.args[0] is not leaf:
        whole = tuple(index for axis in y.axes[2:] for index in leaves(axis))
        return _weighted(mean, weight, offset, y.term, (out, over, whole), raising)
    gone, own = frozenset(leaves(mean.attrs)), raising.raised(leaf.attrs)
    space: list[Index] = []
    for mine, other in zip(own.axes[2:] if own else (), y.axes[2:], strict=True):
        if set(leaves(mine)) <= gone:
            space += leaves(other)
        elif not unify(other, mine):
            return None
    layer = Layer(weight=weight, bias=offset, rows=out, columns=over)
    return raising.terms.linear(raising.terms.mean(y.term, frozenset(space)), layer)


def _weighted(
    mean: Term,
    weight: np.ndarray,
    offset: np.ndarray,
    y: Term,
    indices: tuple[tuple[Index, ...], ...],
    raising: Raising,
) -> Term | None:
    """Return the layer of a mean with constant weights, f64[rows, parts * columns].

    What differs by a part of the channels is one more column: each row has zeros in the others.
    """
    constant, leaf = mean.args[0].args[0].attrs, mean.args[0].args[1]
    out, over, space = indices
    old = tuple(homed(leaf.indices(), 2) + homed(leaf.indices(), 3))
    if [index.size for index in old] != [index.size for index in space]:
        return None
    own = leaves(constant.axes)
    parts = tuple(index for index in out if index in own)
    if out[: len(parts)] != parts or not {*own} <= {*parts, *old}:
        return None
    count_of = count(parts)
    sizes = [count([index]) for index in (*parts, *old)]
    array = np.broadcast_to(constant.over((*parts, *old)), sizes)
    scaled = Const(array, (*parts, *space))
    pooled = raising.terms.mean(raising.terms.mul(raising.terms.const(scaled), y), frozenset(space))
    columns = np.zeros((count_of, len(weight) // count_of, count_of, weight.shape[1]))
    for place, rows in enumerate(weight.reshape(count_of, -1, weight.shape[1])):
        columns[place, :, place] = rows
    means = array.reshape(count_of, -1).mean(axis=1)
    bias = (offset.reshape(count_of, -1) * means[:, None]).reshape(-1)
    layer = Layer(
        weight=columns.reshape(len(weight), -1), bias=bias, rows=out, columns=(*parts, *over)
    )
    return raising.terms.linear(pooled, layer)


def _is_map(y: Raised) -> bool:
    return y.term.op == "leaf" and y.rank == 4 and bool(y.axis(2) or y.axis(3))


def is_layer(node: ir.Node) -> bool:
    """Return whether a node is a 1x1 convolution without stride, padding or groups."""
    if node.op_type != "Conv" or node.domain or integer(node, "group", 1) != 1:
        return False
    weight = static(given(node, 1))
    return (
        weight is not None
        and weight.ndim == 4
        and set(weight.shape[2:]) == {1}
        and is_unpadded(node)
        and set(ints(node, "strides")) <= {1}
    )


def _better(
    mean: Term, layer: Term, users: list[Term], raising: Raising, passes: int
) -> tuple[Term, Term] | None:
    """Return what to exchange for what, if that moves less."""
    pooled = layer.args[0].args[0]
    y = (pooled if pooled.op == "leaf" else pooled.args[1]).indices()
    user = users[0] if len(users) == 1 and users[0].op in {"linear", "band"} else None
    extra = layer.attrs.weight.size
    if user is not None and user.op == "linear":
        rows, width = user.attrs.weight.shape
        extra = rows * (layer.attrs.weight.shape[1] - width)
    # Of a line, only one pass is saved: the map is written, and read for the gate, in any case.
    passes = passes if _is_whole(mean) else 1
    if count(y) + extra >= passes * count(mean.args[0].indices()):
        return None
    if user is None:
        return (mean, layer) if pooled.op == "leaf" else None
    merged = _composed(user, layer) if user.op == "linear" else _banded(user, layer)
    if merged is None:
        return None
    return user, raising.terms.linear(layer.args[0], merged)


def _composed(outer: Term, inner: Term) -> Layer | None:
    """Return one layer for two."""
    between = leaves(outer.attrs.columns)
    if set(between) != set(leaves(inner.attrs.rows)):
        return None
    weight = outer.attrs.weight
    return Layer(
        weight=weight @ inner.attrs.over(between, leaves(inner.attrs.columns)),
        bias=weight @ inner.attrs.bias_over(between) + outer.attrs.bias,
        rows=outer.attrs.rows,
        columns=inner.attrs.columns,
    )


def _banded(band: Term, inner: Term) -> Layer | None:
    """Return one layer for a layer and a band over its outputs."""
    axis, taps, offset = band.attrs
    layer: Layer = inner.attrs
    if leaves(axis) != leaves(layer.rows):
        return None
    bias = slid(layer.bias[:, None], taps)[:, 0] + offset
    return replace(layer, weight=slid(layer.weight, taps), bias=bias)


def slid(rows: np.ndarray, taps: Sequence[float]) -> np.ndarray:
    """Slide taps over rows, with zeros outside: row i is the sum of taps[j] rows[i + j - half]."""
    half = len(taps) // 2
    padded = np.pad(rows, ((half, half), (0, 0)))
    total = np.zeros_like(rows)
    for place, tap in enumerate(taps):
        total += tap * padded[place : place + len(rows)]
    return total


def exchanged(root: Term, old: Term, new: Term, raising: Raising, known: dict[Term, Term]) -> Term:
    """Return a term in which one stands in the place of another."""
    if root is old:
        return new
    made = known.get(root)
    if made is None:
        args = [exchanged(arg, old, new, raising, known) for arg in root.args]
        made = raising.terms.rebuilt(root, args) or root
        known[root] = made
    return made
