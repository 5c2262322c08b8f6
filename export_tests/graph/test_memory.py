"""Planned memory: by hand, and against memory that is really written over, node by node."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import parser

from edgeattn.graph import memory, shapes

OPERATORS = {
    "Relu": lambda a: [np.maximum(a, 0)],
    "Neg": lambda a: [-a],
    "Add": lambda a, b: [a + b],
    "Mul": lambda a, b: [a * b],
    "Identity": lambda a: [a],
    "Concat": lambda a, b: [np.concatenate([a, b])],
    "ReduceSum": lambda a: [a.sum(keepdims=True)],
    "Split": lambda a: [a[: len(a) // 2], a[len(a) // 2 :]],
}
IN_PLACE = ("Relu", "Neg", "Add", "Mul")
BINARY = ("Add", "Mul", "Concat")


def planned(text, **how):
    """Plans a graph that is written as ONNX writes one."""
    header = '<ir_version: 10, opset_import: ["": 18]>\n'
    model = ir.from_proto(parser.parse_model(header + text))
    shapes.infer(model)
    return memory.plan(model, **how)


def test_floats_take_what_they_do_where_they_run():
    text = """g (float[1,8] x, int64[1,8] i) => (float[1,8] y, int64[1,8] j) {
      y = Relu (x)
      j = Abs (i)
    }"""
    assert planned(text).activations_bytes == 2 * 8 * 4 + 2 * 8 * 8
    assert planned(text, float_bytes=2).activations_bytes == 2 * 8 * 2 + 2 * 8 * 8


def test_the_most_lies_where_a_shortcut_waits():
    found = planned(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
          a = Relu (x)
          b = GlobalAveragePool (a)
          c = Sigmoid (b)
          y = Mul (a, c)
        }"""
    )
    map_bytes, vector_bytes = 4 * 4 * 64, 4 * 4
    # The input, a and its mean; the sigmoid is written over the mean, and y over a.
    assert found.activations_bytes == 2 * map_bytes + vector_bytes
    assert found.weights_bytes == 0


def test_what_does_not_fit_is_not_written_over():
    found = planned(
        """g (float[2,4] x) => (float16[2,4] z) {
          y = Relu (x)
          z = Cast <to = 10> (y)
        }"""
    )
    assert found.activations_bytes == 32 + 32 + 16


def test_weights_count_apart_and_once():
    found = planned(
        """g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> {
          c = Constant <value = float[2] {1, 2}> ()
          a = Add (x, w)
          b = Mul (a, w)
          y = Concat <axis = 0> (b, c)
        }""".replace("float[4] y", "float[6] y")
    )
    assert found.weights_bytes == 16 + 8
    assert found.activations_bytes == 16 + 16 + 24


def test_of_branches_the_largest_counts_and_what_it_reads_stays():
    found = planned(
        """g (bool which, float[8] x) => (float[8] y) {
          a = Neg (x)
          y = If (which) <
            then_branch = small () => (float[8] t) { t = Relu (a) },
            else_branch = large () => (float[8] e) {
              p = Concat <axis = 0> (a, a)
              q = Neg (p)
              e, r = Split <axis = 0, num_outputs = 2> (q)
            }
          >
        }"""
    )
    # Inputs, a, the If's own output; within it, q in p's place, and both halves.
    assert found.activations_bytes == (1 + 32) + 32 + 32 + (64 + 64)


def test_what_is_known_at_run_time_only_is_not_planned():
    found = planned("g (float[3] x) => (int64[1,n] y) { y = NonZero (x) }")
    assert found.activations_bytes is None


@st.composite
def graphs(draw):
    """A graph of vectors, and what its inputs hold."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    values = [_value(f"x{k}", 2 * length) for k, length in enumerate(lengths)]
    inputs, nodes = list(values), []
    for number in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(sorted(OPERATORS)))
        first = draw(st.sampled_from(values))
        read = [first]
        if op in BINARY:
            fits = [v for v in values if op == "Concat" or v.shape in (first.shape, ir.Shape([1]))]
            read.append(draw(st.sampled_from(fits)))
            if op != "Concat" and draw(st.booleans()) and read[1].shape == first.shape:
                read.reverse()
        length = first.shape[0]
        if op == "Split" and length < 2:
            continue
        sizes = {
            "Concat": [length + read[-1].shape[0]],
            "ReduceSum": [1],
            "Split": [length // 2, length - length // 2],
        }.get(op, [length])
        made = [_value(f"v{number}_{k}", size) for k, size in enumerate(sizes)]
        nodes.append(ir.Node("", op, read, outputs=made, name=f"n{number}"))
        values += made
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique_by=id))
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


def _value(name, length):
    return ir.Value(name=name, shape=ir.Shape([length]), type=ir.TensorType(ir.DataType.FLOAT))


def run_in_little_memory(graph, given_inputs):
    """Runs a graph, writing over what nobody needs: gives what comes out, and the most it took."""
    held, place_of = {}, {}
    for value, array in given_inputs.items():
        place_of[value] = value.name
        held[value.name] = array.copy()
    stays = {place_of[value] for value in graph.inputs}
    nodes = list(graph)
    most = sum(array.nbytes for array in held.values())
    for at, node in enumerate(nodes):
        later = {value for one in nodes[at + 1 :] for value in one.inputs} | {*graph.outputs}

        def is_needed(place, later=later):
            return place in stays or any(place_of.get(value) == place for value in later)

        results = OPERATORS[node.op_type](*(held[place_of[value]] for value in node.inputs))
        for value, array in zip(node.outputs, results, strict=True):
            place = value.name
            if node.op_type == "Identity":
                place = place_of[node.inputs[0]]
            elif node.op_type in IN_PLACE:
                for operand in node.inputs:
                    old = place_of[operand]
                    if not is_needed(old) and held[old].nbytes == array.nbytes:
                        place = old
                        break
            place_of[value] = place
            held[place] = np.array(array)
        most = max(most, sum(array.nbytes for array in held.values()))
        held = {place: array for place, array in held.items() if is_needed(place)}
    return [held[place_of[value]] for value in graph.outputs], most


def run(graph, given_inputs):
    """Runs a graph, and keeps everything."""
    known = dict(given_inputs)
    for node in graph:
        results = OPERATORS[node.op_type](*(known[value] for value in node.inputs))
        known.update(zip(node.outputs, results, strict=True))
    return [known[value] for value in graph.outputs]


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_it_is_what_running_in_that_memory_takes(model):
    graph = model.graph
    generator = np.random.default_rng(0)
    inputs = {
        value: generator.integers(-3, 4, value.shape[0]).astype(np.float32)
        for value in graph.inputs
    }
    outputs, most = run_in_little_memory(graph, inputs)
    for found, wanted in zip(outputs, run(graph, inputs), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert memory.plan(model).activations_bytes == most


@pytest.mark.parametrize("batch", [1, 3])
def test_twice_the_batch_is_twice_the_activations_of_what_has_one(batch):
    text = f"g (float[{batch},3,8,8] x) => (float[{batch},3] y) {{ a = Relu (x) b = "
    text += "GlobalAveragePool (a) y = Flatten (b) }"
    assert planned(text).activations_bytes == batch * 4 * 3 * (64 + 64 + 1)
