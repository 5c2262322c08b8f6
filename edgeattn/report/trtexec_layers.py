"""Layer information of a trace, as `trtexec --exportLayerInfo` writes it.

An engine's is what TensorRT said of it, with the keys of all versions: TensorRT 8 to 10 write the
type and layout of a tensor as one string, and names of inputs and outputs alone; from 11 on both
are split, and `I/O Tensors` are objects.

Other runtimes have no layers of TensorRT's, and a saved trace does not keep them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.records.layers import Binding, KernelTensor, LayerInformation
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
    if runtime in ("onnxruntime", "torch"):
        raise InputError(
            f"Layer information is TensorRT's, and {runtime} has none.",
            mend="Its kernels are in --output, --export-profile and --trace; or profile it by"
            " TensorRT: --device NAME of a GPU.",
        )


def layer_info_json(trace: Trace, information: LayerInformation | None) -> dict[str, Any]:
    """Return what `trtexec --exportLayerInfo` writes.

    Args:
        trace: The trace.
        information: The layer information that the trace's kernels were made of: its first kernels
            are these, and what follows took time and is not listed there. None if it is not kept.

    Returns:
        A layer for each kernel, by the trace's names, in the order of `profile_json`.

    Raises:
        InputError: There is no layer information.
    """
    check_runtime(trace.runtime)
    if information is None:
        raise InputError(
            f"The trace of {trace.name} keeps no layer information.",
            mend="Profile the engine again: edgeattn profile ENGINE --export-layer-info FILE.json",
        )
    own = list(zip(trace.kernels, information.kernels, strict=False))
    document = {
        "Layers": [
            *(_layer(layer, kernel.name) for kernel, layer in own),
            *(_unlisted(kernel) for kernel in trace.kernels[len(own) :]),
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


def _unlisted(kernel: Kernel) -> dict[str, Any]:
    return {
        "Name": kernel.name,
        "LayerType": kernel.op,
        "Inputs": [],
        "Outputs": [],
        "StreamId": kernel.stream,
        "Metadata": _metadata(kernel.nodes),
    }
