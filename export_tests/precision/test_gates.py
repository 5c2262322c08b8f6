"""A gate is known by where its value goes, not by what its nodes are called."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.graph import shapes
from edgeattn.precision.gates import gate_nodes
from export_tests.precision import nets

SE = """
    conv: Conv(x w:4,4,3,3; pads=[1] * 4) -> m
    pool: ReduceMean(m hw) -> s
    fc1: Conv(s w:2,4,1,1) -> f
    act: Relu(f) -> r
    fc2: Conv(r w:4,2,1,1) -> e
    gate: Sigmoid(e) -> g
    mul: Mul(m g) -> y
"""
NETS = {
    "se": (SE, {"fc1", "fc2"}),
    "squeeze of the map before, as lowering moves it": (
        """
        before: Conv(x w:4,4,3,3; pads=[1] * 4) -> b
        last: Conv(b w:4,4,1,1) -> m
        pool: ReduceMean(b hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        gate: Sigmoid(e) -> g
        mul: Mul(g m) -> y
        """,
        {"fc"},
    ),
    "gate without a bound": (
        """
        conv: Conv(x w:4,4,3,3; pads=[1] * 4) -> m
        pool: GlobalAveragePool(m) -> s
        fc: Conv(s w:4,4,1,1) -> g
        mul: Mul(m g) -> y
        """,
        {"fc"},
    ),
    "spatial gate": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        max: ReduceMax(m ch) -> a
        mean: ReduceMean(m ch) -> b
        both: Concat(a b; axis=1) -> s
        conv7: Conv(s w:1,2,7,7; pads=[3] * 4) -> e
        gate: Sigmoid(e) -> g
        mul: Mul(m g) -> y
        """,
        {"conv7"},
    ),
    "two gates that meet first": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        gate1: Sigmoid(e) -> g
        mean: ReduceMean(m ch) -> t
        conv7: Conv(t w:1,1,7,7; pads=[3] * 4) -> f
        gate2: Sigmoid(f) -> h
        join: Mul(g h) -> gh
        mul: Mul(gh m) -> y
        """,
        {"fc", "conv7"},
    ),
    "gates that are summed, then bounded": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        conv7: Conv(m w:1,4,7,7; pads=[3] * 4) -> f
        join: Add(e f) -> t
        gate: Sigmoid(t) -> g
        more: Add(g half) -> h
        mul: Mul(m h) -> y
        """,
        {"fc", "conv7"},
    ),
    "context that is added": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        add: Add(m e) -> y
        """,
        {"fc"},
    ),
    "gate of full size": (
        """
        value: Conv(x w:4,4,1,1) -> m
        other: Conv(x w4:4,4,1,1) -> e
        gate: Sigmoid(e) -> g
        mul: Mul(m g) -> y
        """,
        {"other"},
    ),
    "gate that is expanded": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        size: Shape(m) -> n
        wide: Expand(e n) -> g
        mul: Mul(m g) -> y
        """,
        {"fc"},
    ),
    "attention of positions": (
        """
        query: Conv(x w4:4,4,1,1) -> q
        key: Conv(x w5:4,4,1,1) -> k
        value: Conv(x w6:4,4,1,1) -> v
        kt: Transpose(k; perm=[0, 1, 3, 2]) -> kt
        scores: MatMul(q kt) -> s
        soft: Softmax(s; axis=3) -> p
        apply: MatMul(p v) -> a
        out: Conv(a w7:4,4,1,1) -> y
        """,
        {"query", "key", "scores"},
    ),
    "spatial transformer": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        locate: Conv(x w:2,4,1,1) -> o
        grid: Transpose(o; perm=[0, 2, 3, 1]) -> g
        sample: GridSample(m g) -> y
        """,
        {"locate"},
    ),
    "silu": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        act: Sigmoid(m) -> s
        mul: Mul(m s) -> a
        next: Conv(a w4:4,4,1,1) -> y
        """,
        set(),
    ),
    "mish": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        soft: Softplus(m) -> s
        tanh: Tanh(s) -> t
        mul: Mul(t m) -> y
        """,
        set(),
    ),
    "classifier": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw; keepdims=0) -> s
        fc1: Gemm(s w:4,6) -> f
        act: Tanh(f) -> t
        fc2: MatMul(t w:6,5) -> z
        soft: Softmax(z) -> y
        """,
        set(),
    ),
    "pyramid of features": (
        """
        fine: Conv(x w:4,4,1,1) -> f
        coarse: Conv(f w4:4,4,3,3; pads=[1] * 4, strides=[2, 2]) -> c1
        up: Resize(c1 - twice; mode="nearest") -> u
        add: Add(f u) -> y
        """,
        set(),
    ),
    "pool that is concatenated": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        pool: ReduceMean(m hw) -> s
        fc: Conv(s w4:4,4,1,1) -> e
        size: Shape(m) -> n
        wide: Expand(e n) -> g
        both: Concat(m g; axis=1) -> a
        out: Conv(a w:4,8,1,1) -> y
        """,
        set(),
    ),
    "sum with a bounded map": (
        """
        conv: Conv(x w:4,4,1,1) -> m
        tanh: Tanh(m) -> t
        add: Add(x t) -> y
        """,
        set(),
    ),
    "nothing but gates": (
        """
        one: Conv(x w:4,4,1,1) -> a
        two: Conv(x w4:4,4,1,1) -> b
        gate1: Sigmoid(a) -> g
        gate2: Tanh(b) -> h
        mul: Mul(g h) -> y
        """,
        set(),
    ),
}


def gates(path, lines, **options):
    model = ir.load(nets.write(path / "net.onnx", lines, **options))
    shapes.infer(model)
    shapes.resolve_open(model)
    layers = {"Conv", "Gemm", "MatMul"}
    return {node.name for node in gate_nodes(model.graph) if node.op_type in layers}


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), ("batch", 4, 8, 8), (2, 4, 8, 8)], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_gates_are_found(tmp_path, name, shape):
    lines, wanted = NETS[name]
    assert gates(tmp_path, lines, shape=shape) == wanted


def test_a_map_of_one_pixel(tmp_path):
    assert gates(tmp_path, SE, shape=(1, 4, 1, 1)) == {"fc1", "fc2"}


def test_a_gate_that_is_an_output_as_well(tmp_path):
    assert gates(tmp_path, SE, outputs=("y", "g")) == set()


# What may stand between a bounded function and what it scales; all keep 1x4x8x8.
STEPS = [
    "Mul({0} half) -> {1}",
    "Add(three {0}) -> {1}",
    "Neg({0}) -> {1}",
    "Clip({0} - half) -> {1}",
    "Transpose({0}; perm=[0, 1, 3, 2]) -> {1}",
    "Identity({0}) -> {1}",
    "Div(three {0}) -> {1}",
    "Mul({0} {0}) -> {1}",
    "Concat({0}; axis=1) -> {1}",
]


@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=6),
    bound=st.sampled_from(["Sigmoid", "HardSigmoid", "Tanh", "Softmax"]),
    operands=st.permutations(["m", "gate"]),
)
def test_what_stands_behind_a_bound_changes_nothing(tmp_path_factory, steps, bound, operands):
    lines = [
        "conv: Conv(x w:4,4,1,1) -> m",
        "other: Conv(x w4:4,4,1,1) -> e",
        f"bound: {bound}(e) -> v0",
    ]
    for index, step in enumerate(steps):
        lines.append(f"step{index}: {step.format(f'v{index}', f'v{index + 1}')}")
    lines.append(f"last: Identity(v{len(steps)}) -> gate")
    lines.append(f"mul: Mul({' '.join(operands)}) -> y")
    assert gates(tmp_path_factory.mktemp("net"), "\n".join(lines)) == {"other"}
