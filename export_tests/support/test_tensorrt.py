"""What the ONNX parser of TensorRT takes, by version."""

import onnx
import onnx_ir as ir
import pytest

from edgeattn.base.errors import InputError
from edgeattn.support.tensorrt import Parser

RELEASES = ("8.0", "8.2", "8.5", "8.6", "10.3", "10.13", "10.16", "11.1")


def only(body: str, signature: str, opset: int = 17) -> ir.Node:
    """Return the last node of a graph in ONNX's text form, with shapes inferred."""
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> g ({signature}) => (y) {{ {body} }}'
    model = onnx.parser.parse_model(text.replace("=> (y)", "=> (float y)"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].ClearField("type")
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model)).graph[-1]


def verdicts(node: ir.Node, *releases: str) -> list[str]:
    """Return what parsers say of a node."""
    return [Parser(release).takes(node).verdict for release in releases]


def test_versions_are_read_and_others_refused() -> None:
    assert Parser("8.5.2").title == "TensorRT 8.5.2"
    assert Parser("1.7", rtx=True).title == "TensorRT-RTX 1.7"
    with pytest.raises(InputError, match="'new' is no version"):
        Parser("new")
    with pytest.raises(InputError, match="Nothing is known"):
        Parser("7.1.3")


@pytest.mark.parametrize(
    ("release", "opset", "verdict"),
    [
        ("8.0", 13, "yes"),
        ("8.2.1", 14, "unknown"),
        ("8.5", 17, "yes"),
        ("8.5", 18, "unknown"),
        ("8.6", 17, "yes"),
        ("10.3", 20, "yes"),
        ("10.3", 21, "unknown"),
        ("10.13", 22, "yes"),
        ("10.16", 24, "yes"),
        ("11.1", 24, "yes"),
        ("11.1", 25, "unknown"),
    ],
)
def test_the_highest_opset_is_that_of_the_release(release: str, opset: int, verdict: str) -> None:
    answer = Parser(release).takes_opset(opset)
    assert answer.verdict == verdict
    assert answer.source
    assert ("--opset" in answer.mend) == (verdict == "unknown")


@pytest.mark.parametrize(
    ("op", "signature", "opset", "first_yes"),
    [
        ("Add(x, x)", "float[2,3] x", 13, "8.0"),
        ("Reciprocal(x)", "float[2,3] x", 13, "8.0"),
        ("Round(x)", "float[2,3] x", 13, "8.2"),
        ("HardSwish(x)", "float[2,3] x", 14, "8.5"),
        ("GridSample(x, z)", "float[1,2,4,4] x, float[1,4,4,2] z", 16, "8.5"),
        ("LayerNormalization(x, w)", "float[2,3] x, float[3] w", 17, "8.6"),
        ("Gelu(x)", "float[2,3] x", 20, "10.13"),
        ("RMSNormalization(x, w)", "float[2,3] x, float[3] w", 23, "10.16"),
        ("Swish(x)", "float[2,3] x", 24, "11.1"),
    ],
)
def test_operators_are_taken_since_a_release(
    op: str, signature: str, opset: int, first_yes: str
) -> None:
    found = verdicts(only(f"y = {op}", signature, opset), *RELEASES)
    at = RELEASES.index(first_yes)
    assert set(found[at:]) == {"yes"}
    assert "yes" not in found[:at]


def test_what_none_has_is_refused_with_what_to_do() -> None:
    answer = Parser("8.5").takes(only("y = LayerNormalization(x, w)", "float[2,3] x, float[3] w"))
    assert answer.verdict == "no"
    assert answer.reason == "TensorRT 8.5 has no LayerNormalization"
    assert "--opset 16" in answer.mend
    assert "operators.md" in answer.source


def test_plugins_are_no_part_of_tensorrt_rtx() -> None:
    node = only("y = NonZero(x)", "float[2,3] x")
    assert Parser("11.1").takes(node).verdict == "yes"
    assert "plugin" in Parser("1.7", rtx=True).takes(node).reason


def test_other_domains_are_unknown() -> None:
    node = ir.node("Mine", inputs=[], domain="com.me")
    answer = Parser("10.3").takes(node)
    assert (answer.verdict, "com.me::Mine" in answer.reason) == ("unknown", True)


