"""Kernels of engines become kernels of traces; what names alone tell of nodes is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.engine.layer_json import read_json
from edgeattn.engine.plan import plan
from edgeattn.profiling.owners import find_owners
from edgeattn.profiling.sources.engines.kernels import (
    KernelTime,
    macs_of_all,
    trace_kernels,
    unique,
)
from edgeattn.profiling.sources.engines.nodes import guessed_nodes, guessed_sites
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.layers import Kernel, KernelTensor, LayerInformation
from export_tests.engine.nets import small

FILES = Path(__file__).parents[3] / "engine" / "files"
RESNET18 = "a100-80g-pcie_resnet18_b32_fp16"
# 1.814 G multiply-accumulates an image, as published.
RESNET18_MACS = 1_814_073_344


def information(name=RESNET18):
    return read_json(gzip.decompress((FILES / f"{name}.layers.json.gz").read_bytes()).decode())


def tensor(name, *shape, dtype="fp16"):
    return KernelTensor(name=name, shape=shape, strides=(), dtype=dtype, layout="")


def layer(name, kind="kgen", *, nodes=(), shape=(1, 8, 4, 4), weights=(), stream=0):
    return Kernel(
        name=name,
        kind=kind,
        inputs=(tensor("x", *shape),),
        constants=(tensor("w", *weights),) if weights else (),
        outputs=(tensor("y", *shape),),
        tactic="t",
        stream=stream,
        nodes=tuple(nodes),
    )


def engine(*layers):
    return LayerInformation(kernels=layers, bindings=(), form="json")


def test_a_kernel_of_a_trace_says_what_the_engine_says():
    found = trace_kernels(
        engine(layer("c", "correlation", nodes=["a/Conv"], weights=(8, 8, 1, 1), stream=2)),
        [KernelTime(time_us=3.5, interval_us=(2.0, 5.0), bound="traffic")],
    )
    (kernel,) = found
    assert (kernel.name, kernel.op, kernel.kind) == ("c", "correlation", "matmul")
    assert (kernel.time_us, kernel.interval_us, kernel.bound) == (3.5, (2.0, 5.0), "traffic")
    assert kernel.traffic_bytes == 2 * (128 + 64 + 128)
    assert kernel.macs == 16 * 8 * 8
    assert (kernel.inputs, kernel.outputs, kernel.nodes) == (("x",), ("y",), ("a/Conv",))
    assert (kernel.precision, kernel.stream) == ("fp16", 2)


def test_what_is_open_is_not_known():
    open_layer = layer("c", "correlation", shape=(-1, 8, 4, 4), weights=(8, 8, 1, 1))
    (kernel,) = trace_kernels(engine(open_layer), [KernelTime(time_us=1.0)])
    assert kernel.traffic_bytes is None
    assert kernel.macs == 0
    (known,) = trace_kernels(
        engine(layer("c", "correlation", shape=(-1, 8, 4, 4), nodes=["a/Conv"])),
        [KernelTime(time_us=1.0)],
        node_macs={"a/Conv": 7},
    )
    assert known.macs == 7


def test_times_must_be_as_many_as_kernels():
    with pytest.raises(ValueError, match="zip"):
        trace_kernels(engine(layer("a")), [])


def test_the_macs_of_a_real_engine_are_those_of_its_network():
    found = information()
    times = [KernelTime(time_us=1.0)] * len(found.kernels)
    kernels = trace_kernels(found, times)
    assert sum(kernel.macs for kernel in kernels) == 32 * RESNET18_MACS
    assert {kernel.precision for kernel in kernels} == {"fp16"}
    assert [kernel.traffic_bytes for kernel in kernels] == [
        one.traffic_bytes for one in found.kernels
    ]


def test_a_node_that_is_two_kernels_is_computed_in_the_product():
    layers = [
        layer("copy", "kgen", nodes=["a/Conv"]),
        layer("first", "correlation", nodes=["a/Conv", "b/Relu"], weights=(8, 8, 1, 1)),
        layer("second", "correlation", nodes=["a/Conv"], weights=(8, 8, 1, 1)),
        layer("other", "correlation", nodes=["nobody/knows"], weights=(8, 8, 1, 1)),
        layer("pointwise", "kgen", nodes=["c/Mul", "d/MatMul"]),
    ]
    macs = {"a/Conv": 100, "b/Relu": 0, "c/Mul": 0, "d/MatMul": 5}
    assert macs_of_all(layers, macs) == [0, 100, 0, 16 * 64, 5]


def test_a_plan_of_a_model_that_is_at_hand(tmp_path):
    path = small(tmp_path / "small.onnx")
    subject = read_subject(path)
    layers = engine(*plan(path))
    node_macs = {node.name: node.macs for node in subject.nodes}
    times = [KernelTime(time_us=1.0)] * len(layers.kernels)
    of_nodes = trace_kernels(layers, times, node_macs=node_macs)
    of_shapes = trace_kernels(layers, times)
    assert [k.macs for k in of_nodes] == [k.macs for k in of_shapes]
    assert sum(kernel.macs for kernel in of_nodes) == sum(node_macs.values())
    owned = find_owners(of_nodes, {node.name: node for node in subject.nodes})
    assert all(one.shares for one in owned)
    assert {one.owner for one in owned if "Mean" in one.kernel.name} == {"gate"}


@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)", ""])))
def test_names_are_unique_and_tell_where_they_come_from(names):
    found = list(unique(names))
    assert len(set(found)) == len(found) == len(names)
    assert all(new.startswith(old) for old, new in zip(names, found, strict=True))
    if len(set(names)) == len(names):
        assert found == names


def test_nodes_are_told_from_names():
    nodes = {node.name: node for node in guessed_nodes(information())}
    conv = nodes["Conv_0"]
    assert (conv.op_type, conv.module, conv.site) == ("Conv", "", "")
    assert conv.macs == 32 * 64 * 112 * 112 * 147
    relu = nodes["Relu_1"]
    assert (relu.op_type, relu.macs, relu.element_ops) == ("Relu", 0, 32 * 64 * 112 * 112)
    assert sum(node.macs for node in nodes.values()) == 32 * RESNET18_MACS


def test_weights_are_no_nodes():
    found = information("titan-rtx_mobilenetv2-residuals_b1_int8")
    assert any("features.0.0.weight" in kernel.nodes for kernel in found.kernels)
    assert not any("weight" in node.name for node in guessed_nodes(found))


def test_sites_are_told_from_tags():
    nodes = guessed_nodes(
        engine(
            layer("a", "correlation", nodes=["layer1.0.conv1/Conv"], weights=(8, 8, 3, 3)),
            layer("b", nodes=["layer1.0.attention/ReduceMean", "/layer1/layer1.1/attention2/Mul"]),
            layer("c", "correlation", nodes=["layer2.attention.fc/Conv", "x.attentive/Conv"],
                  weights=(8, 8, 1, 1)),
        )
    )  # fmt: skip
    assert [node.site for node in nodes] == [
        "", "layer1.0.attention", "layer1.1.attention2", "layer2.attention", ""
    ]  # fmt: skip
    assert [site.path for site in guessed_sites(nodes)] == [
        "layer1.0.attention", "layer1.1.attention2", "layer2.attention"
    ]  # fmt: skip
    assert [node.module for node in nodes][2:4] == ["layer1.1.attention2", "layer2.attention.fc"]
    # Two products in one kernel share its MACs, and none is lost.
    assert [node.macs for node in nodes] == [16 * 8 * 72, 0, 0, 512, 512]
