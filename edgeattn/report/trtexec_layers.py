"""Layer information of a trace, as `trtexec --exportLayerInfo` writes it.

An engine's is what TensorRT said of it, with the keys of all versions: TensorRT 8 to 10 write the
type and layout of a tensor as one string, and names of inputs and outputs alone; from 11 on both
are split, and `I/O Tensors` are objects.

A saved trace of an engine has its kernels alone, without the shapes of their tensors: each tensor
is written as a vector there, and all of a kernel's are of one size and add up to the bytes that it
moves. Other runtimes have no layers of TensorRT's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.records.layers import BITS, Binding, KernelTensor, LayerInformation
from edgeattn.records.layers import Kernel as Layer
from edgeattn.records.trace import Kernel, Trace

#: TensorRT's names of element types, by ours.
_TYPES: Final = {
    "fp32": "Float", "fp16": "Half", "bf16": "BFloat16", "fp8": "FP8", "fp4": "FP4",
    "e8m0": "E8M0", "int64": "Int64", "int32": "Int32", "int8": "Int8", "uint8": "UInt8",
    "int4": "Int4", "bool": "Bool",
}  # fmt: skip
# The one string of TensorRT 8 to 10 names the type, or says that it is not known.
_IN_ONE: Final = re.compile(
    r"\b(?:FP\d+|BF16|U?INT\d+|BOOL|Float|Half|BFloat16)\b|dynamic shapes", re.IGNORECASE
)
_COUNTED: Final = frozenset({"Weights", "Bias"})


def check_runtime(runtime: str) -> None:
    """Check that a runtime has layer information.

    Args:
        runtime: The runtime.

    Raises:
        InputError: It has none.
    """
    if runtime in ("onnxruntime", "openvino", "torch"):
        raise InputError(
            f"Layer information is TensorRT's, and {runtime} has none.",
            mend="Its kernels are in --output, --export-profile and --trace; or profile it by"
            " TensorRT: --device NAME of a GPU.",
        )


def layer_info_json(trace: Trace, information: LayerInformation | None = None) -> dict[str, Any]:
    """Return what `trtexec --exportLayerInfo` writes.

    Args:
        trace: The trace.
        information: The layer information that the trace's kernels were made of: its first kernels
            are these. None for a saved trace, which does not keep it.

    Returns:
        A layer for each kernel, by the trace's names, in the order of `profile_json`.

    Raises:
        InputError: The trace is of another runtime.
    """
    check_runtime(trace.runtime)
    if information is None:
        layers = [_of_kernel(kernel) for kernel in trace.kernels]
        return {"Layers": layers, "Bindings": _ends(trace.kernels)}
    own = list(zip(trace.kernels, information.kernels, strict=False))
    document = {
        "Layers": [
            *(_layer(layer, kernel.name) for kernel, layer in own),
            *(_of_kernel(kernel) for kernel in trace.kernels[len(own) :]),
        ],
        "Bindings": [binding.name for binding in information.bindings],
    }
    if all(binding.dtype for binding in information.bindings):
        document["I/O Tensors"] = [_binding(binding) for binding in information.bindings]
    return document


def _layer(layer: Layer, name: str) -> dict[str, Any]:
    counted = [one for one in layer.constants if one.name in _COUNTED and not one.layout]
    return {
        "Name": name,
        "LayerType": layer.kind,
        "Inputs": [_tensor(one) for one in layer.inputs],
        "Constants": [_tensor(one) for one in layer.constants if one not in counted],
        "Outputs": [_tensor(one) for one in layer.outputs],
        **{one.name: {"Type": _TYPES[one.dtype], "Count": one.shape[0]} for one in counted},
        "TacticName": layer.tactic,
        "StreamId": layer.stream,
        "Metadata": _metadata(layer.nodes),
    }


def _tensor(tensor: KernelTensor) -> dict[str, Any]:
    found = {"Name": tensor.name, "Location": "Device", "Dimensions": list(tensor.shape)}
    if tensor.strides:
        found["Strides"] = list(tensor.strides)
    if not tensor.dtype or _IN_ONE.search(tensor.layout):
        return found | {"Format/Datatype": tensor.layout}
    dtype = _TYPES[tensor.dtype]
    return found | {"Format/Datatype": dtype, "Datatype": dtype, "Format": tensor.layout}


def _metadata(nodes: Sequence[str]) -> str:
    return "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)


def _binding(binding: Binding) -> dict[str, Any]:
    return {
        "Name": binding.name,
        "IOMode": "Input" if binding.is_input else "Output",
        "DataType": _TYPES[binding.dtype],
        "Dimensions": list(binding.shape),
        "ProfileInfo": [
            dict(zip(("MinShape", "OptShape", "MaxShape"), map(list, shapes), strict=True))
            for shapes in binding.profiles
        ],
    }


def _of_kernel(kernel: Kernel) -> dict[str, Any]:
    dtype = kernel.precision or "fp32"
    tensors = len(kernel.inputs) + len(kernel.outputs)
    elements = 8 * (kernel.traffic_bytes or 0) // (BITS[dtype] * max(tensors, 1))

    def tensor(name: str) -> dict[str, Any]:
        return {
            "Name": name,
            "Location": "Device",
            "Dimensions": [elements],
            "Format/Datatype": _TYPES[dtype],
        }

    return {
        "Name": kernel.name,
        "LayerType": kernel.op,
        "Inputs": [tensor(name) for name in kernel.inputs],
        "Outputs": [tensor(name) for name in kernel.outputs],
        "StreamId": kernel.stream,
        "Metadata": _metadata(kernel.nodes),
    }


def _ends(kernels: Sequence[Kernel]) -> list[str]:
    """Return what is read and not written, and what is written and not read: inputs and outputs."""
    read = {name: None for kernel in kernels for name in kernel.inputs}
    made = {name: None for kernel in kernels for name in kernel.outputs}
    return [name for name in (*read, *made) if (name in read) != (name in made)]