def test_axes_as_inputs_are_not_read_before_10() -> None:
    body = "axes = Constant <value_ints: ints = [2, 3]> () y = ReduceMean(x, axes)"
    found = verdicts(only(body, "float[1,8,4,4] x", 18), "8.5", "8.6", "9.2", "10.3", "11.1")
    assert found == ["no", "no", "no", "yes", "yes"]
    whole = "axes = Constant <value_ints: ints = [0, 1]> () y = ReduceMean(x, axes)"
    assert verdicts(only(whole, "float[4,4] x", 18), "8.6") != ["no"]
    # ReduceSum has had them as an input since opset 13, which every release reads.
    old = "axes = Constant <value_ints: ints = [2, 3]> () y = ReduceSum(x, axes)"
    assert verdicts(only(old, "float[1,8,4,4] x", 13), "8.0", "8.5") == ["yes", "yes"]


@pytest.mark.parametrize(
    ("body", "signature", "opset", "expected"),
    [
        ("y = MaxPool <kernel_shape = [3,3], dilations = [2,2]> (x)", "x", 13, ["no"] * 4),
        ("y = MaxPool <kernel_shape = [3,3], ceil_mode = 1> (x)", "x", 13, ["yes"] * 4),
        ("y = AveragePool <kernel_shape = [3,3], pads = [0,0,2,2]> (x)", "x", 13, None),
        (
            's = Constant <value_floats = [1.0,1.0,2.0,2.0]> () y = Resize <mode="cubic"> (x,,s)',
            "x",
            13,
            ["no", "yes", "yes", "yes"],
        ),
        (
            "y = AveragePool <kernel_shape = [320, 320]> (x)",
            "x",
            13,
            ["unknown", "unknown", "no", "no"],
        ),
        ("y = AveragePool <kernel_shape = [316, 316]> (x)", "x", 13, ["yes"] * 4),
        ('y = Einsum <equation = "nchw,nchw->nchw"> (x, x)', "x", 13, ["yes"] * 4),
        ('y = Einsum <equation = "NCHW->NC"> (x)', "x", 13, ["no"] * 4),
        (
            "k = Constant <value_ints = [2]> () y, i = TopK <largest = 0> (x, k)",
            "x",
            13,
            ["no", "yes", "yes", "yes"],
        ),
    ],
)
def test_restrictions_of_releases(
    body: str, signature: str, opset: int, expected: list[str] | None
) -> None:
    found = verdicts(only(body, f"float[1,8,8,8] {signature}", opset), "8.2", "8.5", "10.3", "11.1")
    assert found == (expected or ["no", "no", "yes", "yes"])


def test_inputs_have_a_type_and_a_rank_that_are_had() -> None:
    def value(dtype: ir.DataType | None, *shape: int | str | None) -> ir.Value:
        type_ = None if dtype is None else ir.TensorType(dtype)
        return ir.Value(name="v", type=type_, shape=ir.Shape(shape))

    parser = Parser("8.2")
    assert parser.takes_value(value(ir.DataType.FLOAT, 1, 3, "H", None)).verdict == "yes"
    assert parser.takes_value(value(ir.DataType.INT64, 4)).verdict == "yes"
    assert parser.takes_value(value(ir.DataType.UINT8, 4)).verdict == "no"
    assert Parser("8.5").takes_value(value(ir.DataType.UINT8, 4)).verdict == "yes"
    assert parser.takes_value(value(ir.DataType.BFLOAT16, 4)).verdict == "no"
    assert Parser("10.3").takes_value(value(ir.DataType.BFLOAT16, 4)).verdict == "yes"
    assert parser.takes_value(value(ir.DataType.STRING, 4)).verdict == "no"
    assert parser.takes_value(value(ir.DataType.FLOAT, *[1] * 9)).verdict == "no"
    assert parser.takes_value(value(None, 4)).verdict == "unknown"
    sequence = ir.Value(name="s", type=ir.SequenceType(ir.TensorType(ir.DataType.FLOAT)))
    assert parser.takes_value(sequence).verdict == "no"


