"""Layers on the means over rows or columns, with fewer kernels or passes than mean by mean.

    W mean_w(x) + b = a convolution of x whose kernel spans the row, W / width at each of its places
    W mean_w(x) + b, W mean_h(x) + b = mean_w(z), mean_h(z),  z = W x + b

The first is one kernel for two, where W is repeated for few weights. By the second, the map is read
once and its few channels are reduced twice, where two means have one layer in common, as in
coordinate attention. A statistic of rows or columns is taken from a view with the channels last,
each from one of its own: a transpose that two kernels read is written out.

Real-number exact. Requires a mean over the rows or over the columns, not both, of a map.
"""

from __future__ import annotations

import itertools

import numpy as np

from edgeattn.lowering.indices import Axes, Index, count, leaves, unify
from edgeattn.lowering.measures import BYTES_PER_KERNEL
from edgeattn.lowering.raising import Raising
from edgeattn.lowering.targets.layout import CHANNELS, FIRST, SPACE, channels_of, homed
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.squeeze import exchanged
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import Term, subterms

_ROWS = 2


def is_of_line(term: Term) -> bool:
    """Return whether a term is a statistic over all rows, or all columns, of a map."""
    if term.op not in {"mean", "max"}:
        return False
    over = leaves(term.attrs)
    homes = {index.home for index in over}
    if len(homes) != 1 or not homes <= SPACE:
        return False
    inside = {index.home for index in term.args[0].indices()}
    whole = {index for index in term.args[0].indices() if index.home in homes}
    return whole == set(over) and inside == {*inside, 1, 2, 3}


def is_of_rows(term: Term) -> bool:
    """Return whether a statistic of a line is over the rows."""
    return all(index.home == _ROWS for index in leaves(term.attrs))


def is_line_layer(term: Term) -> bool:
    """Return whether a term is a layer over all channels of a mean over rows or columns."""
    if term.op != "linear" or term.args[0].op != "mean" or not is_of_line(term.args[0]):
        return False
    columns = leaves(term.attrs.columns)
    return columns == channels_of(term.args[0].indices()) and channels_of(term.indices()) == leaves(
        term.attrs.rows
    )


def spans(term: Term, width: float, times: int = 1) -> bool:
    """Return whether a kernel that spans the line costs less than a launch more than the mean.

    Args:
        term: A layer on a line.
        width: Bytes of an element.
        times: How many layers there are on lines of the map, each of which reads it whole.
    """
    mean = term.args[0]
    if not all(isinstance(index.size, int) for index in leaves(mean.attrs)):
        return False
    repeated = term.attrs.weight.size * (count(mean.attrs) - 1)
    again = (times - 1) * count(mean.args[0].indices())
    return bool((times * repeated + again) * width <= BYTES_PER_KERNEL)


def write_spanning(writer: PlainWriter, term: Term) -> Written:
    """Write a layer on a line as one convolution."""
    mean, layer = term.args[0], term.attrs
    x = writer.on(mean.args[0], FIRST)
    rows, columns, gone = leaves(layer.rows), x.axes[CHANNELS], leaves(mean.attrs)
    kernel = [count(axis) if set(axis) & {*gone} else 1 for axis in x.axes]
    weight = layer.over(rows, columns)[:, :, None, None] / np.prod(kernel)
    weight = np.broadcast_to(weight, (*weight.shape[:2], *kernel[2:]))
    axes: Axes = (x.axes[0], rows, *(() if set(a) & {*gone} else a for a in x.axes[2:]))
    inputs = [x.value, writer.real(weight), writer.real(layer.bias_over(rows))]
    return writer.node("Conv", inputs, axes, kernel_shape=kernel[2:])


def with_shared_layers(root: Term, raising: Raising, width: float) -> Term:
    """Return an equal term in which two means that share a layer are made behind it."""
    found = [term for term in subterms(root) if is_line_layer(term)]
    for one, other in itertools.combinations(found, 2):
        first, second = one.attrs, other.attrs
        if (
            other.args[0].args[0] is one.args[0].args[0]
            and np.array_equal(first.weight, second.weight)
            and np.array_equal(first.bias, second.bias)
            and count(first.rows) < count(first.columns)
            and not spans(one, width, times=2)
            and unify(first.rows, second.rows)
        ):
            narrow = raising.terms.linear(one.args[0].args[0], first)
            for line in (one, other):
                made = raising.terms.mean(narrow, line.args[0].attrs)
                root = exchanged(root, line, made, raising, {})
    return root


def is_made_of_lines(term: Term) -> bool:
    """Return whether a term is computed value by value from statistics of rows or of columns."""
    if term.op not in {"add", "mul", "fn", "pow"}:
        return False
    args = [arg for arg in term.args if arg.op != "const"]
    return all(arg.op == "line" or is_of_line(arg) or is_made_of_lines(arg) for arg in args)


def with_upright_line(term: Term, raising: Raising) -> Term | None:
    """Return a layer on a line of columns as one on a line of rows, if it is one on statistics.

    What is reduced over rows is [N, W, 1, C] in the view that it is taken from: its layer is
    computed there, without a copy, and only what it gives is turned.
    """
    made, arg = term, term.args[0]
    lines = [part for part in subterms(arg) if is_of_line(part)]
    if not lines or not (is_made_of_lines(arg) or arg in lines) or not all(map(is_of_rows, lines)):
        return None
    rest = homed(arg.indices(), _ROWS + 1)
    upright = [Index(index.size, _ROWS) for index in rest]
    for line in lines:
        if homed(line.indices(), _ROWS + 1) != rest:
            return None
        own = [index for index in line.indices() if index not in rest]
        new = raising.terms.make("line", (line,), tuple(upright), (*own, *upright))
        made = exchanged(made, line, new, raising, {})
    return made
