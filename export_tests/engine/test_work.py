"""What a kernel computes: its kind and its MACs, of every TensorRT."""

from __future__ import annotations

import pytest

from edgeattn.engine.work import kind_of, macs_of, product_of
from export_tests.profiling.predict.gpu.kernels import convolution, kernel, real, tensor, weights

X, Y = tensor("x", (1, 64, 56, 56)), tensor("y", (1, 64, 56, 56))


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ("CaskConvolution CudaDepthwiseConvolution FusedConvActConvolution", "matmul"),
        ("CaskGemmConvolution CudnnConvolution CaskDeconvolution CaskFullyConnected", "matmul"),
        ("MatrixMultiply CublasGemm correlation gemm", "matmul"),
        ("CudaPooling CaskPooling TiledPooling CudnnPooling maxpool avgpool", "pooling"),
        ("Reduce CudaSoftMax SoftMaxV2 TopK", "reduction"),
        ("Normalization InstanceNormalization LRN", "normalisation"),
        ("Reformat Shuffle Gather Scatter", "shuffle"),
        ("PointWise PointWiseV2 PWN ElementWise Activation Scale Unary", "pointwise"),
        ("ParametricReLU Cast Padding Slice Concatenation Resize", "pointwise"),
        ("Myelin PluginV2 Loop runtime_function", "other"),
    ],
)
def test_kinds_by_layer(layers, kind):
    found = {layer: kind_of(kernel("k", layer, [X], [Y])) for layer in layers.split()}
    assert found == dict.fromkeys(layers.split(), kind)


# Names of kernels as TensorRT-RTX prints them.
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("__myl_Move_myl0_0", "shuffle"),
        ("__myl_CastConc_myl0_0", "shuffle"),
        ("__myl_ReshConcResh_myl0_2", "shuffle"),
        ("__myl_TranMean_myl0_5", "reduction"),
        ("__myl_TranMeanSubMulMean_myl0_6", "reduction"),
        ("__myl_SeleMulSum_myl0_7", "reduction"),
        ("__myl_ReshAddReshSigmMulNegMulMaxrMeanSele_myl0_9", "reduction"),
        ("__myl_ReshAddDivReshNegMulAddMulMulAddSigmMul_myl0_7", "pointwise"),
        ("__myl_MulMinMaxRounCast_myl0_4", "pointwise"),
        ("__myl_CorrMulAddRelu_myl0_15", "matmul"),
        ("__myl_FcAddCast_myl0_54", "matmul"),
    ],
)
def test_kinds_by_myelins_steps(name, kind):
    assert kind_of(kernel(name, "kgen", [X], [Y])) == kind


# MACs of one image at 224x224, as FLOP counters give them for torchvision's models.
RESNET18, MOBILENETV2 = 1_814_073_344, 300_774_272


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("a100-80g-pcie_resnet18_b32_fp16", 32 * RESNET18),
        ("a100-80g-pcie_resnet18_b32_tf32", 32 * RESNET18),
        # TensorFlow's ResNet-50 has its strides in the 1x1 convolutions.
        ("rtx3090_resnet50_b32_fp16", 32 * 3_857_973_248),
        ("titan-rtx_mobilenetv2-residuals_b1_int8", MOBILENETV2),
    ],
)
def test_macs_of_real_engines(name, macs):
    assert sum(macs_of(one) for one in real(name)) == macs


def test_a_count_of_weights_is_enough():
    whole = convolution(channels=(64, 128))
    alone = kernel("k", whole.kind, whole.inputs, whole.outputs, [weights((128 * 64 * 9,))])
    for one in (whole, alone):
        found = product_of(one)
        assert (found.rows, found.columns, found.depth, found.channels, found.groups) == (
            56 * 56, 128, 576, 64, 1,
        )  # fmt: skip


@pytest.mark.parametrize("shape", [(128, 4, 3, 3), (128 * 4 * 9,)])
def test_groups(shape):
    """ResNeXt's: 32 groups of four channels."""
    x, y = (tensor(name, (1, 128, 28, 28)) for name in "xy")
    found = product_of(kernel("k", "CaskConvolution", [x], [y], [weights(shape)]))
    assert (found.groups, found.columns, found.channels, found.area) == (32, 4, 4, 9)
    assert found.macs == 28 * 28 * 128 * 4 * 9
    assert not found.is_depthwise


@pytest.mark.parametrize("layer", ["CudaDepthwiseConvolution", "CaskConvolution"])
@pytest.mark.parametrize("shape", [(144, 1, 3, 3), (144 * 9,)])
def test_depthwise(layer, shape):
    x, y = tensor("x", (1, 144, 56, 56)), tensor("y", (1, 144, 28, 28))
    found = product_of(kernel("k", layer, [x], [y], [weights(shape)]))
    assert found.is_depthwise
    assert (found.macs, found.step) == (28 * 28 * 144 * 9, 4)


def test_a_gate_before_the_data():
    """TensorRT-RTX fuses SE's gate into the next convolution, and names it first."""
    gate, x = tensor("gate", (1, 256, 1, 1)), tensor("x", (1, 64, 56, 56))
    y = tensor("y", (1, 256, 56, 56))
    constants = [weights((256, 64, 1, 1)), weights((1, 256, 1, 1))]
    found = product_of(kernel("__myl_CorrMul_myl0_8", "runtime_fusion", [gate, x], [y], constants))
    assert found.data.name == "x"
    assert (found.rows, found.columns, found.depth) == (56 * 56, 256, 64)


@pytest.mark.parametrize(
    ("read", "shape", "write", "product"),
    [
        ((1, 2048), (2048, 1000), (1, 1000), (1, 1000, 2048)),
        ((1, 960, 49), (1, 320, 960), (1, 320, 49), (49, 320, 960)),
        ((8, 197, 384), (384, 384), (8, 197, 384), (8 * 197, 384, 384)),
        ((8, 768, 384), (384, 96), (8, 768, 96), (8 * 768, 96, 384)),
    ],
)
def test_matrices(read, shape, write, product):
    one = kernel(
        "__myl_FcAdd_myl0_1",
        "runtime_fusion",
        [tensor("x", read)],
        [tensor("y", write)],
        [weights((1, write[-1])), weights(shape)],
    )
    found = product_of(one)
    assert (found.rows, found.columns, found.depth) == product
    assert found.groups == 1


def test_a_product_of_two_activations():
    """Attention: 8 heads of 32 channels, over 49 places."""
    query, key = tensor("q", (8, 49, 32)), tensor("k", (8, 32, 49))
    scores = kernel("k", "gemm", [query, key], [tensor("s", (8, 49, 49))], [weights((1,), "fp32")])
    assert macs_of(scores) == 8 * 49 * 32 * 49


def test_a_deconvolution():
    """Each of 14x14 places makes 2x2 of 64 channels, out of 128."""
    x, y = tensor("x", (1, 128, 14, 14)), tensor("y", (1, 64, 28, 28))
    up = kernel("k", "CaskDeconvolution", [x], [y], [weights((128 * 64 * 4,))])
    assert macs_of(up) == 14 * 14 * 128 * 64 * 4


def test_what_has_none():
    for one in (
        kernel("k", "PointWiseV2", [X], [Y]),
        kernel("{ForeignNode[a...b]}", "Myelin", [X], [Y]),
        kernel("k", "gemm", [X], [Y]),
    ):
        assert macs_of(one) == 0
        assert product_of(one) is None
