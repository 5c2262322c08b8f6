"""Small graphs, written node by node, and what lowering must keep of them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from onnx import checker, helper, numpy_helper

from edgeattn.graph.marks import marked_maps
from edgeattn.graph.shapes import infer, resolve_open
from edgeattn.lowering import target as targets
from edgeattn.lowering.pipeline import lower
from export_tests.lowering.float64 import as_double, assert_equal64, evaluate64
from export_tests.lowering.kit import ops

# Those that run every operator; what a DLA is written for is not what these are, and has its tests.
TARGETS = [name for name, spec in targets.TARGETS.items() if not spec.writer.refuses]
CHANNELS = 12
SIZE = (7, 5)
MOVES = frozenset({"Reshape", "Transpose", "Split", "Slice", "Concat", "Gather", "Flatten"})


class Graph:
    """Writes nodes one after the other; a value is its name.

    Args:
        opset: The opset.
        batch: The first size of the input: a number, or the name of an open one.
        seed: Seed of the weights.
        dtype: The type of the input and of the weights.
    """

    def __init__(self, *, opset=18, batch="n", seed=0, dtype=np.float32):
        self.opset, self.batch, self.dtype = opset, batch, np.dtype(dtype)
        self.element = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []

    def input(self, *shape):
        """Adds an input of which the batch is the first size."""
        name = f"x{len(self.inputs)}"
        value = helper.make_tensor_value_info(name, self.element, [self.batch, *shape])
        self.inputs.append(value)
        return name

    def const(self, array):
        """Adds an initializer: integers stay, numbers get the graph's type."""
        array = np.asarray(array)
        array = array.astype(self.dtype if array.dtype.kind == "f" else np.int64)
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def overridable(self, array):
        """Adds an initializer that is an input, too: a caller may give another."""
        name = self.const(array)
        tensor = self.initializers[-1]
        self.inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        return name

    def random(self, *shape, scale=0.5, offset=0.0):
        """Adds random weights."""
        return self.const(self.rng.normal(offset, scale, shape))

    def op(self, op_type, *inputs, count=1, name=None, **attributes):
        """Adds a node and gives its output, or the list of them; arrays become initializers."""
        names = [v if isinstance(v, str) else self.const(v) for v in inputs]
        place = len(self.nodes)
        made = [f"v{place}_{k}" for k in range(count)]
        label = name or f"m{place}/{op_type}"
        self.nodes.append(helper.make_node(op_type, names, made, name=label, **attributes))
        return made[0] if count == 1 else made

    def conv(self, x, inside, outside, kernel=1, group=1):
        """Adds a convolution that keeps the map's size."""
        scale = (inside // group * kernel * kernel) ** -0.5
        weight = self.random(outside, inside // group, kernel, kernel, scale=scale)
        bias = self.random(outside)
        return self.op("Conv", x, weight, bias, pads=[kernel // 2] * 4, group=group)

    def reduce(self, op_type, x, axes, keepdims=1, **attributes):
        """Adds a reduction in the way of the opset."""
        attributes["keepdims"] = keepdims
        if op_type == "ReduceSum" or self.opset >= 18:
            return self.op(op_type, x, np.array(axes), **attributes)
        return self.op(op_type, x, axes=axes, **attributes)

    def split(self, x, sizes, axis=1):
        """Adds a Split."""
        return self.op("Split", x, np.array(sizes), count=len(sizes), axis=axis)

    def output(self, *values, rank=None):
        """Makes values outputs of the graph."""
        shape = None if rank is None else [None] * rank
        self.outputs += [helper.make_tensor_value_info(v, self.element, shape) for v in values]

    def model(self):
        """Gives the model."""
        graph = helper.make_graph(
            self.nodes, "g", self.inputs, self.outputs, initializer=self.initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 9
        return ir.from_proto(model)


def between(body, *, channels=CHANNELS, out=None, size=SIZE, **options):
    """Gives a model of something between two convolutions.

    Args:
        body: Adds it: `body(graph, x)` gives its result, or several.
        channels: The channels of `x`.
        out: The channels of the result, where they are others; 0 where it is no map.
        size: Rows and columns.
        options: What `Graph` takes.
    """
    graph = Graph(**options)
    x = graph.conv(graph.input(3, *size), 3, channels, 3)
    made = body(graph, x)
    for value in [made] if isinstance(made, str) else made:
        if out == 0:
            graph.output(value)
        else:
            graph.output(graph.conv(value, out or channels, 4), rank=4)
    return graph.model()


def gated(statistic):
    """Gives the body that multiplies x by the sigmoid of what `statistic(graph, x)` gives."""

    def body(graph, x):
        return graph.op("Mul", x, graph.op("Sigmoid", statistic(graph, x)))

    return body


def lowered(model, target="tensorrt", **options):
    """Gives a lowered copy of a model, and the record.

    These maps are so small that no form pays: unless asked otherwise, forms are written all the
    same.
    """
    copy = model.clone()
    record = lower(copy, target=target, **{"must_pay": False, **options})
    assert not [miss for miss in record.near_misses if "a fault of edgeattn" in miss.reason]
    return copy, record


def check(model, *, fires=True, gone=(), keeps=(), batches=(1, 3), rel=1e-12):
    """Asserts that lowering keeps the function, for both targets, and what it does.

    Args:
        model: The model.
        fires: Whether something is rewritten; None where that is left open.
        gone: Operators that must not be left.
        keeps: Operators of which as many must be left.
        batches: What an open batch is bound to.
        rel: The largest relative error in float64.
    """
    double, model = as_double(model), model.clone()
    for one in (double, model):
        infer(one)  # once, and not for every target
        resolve_open(one)
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert_equal64(double, after, _shapes(double), batches=batches, rel=rel)
        single, record = lowered(model, target)
        proto = ir.to_proto(single)
        checker.check_model(proto, full_check=True)
        if all(v.dtype != ir.DataType.DOUBLE for v in model.graph.inputs):
            check_runs(model, proto)  # ONNX Runtime has no convolution in double
        assert fires is None or bool(record.rewrites) == fires, f"{target}: {record}"
        before, left = ops(model), ops(single)
        # Pools are how it writes means and maxima.
        own = {"AveragePool", "MaxPool"} if target == "portable" else set()
        assert not (set(gone) - own) & set(left), f"{target}: {left}; {record.near_misses}"
        for op_type in set(keeps) - own:
            assert left[op_type] == before[op_type], f"{target}: {left}"
        if not record.rewrites:
            assert not left - before, f"{target}: {left}"


def _shapes(model):
    """Gives the shapes of the inputs that a caller has to give."""
    return [list(v.shape) for v in model.graph.inputs if v.name not in model.graph.initializers]


def check_runs(model, proto):
    """Asserts that ONNX Runtime computes what the model before says."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options)
    rng, feeds = np.random.default_rng(3), {}
    for value in model.graph.inputs:
        if value.name not in model.graph.initializers:
            shape = [size if isinstance(size, int) else 2 for size in value.shape]
            feeds[value.name] = rng.normal(0.5, 2.0, shape).astype(value.dtype.numpy())
    half = any(array.dtype == np.float16 for array in feeds.values())
    maps = marked_maps(session.get_modelmeta().custom_metadata_map)
    names = [value.name for value in session.get_outputs()]
    wanted, given = evaluate64(model, feeds), session.run(None, feeds)
    for name, exact, got in zip(names, wanted, given, strict=True):
        want = exact.reshape(*exact.shape, 1, 1) if name in maps else exact
        assert got.shape == want.shape
        bound = (3e-2 if half else 2e-5) * np.abs(want).max()
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=0, atol=bound)
