"""Views: reshapes, transposes, expansions and parts, as numpy does them."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, gated, lowered
from export_tests.lowering.kit import ops

OPSETS = (13, 18, 20)
MOVES = ("Reshape", "Gather", "Split", "Slice", "Concat")


def gate(g, x):
    """Gives x * sigmoid(mean of x): what makes a region worth writing."""
    return g.op("Mul", x, g.op("Sigmoid", g.op("GlobalAveragePool", x)))


def shuffle(g, x, groups, channels=C, size=(7, 5)):
    v = g.op("Reshape", x, np.array([-1, groups, channels // groups, *size]))
    v = g.op("Transpose", v, perm=[0, 2, 1, 3, 4])
    return g.op("Reshape", v, np.array([-1, channels, *size]))


# Shuffles: each a permutation that folds into what stands around it.


def four_dimensions(g, x):
    v = g.op("Reshape", x, np.array([0, 3, 4, 35]))
    v = g.op("Transpose", v, perm=[0, 2, 1, 3])
    return g.op("Reshape", v, np.array([0, C, 7, 5]))


def by_gather(g, x):
    return g.op("Gather", x, np.arange(C).reshape(3, 4).T.reshape(-1), axis=1)


def by_gather_from_the_end(g, x):
    return g.op("Gather", x, np.arange(C).reshape(3, 4).T.reshape(-1) - C, axis=-3)


def by_chunks(g, x):
    parts = [g.op("Unsqueeze", p, np.array([2])) for p in g.split(x, [4] * 3)]
    return g.op("Reshape", g.op("Concat", *parts, axis=2), np.array([-1, C, 7, 5]))


def squeezed(g, x):
    v = g.op("Unsqueeze", g.op("Reshape", x, np.array([-1, 3, 4, 35])), np.array([1, -1]))
    v = g.op("Squeeze", g.op("Transpose", v, perm=[0, 1, 3, 2, 4, 5]), np.array([1, 5]))
    return g.op("Reshape", v, np.array([-1, C, 7, 5]))


SHUFFLES = {
    "of five dimensions": lambda g, x: shuffle(g, x, 3),
    "of four dimensions": four_dimensions,
    "by Gather": by_gather,
    "by Gather, from the end": by_gather_from_the_end,
    "by chunks": by_chunks,
    "with axes of one": squeezed,
    "and back": lambda g, x: shuffle(g, shuffle(g, x, 3), 4),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", SHUFFLES)
def test_shuffles(name, opset):
    body = SHUFFLES[name]
    check(between(lambda g, x: body(g, gate(g, x)), opset=opset), gone=MOVES)
    check(between(lambda g, x: gate(g, body(g, x)), opset=opset), gone=("Gather",))


@pytest.mark.parametrize("order", [np.arange(C)[::-1], np.r_[1, 0, 2:C], np.roll(np.arange(C), 5)])
def test_a_gather_that_is_no_shuffle(order):
    check(between(lambda g, x: gate(g, g.op("Gather", gate(g, x), order.copy(), axis=1))))


def test_a_gather_that_leaves_out_and_doubles():
    check(between(lambda g, x: gate(g, g.op("Gather", x, np.array([0, 0, 5, 7]), axis=1)), out=4))


def test_a_gather_of_rows():
    order = np.arange(6).reshape(2, 3).T.reshape(-1)
    model = between(lambda g, x: gate(g, g.op("Gather", gate(g, x), order, axis=2)), size=(6, 5))
    check(model, fires=None)


# Groups as a part of the batch, and what does not divide.


@pytest.mark.parametrize("groups", [2, 3, 4, 6])
@pytest.mark.parametrize("batch", ["n", 2])
def test_groups_on_the_batch(groups, batch):
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, C // groups, 7, 5]))
        v = g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", v)))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body, batch=batch), gone=("Reshape",))


def test_groups_that_do_not_divide_indices():
    def body(g, x):
        v = g.op("Reshape", gate(g, x), np.array([-1, 4, 3, 35]))
        v = g.op("Reshape", g.op("Transpose", v, perm=[0, 2, 1, 3]), np.array([-1, C, 35]))
        v = g.op("Reshape", v, np.array([-1, 2, 6, 35]))  # 6 ends inside (3, 4)
        v = g.op("Transpose", v, perm=[0, 2, 1, 3])
        return gate(g, g.op("Reshape", v, np.array([-1, C, 7, 5])))

    check(between(body))


def test_channels_and_rows_mixed():
    def body(g, x):
        v = g.op("Reshape", gate(g, x), np.array([-1, 7, C, 5]))  # no transpose: other elements
        v = gate(g, v)
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), fires=None)


@pytest.mark.parametrize("perm", [[0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 2, 1], [3, 1, 2, 0], None])
def test_transposes(perm):
    def body(g, x):
        y = gate(g, x)
        v = g.op("Transpose", y) if perm is None else g.op("Transpose", y, perm=perm)
        back = [3, 2, 1, 0] if perm is None else list(np.argsort(perm))
        return g.op("Transpose", g.op("Mul", v, g.op("Sigmoid", v)), perm=back)

    check(between(body, batch=2))
    check(between(body))


@pytest.mark.parametrize(("zero", "target"), [(0, [0, 0, -1]), (1, [-1, C, 35])])
def test_zeros_of_a_target(zero, target):
    def statistic(g, x):
        options = {"allowzero": zero} if zero else {}
        v = g.op("Reshape", x, np.array(target), **options)
        return g.op("Unsqueeze", g.reduce("ReduceMean", v, [2]), np.array([-1]))

    check(between(gated(statistic)), gone=("Unsqueeze",))


def test_a_target_from_an_overridable_initializer():
    def statistic(g, x):
        flat = g.op("Flatten", g.op("GlobalAveragePool", x))
        return g.op("Reshape", flat, g.overridable(np.array([-1, C, 1, 1])))

    model = between(gated(statistic))
    check(model, fires=None)
    for target in ("tensorrt", "onnxruntime"):
        after, _ = lowered(model, target)
        assert [v.name for v in after.graph.inputs] == [v.name for v in model.graph.inputs]


# Expansions.


def expanded(target):
    def body(g, x):
        s = g.op("Sigmoid", g.op("GlobalAveragePool", x))
        return g.op("Mul", x, g.op("Expand", s, np.array(target)))

    return body


@pytest.mark.parametrize("target", [[1, C, 7, 5], [1, 1, 7, 5], [7, 5], [5], [1, 1]])
def test_expand(target):
    check(between(expanded(target)), gone=("Expand",))


def test_expand_as_x():
    def body(g, x):
        s = g.op("Sigmoid", g.op("GlobalAveragePool", x))
        return g.op("Mul", x, g.op("Expand", s, g.op("Shape", x)))

    check(between(body), gone=("Expand", "Shape"))


def test_what_is_expanded_has_a_sum():
    def statistic(g, x):
        wide = g.op("Expand", g.op("GlobalAveragePool", x), np.array([1, C, 7, 5]))
        return g.op("Mul", g.reduce("ReduceSum", wide, [2, 3]), np.array(0.01))

    check(between(gated(statistic)))


def test_a_diagonal_of_what_is_expanded():
    def statistic(g, x):
        wide = g.op("Expand", g.op("GlobalAveragePool", x), np.array([1, C, 5, 5]))
        both = g.op("Add", wide, g.op("Transpose", wide, perm=[0, 1, 3, 2]))
        return g.op("Mul", g.reduce("ReduceSum", both, [2, 3]), np.array(0.01))

    check(between(gated(statistic), size=(5, 5)), fires=None)


def test_an_expanded_output():
    def body(g, x):
        return g.op("Expand", g.op("GlobalAveragePool", x), np.array([1, C, 7, 5]))

    check(between(body, out=0), fires=None)


# Parts.


def halves(cut):
    """Gives the body that gates each half by itself, where `cut` gives the halves."""

    def body(g, x):
        return g.op("Concat", *(gate(g, part) for part in cut(g, x)), axis=1)

    return body


def sliced(*bounds, axis=1, step=None):
    def cut(g, x):
        steps = [] if step is None else [np.array([step])]
        return [
            g.op("Slice", x, np.array([a]), np.array([b]), np.array([axis]), *steps)
            for a, b in bounds
        ]

    return cut


FAR = np.iinfo(np.int64).max
SLICES = {
    "halves": sliced((0, 6), (6, 12)),
    "to far beyond": sliced((0, 6), (6, FAR)),
    "from the end": sliced((-12, -6), (-6, FAR)),
    "from before the start": sliced((-100, 6), (6, 100)),
    "of a negative axis": sliced((0, 6), (6, 12), axis=-3),
    "with a step of one": sliced((0, 6), (6, 12), step=1),
    "every second": sliced((0, FAR), (1, FAR), step=2),
    "thirds": sliced((0, 4), (4, 8), (8, 12)),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", SLICES)
def test_slices(name, opset):
    check(between(halves(SLICES[name]), opset=opset))


def test_halves_are_one_gate():
    gone = ("Split", "Slice", "Concat")
    check(between(halves(sliced((0, 6), (6, 12)))), gone=gone)
    check(between(halves(lambda g, x: g.split(x, [6, 6]))), gone=gone)
    check(between(halves(lambda g, x: g.split(x, [6, 6], axis=-3))), gone=gone)


UNEVEN = {
    "unequal": sliced((0, 4), (4, 12)),
    "overlapping": sliced((0, 8), (8, 12), (4, 8)),
    "backwards": lambda g, x: [
        g.op("Slice", x, np.array([-1]), np.array([-FAR]), np.array([1]), np.array([-1]))
    ],
    "backwards by two": lambda g, x: [
        g.op("Slice", x, np.array([a]), np.array([-FAR]), np.array([1]), np.array([-2]))
        for a in (11, 10)
    ],
    "by five": lambda g, x: [
        g.op("Slice", x, np.array([k]), np.array([12]), np.array([1]), np.array([5]))
        for k in range(5)
    ],
    "off the middle": sliced((3, 9), (0, 3), (9, 12)),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_parts(name):
    out = 16 if name == "overlapping" else C
    cut = UNEVEN[name]

    def body(g, x):
        parts = [gate(g, part) for part in cut(g, x)]
        return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)

    if name == "overlapping":
        check(between(body, out=out), fires=None)
    else:
        check(between(body), fires=None)


def test_unequal_split():
    check(between(halves(lambda g, x: g.split(x, [4, 8]))), keeps=("Split", "Concat"))
    check(between(halves(lambda g, x: g.split(x, [5, 7]))), keeps=("Split", "Concat"))


def test_a_step_that_may_be_overridden():
    def body(g, x):
        bounds = [np.array([0]), np.array([100]), np.array([1])]
        return gate(g, g.op("Slice", x, *bounds, g.overridable(np.array([2]))))

    check(between(body, out=6), keeps=("Slice",))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("place", [1, -1])
def test_a_gather_of_one_place(shape, place):
    def statistic(g, x):
        part = g.op("Gather", x, np.full(shape, place), axis=1)
        rank = 3 + len(shape)
        mean = g.reduce("ReduceMean", part, [rank - 2, rank - 1])
        return g.op("Reshape", mean, np.array([-1, 1, 1, 1]))

    check(between(gated(statistic)))


def test_an_index_that_is_split_after_its_parts_were_taken():
    def body(g, x):
        parts = [gate(g, part) for part in g.split(x, [3] * 4)]
        groups = g.op("Reshape", x, np.array([-1, 2, 6, 35]))
        m = g.op("Sigmoid", g.reduce("ReduceMean", groups, [1, 3]))
        v = g.op("Reshape", g.op("Concat", *parts, axis=1), np.array([-1, 2, 6, 7, 5]))
        v = g.op("Mul", v, g.op("Unsqueeze", m, np.array([-1])))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body))


@pytest.mark.parametrize("place", range(4))
def test_one_part_whose_index_is_split(place):
    def body(g, x):
        part = g.split(x, [3] * 4)[place]
        groups = g.op("Reshape", x, np.array([-1, 2, 6, 35]))
        m = g.reduce("ReduceMean", groups, [1, 2, 3])
        return g.op("Mul", part, g.op("Sigmoid", m))

    check(between(body, out=3), fires=None)


# Axes that are added up but do not belong together.


def test_a_map_and_its_transpose():
    def body(g, x):
        v = g.op("Add", x, g.op("Transpose", x, perm=[0, 1, 3, 2]))
        return gate(g, v)

    check(between(body, size=(6, 6)))


def test_rows_times_columns_of_a_square_map():
    for op_type in ("Mul", "Add"):

        def statistic(g, x, op_type=op_type):
            rows = g.reduce("ReduceMean", x, [3])
            return g.op(op_type, rows, g.op("Transpose", rows, perm=[0, 1, 3, 2]))

        check(between(gated(statistic), size=(5, 5)), fires=None)
        check(between(gated(statistic), size=(1, 1)), fires=None)


def test_channels_times_channels():
    def statistic(g, x):
        s = g.reduce("ReduceMean", x, [2, 3], 0)
        one, other = (g.op("Unsqueeze", s, np.array([axis])) for axis in (2, 1))
        v = g.reduce("ReduceMean", g.op("Mul", one, other), [2], 0)
        return g.op("Unsqueeze", v, np.array([2, 3]))

    check(between(gated(statistic)), fires=None)


def test_channels_against_rows_of_equal_size():
    def statistic(g, x):
        s = g.op("GlobalAveragePool", x)
        return g.op("Transpose", s, perm=[0, 2, 1, 3])  # [n, 1, c, 1]: for each row

    check(between(gated(statistic), size=(C, 5)), fires=None)
    check(between(gated(statistic), size=(C, C)), fires=None)


# Sizes.


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1)])
def test_small_maps(size):
    check(between(lambda g, x: shuffle(g, gate(g, x), 3, size=size), size=size), fires=None)


def test_one_channel():
    check(between(lambda g, x: gate(g, g.op("Reshape", x, np.array([0, 1, 7, 5]))), channels=1))


def test_a_shuffle_alone_folds():
    model = between(lambda g, x: shuffle(g, x, 3))
    check(model, gone=("Reshape", "Transpose", "Gather"))
    after, _ = lowered(model)
    assert ops(after) == {"Conv": 2}
