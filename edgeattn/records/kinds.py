"""The kind of work that an operator does, as tables of costs distinguish it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

Kind = Literal["matmul", "reduction", "pointwise", "shuffle", "pooling", "normalisation", "other"]

#: From the kind that dominates a fused kernel to the one that matters least.
STRENGTH: Final[tuple[Kind, ...]] = (
    "matmul", "normalisation", "reduction", "pooling", "other", "pointwise", "shuffle",
)  # fmt: skip

_NAMES: Final[Mapping[Kind, str]] = {
    "matmul": (
        "Conv ConvTranspose ConvInteger DeformConv Gemm MatMul MatMulInteger QLinearConv"
        " QLinearMatMul Einsum Attention FusedConv FusedMatMul FusedGemm NhwcFusedConv QGemm"
        " MatMulNBits MultiHeadAttention QLinearConvTranspose DynamicQuantizeMatMul"
        " MatMulIntegerToFloat TransposeMatMul GRU LSTM RNN"
    ),
    # A pool over the whole map is the same sum as a ReduceMean.
    "reduction": (
        "ArgMax ArgMin CumProd CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool Hardmax"
        " LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin"
        " ReduceProd ReduceSum ReduceSumSquare Softmax TopK NonZero QLinearGlobalAveragePool"
        " QLinearReduceMean QLinearSoftmax"
    ),
    "normalisation": (
        "GroupNormalization GroupNorm InstanceNormalization LayerNormalization LpNormalization LRN"
        " MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization"
        " SkipLayerNormalization SkipSimplifiedLayerNormalization SkipGroupNorm"
    ),
    "pooling": "AveragePool LpPool MaxPool QLinearAveragePool MaxUnpool",
    "shuffle": (
        "CenterCropPad Compress Concat ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather"
        " GatherElements GatherND Identity OneHot Pad Range ReorderInput ReorderOutput Reshape"
        " ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze"
        " Tile Transpose Trilu Unsqueeze QLinearConcat Constant Dropout"
    ),
    # What moves values and computes at the same time.
    "other": "Resize Upsample GridSample AffineGrid RoiAlign NonMaxSuppression Loop If Scan",
}
_KINDS: Final[Mapping[str, Kind]] = {
    name: kind for kind, names in _NAMES.items() for name in names.split()
}


def kind_of(op_type: str) -> Kind:
    """Return the kind of an operator, of ONNX or ONNX Runtime; what is not known is pointwise."""
    return _KINDS.get(op_type, "pointwise")


def strongest(kinds: Iterable[Kind]) -> Kind | None:
    """Return the strongest of the kinds in a kernel, or None if there are none."""
    return min(kinds, key=STRENGTH.index, default=None)


def guessed_op_type(node_name: str) -> str:
    """Guess a node's operator from its name: `layer1.0.conv1/Conv_1`, `Conv_12`, `.../Conv2D`.

    Returns:
        The operator, or the last part of the name if it is unknown.
    """
    last = node_name.rpartition("/")[2].rpartition(".")[2]
    stem = last.rstrip("0123456789:").rstrip("_")
    return _FOREIGN.get(stem, stem)


# TensorFlow's names, as tf2onnx keeps them.
_FOREIGN: Final = {
    "Conv2D": "Conv", "FusedBatchNormV3": "BatchNormalization", "BiasAdd": "Add", "AddV2": "Add",
    "MaxPool2D": "MaxPool", "AvgPool": "AveragePool", "Mean": "ReduceMean", "Max": "ReduceMax",
    "DepthwiseConv2dNative": "Conv", "depthwise": "Conv",
}  # fmt: skip
