"""What a kernel computes in, and what counts as work."""

from __future__ import annotations

import pytest

from edgeattn.records.layers import BITS, Binding, Kernel, KernelTensor, LayerInformation, dtype_of


def tensor(dtype, shape=(1, 8, 16, 16), name="t"):
    return KernelTensor(name=name, shape=shape, strides=(), dtype=dtype, layout="")


def kernel(kind="kgen", name="k", reads=(), weights=(), writes=(), tactic="t"):
    return Kernel(
        name=name,
        kind=kind,
        inputs=tuple(reads),
        constants=tuple(weights),
        outputs=tuple(writes),
        tactic=tactic,
        stream=0,
        nodes=(),
    )


HALF, FLOAT, INT8, INDEX = (tensor(d) for d in ("fp16", "fp32", "int8", "int64"))
SCALE, ALPHA = tensor("fp32", (1, 8, 1, 1)), tensor("fp32", (1,))


def weights(dtype):
    return tensor(dtype, (8, 8, 3, 3))


@pytest.mark.parametrize(
    ("one", "precision"),
    [
        (kernel(reads=[HALF], writes=[HALF]), "fp16"),
        (kernel(reads=[HALF, FLOAT], writes=[HALF]), "fp32"),
        (kernel(reads=[HALF], writes=[FLOAT]), "fp32"),
        (kernel(reads=[HALF], weights=[SCALE], writes=[HALF]), "fp16"),
        (kernel(reads=[tensor("bf16")], writes=[tensor("bf16")]), "bf16"),
        (kernel(reads=[INT8], writes=[INT8]), "int8"),
        (kernel(reads=[INDEX, tensor("bool")], writes=[INDEX]), ""),
        (kernel(reads=[INDEX, HALF], writes=[HALF]), "fp16"),
        (
            kernel("correlation", reads=[HALF], weights=[weights("fp16"), ALPHA], writes=[HALF]),
            "fp16",
        ),
        (kernel("correlation", reads=[FLOAT], weights=[weights("fp32"), ALPHA]), "fp32"),
        (
            kernel("correlation", reads=[INT8], weights=[weights("int8"), SCALE], writes=[FLOAT]),
            "int8",
        ),
        (kernel("CaskConvolution", reads=[INT8], weights=[weights("fp32")], writes=[HALF]), "int8"),
        (kernel("gemm", reads=[HALF], weights=[weights("int4"), SCALE], writes=[HALF]), "fp16"),
        (kernel("gemm", reads=[HALF, HALF], weights=[ALPHA], writes=[HALF]), "fp16"),
        (kernel("gemm", reads=[tensor("fp8")], weights=[weights("fp8")], writes=[HALF]), "fp8"),
        (kernel(name="__myl_Cast_myl0_0", reads=[FLOAT], writes=[HALF]), "fp16"),
        (kernel(name="__myl_CastTran_myl0_0", reads=[HALF], writes=[FLOAT]), "fp16"),
        (kernel(name="__myl_CastMul_myl0_0", reads=[FLOAT], writes=[HALF]), "fp32"),
        (kernel(name="__myl_Tran_myl0_0", reads=[FLOAT], writes=[FLOAT]), "fp32"),
        (kernel("Reformat", reads=[FLOAT], writes=[INT8]), "int8"),
    ],
)
def test_precision(one, precision):
    assert one.precision == precision


def test_the_networks_own_tensors_do_not_make_a_kernel_wide():
    own = tensor("fp32", name="x")
    fused = kernel(name="__myl_CastMul_myl0_0", reads=[own], writes=[HALF])
    alone = kernel(reads=[own], writes=[tensor("fp32", name="y")])
    bindings = tuple(
        Binding(name=name, is_input=name == "x", dtype="fp32", shape=(1,), profiles=())
        for name in "xy"
    )
    information = LayerInformation(kernels=(fused, alone), bindings=bindings, form="log")
    assert (fused.precision, information.precision(fused)) == ("fp32", "fp16")
    assert information.precision(alone) == "fp32"


SIZES = tensor("int64", (4,))


@pytest.mark.parametrize(
    ("one", "is_work"),
    [
        (kernel(reads=[HALF], writes=[HALF], tactic=""), True),
        (kernel("signal"), False),
        (kernel("wait"), False),
        (kernel("shape_call", tactic=""), False),
        (kernel("NoOp", reads=[HALF], writes=[HALF]), False),
        (kernel("reshape", writes=[SIZES], tactic=""), False),
        (kernel("cast", reads=[SIZES], writes=[SIZES], tactic=""), False),
        (kernel("kgen", reads=[SIZES], writes=[SIZES]), True),
        (kernel("Cast", reads=[INDEX], writes=[INDEX], tactic=""), True),
    ],
)
def test_work(one, is_work):
    assert one.is_work is is_work


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("Float", "fp32"), ("Half", "fp16"), ("BFloat16", "bf16"), ("FP32", "fp32"), ("INT8", "int8"),
     ("Int4", "int4"), ("UInt8", "uint8"), ("Bool", "bool"), ("FP4", "fp4"), ("Odd", "")],
)  # fmt: skip
def test_types(name, dtype):
    assert dtype_of(name) == dtype
    assert not dtype or dtype in BITS
