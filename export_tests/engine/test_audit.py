"""The precision audit: what is wider than asked is named, unless it is so by intent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.engine.audit import audit
from edgeattn.records.layers import Binding, Kernel, KernelTensor, LayerInformation


def tensor(name, dtype):
    return KernelTensor(name=name, shape=(1, 64), strides=(64, 1), dtype=dtype, layout="")


def kernel(name, reads, writes, *nodes, kind="kgen"):
    """A kernel; `reads` and `writes` name tensors, and their types behind a colon."""
    return Kernel(
        name=name,
        kind=kind,
        inputs=tuple(tensor(*one.split(":")) for one in reads.split()),
        constants=(),
        outputs=tuple(tensor(*one.split(":")) for one in writes.split()),
        tactic="",
        stream=0,
        nodes=nodes,
    )


def engine(*kernels):
    ends = [
        Binding(name=name, is_input=name == "x", dtype="fp32", shape=(1, 64), profiles=())
        for name in ("x", "y")
    ]
    return LayerInformation(kernels=kernels, bindings=tuple(ends), form="log")


HALF = (
    kernel("first", "x:fp32", "a:fp16", "/Cast", "conv/Conv"),
    kernel("middle", "a:fp16", "b:fp16", "act/Relu"),
    kernel("last", "b:fp16", "y:fp32", "fc/Gemm", "/Cast_1"),
)


def test_the_networks_ends_may_be_float32():
    found = audit(engine(*HALF), "fp16")
    assert found.mismatches == ()
    assert found.built == {"fp32": 0, "fp16": 3, "int8": 0}


def test_a_kernel_that_is_wider_is_named():
    wide = kernel("wide", "a:fp16", "b:fp32", "act/Relu")
    found = audit(engine(HALF[0], wide, kernel("last", "b:fp32", "y:fp32", "fc/Gemm")), "fp16")
    assert [one.kernel for one in found.mismatches] == ["wide", "last"]
    assert found.mismatches[0].nodes == ("act/Relu",)
    assert found.mismatches[0].built == "fp32"


def test_what_the_cast_kept_may_be_float32_and_so_may_what_stands_beside_it():
    square = kernel("square", "a:fp16", "s:fp32", "simam/Mul", "simam/ReduceMean")
    copy = kernel("copy", "s:fp32", "t:fp32")
    gate = kernel("gate", "a:fp16 t:fp32", "b:fp16", "simam/Mul_2")
    layers = engine(HALF[0], square, copy, gate, HALF[2])
    kept = frozenset({"simam/ReduceMean"})
    found = audit(layers, "fp16", kept=kept)
    assert found.mismatches == ()
    assert found.kept == 1
    named = audit(layers, "fp16", kept=frozenset({"other/Mul"})).mismatches
    assert [one.kernel for one in named] == ["square", "copy", "gate"]


def test_the_sums_within_a_node_are_the_librarys_own():
    first = kernel("moments", "a:fp16", "m:fp32 v:fp32", "norm/LayerNormalization")
    second = kernel("scale", "m:fp32 v:fp32", "b:fp16", "norm/LayerNormalization", "act/Relu")
    assert audit(engine(HALF[0], first, second, HALF[2]), "fp16").mismatches == ()
    other = kernel("other", "m:fp32", "c:fp16", "act_1/Relu")
    named = audit(engine(HALF[0], first, second, other, HALF[2]), "fp16").mismatches
    assert [one.kernel for one in named] == ["moments", "scale", "other"]


def test_a_file_in_float32_that_was_taken_for_half():
    layers = engine(
        kernel("conv", "x:fp32", "a:fp32", "conv/Conv"),
        kernel("fc", "a:fp32", "y:fp32", "fc/Gemm"),
    )
    assert len(audit(layers, "fp16").mismatches) == 2
    assert audit(layers, "fp32").mismatches == ()


def test_half_where_float32_was_asked():
    assert [one.kernel for one in audit(engine(*HALF), "fp32").mismatches] == [
        one.name for one in HALF
    ]


def test_of_int8_the_quantised_nodes_count():
    layers = engine(
        kernel("quantise", "x:fp32", "a:int8", "x/QuantizeLinear"),
        kernel("conv", "a:int8", "b:int8", "conv/Conv"),
        kernel("scale", "b:int8", "b2:fp32", "conv/Conv"),
        kernel("gate", "b2:fp32", "c:fp32", "gate/Sigmoid"),
        kernel("lost", "c:fp32", "y:fp32", "fc/Gemm"),
    )
    found = audit(layers, "int8", quantised=frozenset({"conv/Conv", "fc/Gemm"}))
    assert [one.kernel for one in found.mismatches] == ["lost"]
    assert found.built["int8"] >= 1


@given(st.lists(st.sampled_from(["fp32", "fp16", "int8", "int32"]), min_size=1, max_size=12))
def test_every_kernel_that_handles_numbers_is_counted(types):
    kernels = [kernel(f"k{i}", f"a{i}:{t}", f"b{i}:{t}", f"n{i}") for i, t in enumerate(types)]
    found = audit(engine(*kernels), "fp16")
    assert sum(found.built.values()) == sum(t != "int32" for t in types)
    assert len(found.mismatches) == sum(t in ("fp32", "int8") for t in types)


@pytest.mark.parametrize("asked", ["fp32", "fp16", "int8"])
def test_an_engine_without_kernels(asked):
    assert audit(engine(), asked).mismatches == ()