@pytest.mark.parametrize(
    ("body", "inputs", "opset", "expected"),
    [
        # What is asked of 8.0, 8.2, 8.5, 8.6, 10.3 and 11.1.
        ("y = Clip(x, a, b)", "float[4] x, float a, float b", 13, "nyyyyy"),
        ("y = Pow(x, a)", "float[4] x, int64 a", 13, "nnnnny"),
        ("y = Gemm(x, x)", "int32[4,4] x", 13, "nnnnnn"),
        ("y = Relu(x)", "int64[4] x", 14, "nnnnyy"),
        ("y = ArgMax(x)", "int32[4,4] x", 13, "nnnyyy"),
        ("y = Where(c, x, x)", "bool[4] c, bool[4] x", 13, "nnyyyy"),
        ("y = Conv(x, w, b)", "float[1,4,8,8] x, float[4,4,3,3] w, float[4] b", 13, "nnyyyy"),
        ("y = InstanceNormalization(x, w, w)", "float[1,4,8] x, float[4] w", 13, "nnnnyy"),
        ("y = QuantizeLinear(x, s)", "float[4] x, float s", 13, "nnn???"),
        ("y = DequantizeLinear(x, s)", "int8[4] x, float s", 13, "nnn?yy"),
        ("y, i = TopK(x, k)", "float[4,4] x, int64[1] k", 13, "nnnyyy"),
        ("y = CumSum(x, a)", "float[4] x, int64 a", 14, "nnnnny"),
        ('y = Einsum <equation = "...ij->...ji"> (x)', "float[1,4,4] x", 13, "nnn??y"),
        ("y = Trilu(x)", "float[1,2,4,4] x", 14, "nnnyyy"),
        ('y = Pad <mode = "reflect"> (x, p)', "float[1,4,8,8] x, int64[8] p", 13, "nyyyyy"),
        ('y = Pad <mode = "wrap"> (x, p)', "float[1,4,8,8] x, int64[8] p", 19, "nnnnyy"),
        (
            "y = GroupNormalization <num_groups = 2> (x, w, w)",
            "float[1,4,8] x, float[4] w",
            21,
            "nnnnny",
        ),
        (
            'y = ScatterElements <reduction = "add"> (x, i, x)',
            "float[4] x, int64[4] i",
            16,
            "nnnnyy",
        ),
        ("y = GridSample(x, g)", "float[1,2,4,4,4] x, float[1,4,4,4,3] g", 20, "nnnnnn"),
        ("y = Cast <to = 16> (x)", "float[4] x", 13, "nnnnyy"),
    ],
)
def test_what_changed_between_releases(body: str, inputs: str, opset: int, expected: str) -> None:
    releases = ("8.0", "8.2", "8.5", "8.6", "10.3", "11.1")
    found = verdicts(only(body, inputs, opset), *releases)
    letters = "".join({"yes": "y", "no": "n", "unknown": "?"}[one] for one in found)
    assert letters == expected


def test_a_scaled_product_in_half_precision_needs_a_parser_that_scales_in_it() -> None:
    scaled = only("y = Gemm<alpha = 0.5>(x, w)", "float16[2, 3] x, float16[3, 4] w")
    plain = only("y = Gemm(x, w)", "float16[2, 3] x, float16[3, 4] w")
    assert Parser("1.4", rtx=True).takes(scaled).verdict == "no"
    assert Parser("1.5", rtx=True).takes(scaled).verdict == "yes"
    assert verdicts(scaled, "10.16", "11.1") == ["unknown", "yes"]
    assert verdicts(plain, "10.16") == ["yes"]


def test_of_a_version_to_come_nothing_is_known():
    assert Parser("11.9").is_known().verdict == "yes"
    answer = Parser("99").is_known()
    assert (answer.verdict, answer.mend) == ("unknown", "Ask the device itself: --on HOST")


def test_what_is_no_version_is_refused():
    assert Parser("8").takes_opset(13).verdict == "yes"
    for version in ("8.5abc", "v8.5", "", "8."):
        with pytest.raises(InputError, match="is no version of TensorRT"):
            Parser(version)
