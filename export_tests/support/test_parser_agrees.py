"""What is said of the newest TensorRT's parser, against TensorRT-RTX's own."""

import re

import onnx
import onnx_ir as ir
import pytest

from edgeattn.support.answers import Answer, worst
from edgeattn.support.tensorrt import Parser
from export_tests.conformance import standard_cases

rtx = pytest.importorskip("tensorrt_rtx")

CONSTANT = "k = Constant <value_ints = [2]> ()"
FACTORS = "s = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()"
SCALE = "s = Constant <value_float = 0.5> ()"
IMAGE = "float[1,4,8,8] x"


class Quiet(rtx.ILogger):
    def __init__(self) -> None:
        rtx.ILogger.__init__(self)

    def log(self, severity: object, message: str) -> None:
        pass


@pytest.fixture(scope="module")
def asked():
    """Return what asks both: an answer, and whether the parser takes it."""
    logger = Quiet()
    builder = rtx.Builder(logger)
    parser = Parser(".".join(rtx.__version__.split(".")[:2]), rtx=True)

    def ask(proto: onnx.ModelProto) -> tuple[Answer, bool]:
        try:
            inferred = onnx.shape_inference.infer_shapes(proto)
        except onnx.shape_inference.InferenceError:
            inferred = proto
        model = ir.serde.deserialize_model(inferred)
        answers = [parser.takes_value(one) for one in (*model.graph.inputs, *model.graph.outputs)]
        answers += map(parser.takes, ir.traversal.RecursiveGraphIterator(model.graph))
        network = builder.create_network(0)
        theirs = rtx.OnnxParser(network, logger)
        return worst(answers), theirs.parse(proto.SerializeToString())

    return ask


@pytest.mark.parametrize(
    ("body", "inputs", "opset"),
    [
        ("y = Relu(x)", "float[N,4,H,W] x", 13),
        ("y = Relu(x)", "int32[4] x", 14),
        ("y = Relu(x)", "float[1,1,1,1,1,1,1,1,2] x", 13),
        ("y = Identity(x)", "string[2] x", 13),
        ("y = Cast <to = 1> (x)", "uint8[2] x", 13),
        ("y = Cast <to = 1> (x)", "int16[2] x", 13),
        ("y = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x)", IMAGE, 13),
        ("y = MaxPool <kernel_shape = [2,2], ceil_mode = 1> (x)", IMAGE, 13),
        ("y = AveragePool <kernel_shape = [2,2], pads = [0,0,2,2]> (x)", IMAGE, 13),
        ("y = GlobalAveragePool(x)", "float[1,4] x", 13),
        ("y = Conv(x, w)", "float[1,4,4,4,4,4] x, float[4,4,2,2,2,2] w", 13),
        ("y = Conv(x, w, b)", f"{IMAGE}, float[4,4,3,3] w, float[4] b", 13),
        ("y = ReduceMean(x, a)", f"{IMAGE}, int64[2] a", 18),
        ("a = Constant <value_ints = [2, 3]> () y = ReduceMean(x, a)", IMAGE, 18),
        ("y = Unsqueeze(x, a)", f"{IMAGE}, int64[1] a", 13),
        ("y = Slice(x, a, b, c)", f"{IMAGE}, int64[1] a, int64[1] b, int64[1] c", 13),
        (f'{FACTORS} y = Resize <mode = "linear"> (x, , s)', IMAGE, 13),
        (f"{FACTORS} y = Resize <antialias = 1> (x, , s)", IMAGE, 18),
        ("y = Resize(x, , s)", f"{IMAGE}, float[4] s", 13),
        ('y = Pad <mode = "reflect"> (x, p)', f"{IMAGE}, int64[8] p", 13),
        ("y = Softmax <axis = 0> (x)", "float[4] x", 13),
        ("y = Softmax <axis = 0> (x)", "float[4] x", 11),
        ("y = MatMul(x, z)", "float[4] x, float[2,4,3] z", 13),
        ("y = MatMul(x, z)", "float[2,3,4] x, float[4] z", 13),
        ('y = Einsum <equation = "...ij,...jk->...ik"> (x, x)', "float[1,4,4] x", 13),
        ('y = Einsum <equation = "Ij->jI"> (x)', "float[4,4] x", 13),
        (f"{CONSTANT} y, i = TopK(x, k)", IMAGE, 13),
        ("y = GridSample(x, g)", "float[1,2,4,4] x, float[1,4,4,2] g", 16),
        ("y = LayerNormalization(x, w)", "float[2,8] x, float[8] w", 17),
        ("y = GroupNormalization <num_groups = 2> (x, w, w)", f"{IMAGE}, float[4] w", 21),
        ("y = InstanceNormalization(x, w, w)", "float[1,4] x, float[4] w", 13),
        (f"{SCALE} y = DequantizeLinear(x, s)", "int32[2,4] x", 13),
        (f"{SCALE} y = DequantizeLinear(x, s)", "int8[2,4] x", 13),
        ("y = NonZero(x)", IMAGE, 13),
        ("y = Compress(x, c)", f"{IMAGE}, bool[4] c", 13),
        ("y = Gelu(x)", IMAGE, 20),
        ('y = Einsum <equation = "ij->ji"> (x)', "int64[4,4] x", 13),
    ],
)
def test_both_say_the_same(asked, body: str, inputs: str, opset: int) -> None:
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => (float y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    kind = {"NonZero": onnx.TensorProto.INT64}.get(proto.graph.node[-1].op_type)
    given = proto.graph.input[0].type.tensor_type.elem_type
    from_input = given if proto.graph.node[-1].op_type in {"Identity", "Relu", "Einsum"} else None
    proto.graph.output[0].type.tensor_type.elem_type = kind or from_input or onnx.TensorProto.FLOAT
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    answer, is_taken = asked(proto)
    assert (answer.verdict, answer.reason) == ("yes", "") if is_taken else answer.verdict == "no"
    assert answer.source or is_taken


@pytest.mark.slow
def test_no_conformance_case_is_refused_that_the_parser_takes(asked) -> None:
    drawn = re.compile("$^")
    found = [(case.name, *asked(case.model)) for case in standard_cases(drawn)]
    alarms = [name for name, answer, is_taken in found if answer.verdict == "no" and is_taken]
    missed = [name for name, answer, is_taken in found if answer.verdict == "yes" and not is_taken]
    assert alarms == []
    assert len(missed) <= 5, missed
