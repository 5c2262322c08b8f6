"""Several means of one map as one product with a constant, which reads the map once.

    means over rows, over columns, with constant weights for each position
    = slices of M x,  M f[L, H W] on rows of positions, x[H W, C]

TensorRT takes a kernel, and often a transposed copy of the map, for each mean; the product is one
kernel on the channels-last map that a convolution wrote, and its parts lie side by side, as a layer
on all of them wants them.

Real-number exact: the sums run in another order. Requires a map of fixed size. M grows with the
square of the map's area: beyond a limit the means stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.raising import Raising
from edgeattn.lowering.targets.layout import LAST, axes_of, channels_of, homed, relayout
from edgeattn.lowering.targets.line_layers import is_of_line
from edgeattn.lowering.targets.squeeze import averaged, exchanged
from edgeattn.lowering.targets.writer import Writer, Written
from edgeattn.lowering.terms import Term, subterms

# Of constants, in elements: a 56x56 map with its rows, its columns and a few more is below it.
_LARGEST: Final = 1 << 19


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """One product.

    Attributes:
        matrix: f64[L, H W].
        space: The rows and columns of the map.
    """

    matrix: np.ndarray
    space: tuple[Index, ...]


def with_products(root: Term, raising: Raising) -> Term:
    """Return an equal term in which several means of one map are parts of one product."""
    found: dict[Term, list[tuple[Term, np.ndarray, tuple[Index, ...]]]] = {}
    for mean in (term for term in subterms(root) if term.op == "mean"):
        leaf = averaged(mean, weighted=True)
        if leaf is None or not _is_fixed_map(leaf):
            continue
        part = _rows(mean, leaf)
        if part is not None:
            found.setdefault(leaf, []).append((mean, *part))
    # The maximum of a row or a column is taken in one kernel with its mean.
    maxima = {term.args[0] for term in subterms(root) if term.op == "max" and is_of_line(term)}
    for leaf, parts in found.items():
        if leaf in maxima:
            continue
        matrix = np.concatenate([rows for _, rows, _ in parts])
        if len(parts) < 2 or matrix.size > _LARGEST:
            continue
        product, start = Product(matrix, _space(leaf)), 0
        for mean, rows, kept in parts:
            attrs = (product, start, start + len(rows), kept)
            term = raising.terms.make("part", (leaf,), attrs, mean.own)
            root = exchanged(root, mean, term, raising, {})
            start += len(rows)
    return root


def _is_fixed_map(leaf: Term) -> bool:
    space = _space(leaf)
    return len(space) == 2 and all(isinstance(index.size, int) for index in space)


def _space(leaf: Term) -> tuple[Index, ...]:
    return homed(leaf.indices(), 2) + homed(leaf.indices(), 3)


def _rows(mean: Term, leaf: Term) -> tuple[np.ndarray, tuple[Index, ...]] | None:
    """Return what a mean is of all positions, f64[L, H W], and the indices that L stands for."""
    space, over = _space(leaf), set(leaves(mean.attrs))
    height, width = (int(index.size) for index in space)
    if mean.args[0] is leaf:
        kept = tuple(index for index in space if index not in over)
        if len(kept) != 1 or not over <= set(space):
            return None
        rows = np.kron(*(np.eye(side) if index in kept else np.full((1, side), 1 / side)
                         for index, side in zip(space, (height, width), strict=True)))  # fmt: skip
        return rows, kept
    constant = mean.args[0].args[0].attrs
    kept = tuple(index for index in leaves(constant.axes) if index not in space)
    if over != set(space) or set(kept) & leaf.indices() or len(kept) != 1:
        return None
    spread = np.broadcast_to(constant.over((*kept, *space)), (int(kept[0].size), height, width))
    return spread.reshape(len(spread), -1) / (height * width), kept


def product_of(writer: Writer, part: Term, known: dict[Product, Written]) -> Written:
    """Write the product that a part is of, [N, L, C]."""
    leaf, product = part.args[0], part.attrs[0]
    if product not in known:
        last, channels = writer.on(leaf, LAST), channels_of(leaf.indices())
        rows = writer.shaped(last.value, (last.axes[0], product.space, channels))
        axes: Axes = (last.axes[0], (Index(len(product.matrix), None),), channels)
        inputs = [writer.real(product.matrix), rows.value]
        known[product] = writer.node("MatMul", inputs, axes, dtype=writer.dtype)
    return known[product]


def sliced(writer: Writer, whole: Written, part: Term) -> Written:
    """Return a part of a product, or of what was made of each of its rows, channels last."""
    _, start, stop, kept = part.attrs
    bounds = [writer.build.integers([bound]) for bound in (start, stop, 1)]
    one = writer.node("Slice", [whole.value, *bounds], (whole.axes[0], kept, whole.axes[2]))
    axes = axes_of(one.indices, LAST)
    return Written(relayout(writer.build, one.value, one.axes, axes), axes)
