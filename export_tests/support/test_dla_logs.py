"""The rules of a DLA against build logs of devices: none may say the contrary of what one shows."""

from __future__ import annotations

import pytest

from edgeattn.support.dla import DLA
from edgeattn.support.stretches import stretches
from export_tests.support.graphs import graph

ORIN = DLA("orin", "10.3.0", "fp16")
ORIN_85 = DLA("orin", "8.5.2", "fp16")
XAVIER = DLA("xavier", "8.5.2", "fp16")

# By log: the DLA, the weights, the body, and which of its nodes ran there and which on the GPU, by
# what they give. What a log does not name is in neither.
LOGS = {
    # {ForeignNode[/conv1/Conv.../layer4/layer4.2/relu_2/Relu]}, {ForeignNode[/fc/Gemm + ...]}
    "resnet50": (
        ORIN,
        {"w": [8, 3, 7, 7], "v": [8, 8, 3, 3], "f": [10, 8]},
        "float[1,3,32,32]",
        """stem = Conv <strides=[2,2], pads=[3,3,3,3]> (x, w)
        a = Relu(stem) pool = MaxPool <kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]> (a)
        b = Conv <pads=[1,1,1,1]> (pool, v) add = Add(b, pool) c = Relu(add)
        mean = GlobalAveragePool(c) flat = Flatten(mean) y = Gemm <transB=1> (flat, f)""",
        "stem a pool b add c y",
        "mean flat",
    ),
    # [GpuLayer] PLUGIN_V2: InstanceNormalization_5, SCALE: 71 + ... + Mul_8, ... + Add_9
    "group norms of NVIDIA's tutorial": (
        DLA("orin", "8.4.0", "int8"),
        {"w": [64, 3, 3, 3], "s": [32], "g": [64, 1, 1]},
        "float[32,3,32,32]",
        """conv = Conv <pads=[1,1,1,1]> (x, w)
        n = Constant <value_ints=[0,32,-1]>() r = Reshape(conv, n)
        norm = InstanceNormalization(r, s, s) m = Constant <value_ints=[32,64,32,32]>()
        back = Reshape(norm, m) mul = Mul(back, g) add = Add(mul, g) y = Relu(add)""",
        "conv y",
        "r norm back mul add",
    ),
    "batch norms of NVIDIA's tutorial": (
        DLA("orin", "8.5.2", "int8"),
        {"w": [64, 3, 3, 3], "s": [64], "f": [10, 64]},
        "float[32,3,32,32]",
        """conv = Conv <pads=[1,1,1,1]> (x, w) norm = BatchNormalization(conv, s, s, s, s)
        a = Relu(norm) pool = GlobalAveragePool(a) flat = Flatten(pool)
        y = Gemm <transB=1> (flat, f)""",
        "conv norm a y",
        "pool",
    ),
    # Div_7: DIV; HardSigmoid_9, _34: HARD_SIGMOID; GlobalAveragePool_30. The Sub before Div_7, and
    # the Mul between HardSigmoid_34 and the next pool, are not among what is refused.
    "MobileNetV3": (
        ORIN_85,
        {"m": [1, 3, 1, 1], "w": [16, 3, 3, 3], "v": [16, 16, 1, 1]},
        "float[1,3,32,32]",
        """sub = Sub(x, m) div = Div(sub, m) conv = Conv(div, w) hard = HardSigmoid(conv)
        swish = Mul(conv, hard) pool = GlobalAveragePool(swish) squeeze = Conv(pool, v)
        gate = HardSigmoid(squeeze) y = Mul(swish, gate)""",
        "sub conv swish squeeze y",
        "div hard pool gate",
    ),
    # {ForeignNode[/model.0/conv/Conv.../model.10/m/m.0/attn/qkv/conv/Conv]},
    # {ForeignNode[/model.10/m/m.0/attn/Split.../model.10/m/m.0/attn/Transpose]}; the Reshape before
    # the Split fails validation, and MatMul is unsupported.
    "YOLO26 on a Xavier": (
        XAVIER,
        {"w": [64, 3, 3, 3], "v": [64, 32, 1, 1]},
        "float[1,3,32,32]",
        """conv = Conv <strides=[2,2]> (x, w) s = Sigmoid(conv) silu = Mul(conv, s)
        a, b = Split <axis=1> (silu) c = Concat <axis=1> (b, a)
        p = MaxPool <kernel_shape=[5,5], pads=[2,2,2,2]> (a) qkv = Conv(p, v)
        n = Constant <value_ints=[1,2,32,225]>() heads = Reshape(qkv, n)
        q, k = Split <axis=2> (heads) turned = Transpose <perm=[0,1,3,2]> (q)
        y = MatMul(turned, k)""",
        "conv s silu a c p qkv q turned",
        "heads y",
    ),
    "YOLO's head": (
        XAVIER,
        {"w": [144, 8, 1, 1]},
        "float[1,8,20,20]",
        """conv = Conv(x, w) n = Constant <value_ints=[1,144,-1]>() flat = Reshape(conv, n)
        whole = Concat <axis=2> (flat, flat) box, scores = Split <axis=1> (whole)
        four = Constant <value_ints=[1,4,18,800]>() dfl = Reshape(box, four)
        t = Constant <value_ints=[1,1,2]>() y = Tile(scores, t)""",
        "conv",
        "flat whole box dfl y",
    ),
    "the upsampling of YOLO's neck": (
        ORIN_85,
        {},
        "float[1,8,20,20]",
        """s = Constant <value_floats=[1.0,1.0,2.0,2.0]>()
        y = Resize <coordinate_transformation_mode="asymmetric", nearest_mode="floor"> (x, , s)""",
        "y",
        "",
    ),
    "a softmax over channels, of YOLO11-DLA": (
        ORIN, {}, "float[1,32,20,20]", "y = Softmax <axis=1> (x)", "y", "",
    ),
    "spatial pyramid pools of YOLOX": (
        ORIN,
        {},
        "float[1,32,20,20]",
        """a = MaxPool <kernel_shape=[5,5], pads=[2,2,2,2]> (x)
        b = MaxPool <kernel_shape=[9,9], pads=[4,4,4,4]> (x)
        c = MaxPool <kernel_shape=[13,13], pads=[6,6,6,6]> (x) y = Concat <axis=1> (a, b, c)""",
        "a y",
        "b c",
    ),
    "layer norms and GELU of SAM 2.1": (
        ORIN,
        {"e": [1], "two": [1]},
        "float[1,32,20,20]",
        """mean = ReduceMean <axes=[1]> (x) centred = Sub(x, mean) square = Pow(centred, two)
        variance = ReduceMean <axes=[1]> (square) more = Add(variance, e) root = Sqrt(more)
        normed = Div(centred, root) scaled = Div(normed, e) erf = Erf(scaled) y = Floor(erf)""",
        "",
        "mean square variance root normed scaled erf y",
    ),
    # 34 MATRIX_MULTIPLY, 30 NORMALIZATION, 12 SELECT unsupported; islands of the encoder's Mul.
    "attention of DETR": (
        ORIN,
        {"scale": [1], "g": [32]},
        "float[1,8,850,32]",
        """turned = Transpose <perm=[0,1,3,2]> (x) q = Mul(x, scale) k = Mul(turned, scale)
        scores = MatMul(q, k) s = Softmax <axis=-1> (scores) nan = IsNaN(s)
        masked = Where(nan, scale, s) y = MatMul(masked, x)
        normed = LayerNormalization (y, g, g)""",
        "q k s",
        "scores masked y normed",
    ),
    # Dimension: 3 (22680) exceeds maximum allowed size for DLA: 8192
    "a long head": (
        ORIN, {}, "float[1,144,22680]", "y = Sigmoid(x)", "", "y",
    ),
    "Identity nodes that give outputs": (
        ORIN_85, {}, "float[1,32,20,20]", "a = Relu(x) y = Identity(a)", "a", "y",
    ),
    # node_of_Y: Unary operation: CEIL is not supported on DLA.
    "Ceil": (DLA("orin", "8.6.12", "int8"), {}, "float[1,3,4,4]", "y = Ceil(x)", "", "y"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_no_rule_contradicts_a_log(name):
    unit, weights, x, body, there, fallen = LOGS[name]
    found = graph(body, x, opset=17, **weights)
    verdicts = {output.name: unit.takes(node).verdict for node in found for output in node.outputs}
    assert not {one for one in there.split() if verdicts[one] == "no"}
    assert not {one for one in fallen.split() if verdicts[one] == "yes"}
    # None of these is left open that a source speaks of.
    assert len([one for one in there.split() if verdicts[one] == "unknown"]) == 0
    assert len([one for one in fallen.split() if verdicts[one] == "unknown"]) == 0


def test_a_resnet50_is_two_loadables_as_on_the_device():
    unit, weights, x, body, _, _ = LOGS["resnet50"]
    found = graph(body, x, opset=14, **weights)
    told = stretches(found, {node: unit.takes(node).verdict for node in found})
    assert (told.loadables, told.changes) == ((2, 2), (2, 2))
