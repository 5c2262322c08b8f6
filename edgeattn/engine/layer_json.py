"""Reads layer information in JSON, of the engine inspector or `trtexec --exportLayerInfo`.

TensorRT 8 to 10 write `Bindings`, a list of names, and the format and type of a tensor in one
string; from 11 on there is `I/O Tensors`, a list of objects, and the string is split. Weights are a
type and a count, or tensors under `Constants`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.engine.layer_log import branches, unreadable
from edgeattn.engine.layer_names import metadata_nodes, name_nodes
from edgeattn.engine.layer_profiles import assigned, bare
from edgeattn.records.layers import Binding, Kernel, KernelTensor, LayerInformation, Shape, dtype_of

_JUMPS: Final = frozenset({"jmp", "cjmp"})
_DTYPE: Final = re.compile(
    r"\b(?:FP32|FP16|BF16|FP8|FP4|U?INT8|INT4|INT32|INT64|BOOL|Float|Half|BFloat16)\b",
    re.IGNORECASE,
)
# What TensorRT writes for a type that depends on shapes that no execution context has set.
_UNSAID: Final = re.compile(r"(?:N/A|not available) due to dynamic shapes", re.IGNORECASE)
_DETAILS: Final = (
    "Build the engine with --profilingVerbosity=detailed (ProfilingVerbosity.DETAILED), and write"
    " its layer information again."
)


class NamesAloneError(InputError):
    """Layer information that has only the names of layers."""


def read_json(text: str) -> LayerInformation:
    """Read layer information from JSON.

    Args:
        text: What TensorRT wrote, or the manifest of an engine that edgeattn built.

    Returns:
        Kernels and bindings.

    Raises:
        InputError: It is not JSON, no layer information, has only the names of layers, or a layer
            cannot be read: names it.
    """
    document = documents.parse_json(
        text,
        "This",
        mend="Write the layer information again: the file may be cut off.",
        is_foreign=True,
    )
    if isinstance(document, dict) and isinstance(document.get("layers"), dict):
        return _of_manifest(document["layers"])
    return of_document(document)


def of_document(document: Any) -> LayerInformation:
    """Read what TensorRT's JSON holds.

    Raises:
        InputError: As `read_json` does.
    """
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise InputError(
            "This JSON is no layer information: it has no list `Layers`.",
            mend="Give what trtexec --exportLayerInfo or an engine inspector wrote.",
        )
    if not layers:
        raise InputError("The layer information lists no layer.", mend=_DETAILS)
    if any(isinstance(layer, str) for layer in layers):
        raise NamesAloneError(
            "The layer information has the names of layers alone, without their tensors.",
            mend=_DETAILS,
        )
    kernels = _with_types(assigned([_kernel(layer) for layer in layers]))
    return LayerInformation(
        kernels=tuple(kernel for kernel in kernels if kernel.is_work),
        bindings=_bindings(document, kernels),
        form="json",
    )


def inspected(trt: Any, engine: Any) -> LayerInformation:
    """Return what the inspector of a loaded engine says of its layers.

    Args:
        trt: The library's module.
        engine: The engine.
    """
    inspector = engine.create_engine_inspector()
    return read_json(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _of_manifest(layers: Any) -> LayerInformation:
    found: LayerInformation = documents.checked(
        LayerInformation,
        layers,
        "The layer information of this manifest cannot be read",
        mend="Build the engine again.",
    )
    return found


def _kernel(layer: Any) -> Kernel:
    line = json.dumps(layer)
    try:
        name, kind = str(layer["Name"]), str(layer["LayerType"])
        if kind in _JUMPS:
            raise branches(line)
        constants = [_tensor(one, line) for one in layer.get("Constants", ())]
        constants += [
            _weights(what, layer[what], line)
            for what in ("Weights", "Bias")
            if what in layer and layer[what]["Count"]
        ]
        metadata = layer.get("Metadata")
        nodes = name_nodes(bare(name)) if metadata is None else metadata_nodes(metadata)
        if nodes is None:
            raise unreadable(line)
        return Kernel(
            name=name,
            kind=kind,
            inputs=tuple(_tensor(one, line) for one in layer["Inputs"]),
            constants=tuple(constants),
            outputs=tuple(_tensor(one, line) for one in layer["Outputs"]),
            tactic=str(layer.get("TacticName", "")),
            stream=int(layer.get("StreamId", 0)),
            nodes=nodes,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(line) from error


def _tensor(tensor: Any, line: str) -> KernelTensor:
    if "Datatype" in tensor:
        dtype, layout = dtype_of(tensor["Datatype"]), tensor.get("Format", "")
    else:
        layout = tensor["Format/Datatype"]
        found = _DTYPE.findall(layout)
        dtype = dtype_of(found[0]) if len(found) == 1 else ""
    if not dtype and not _UNSAID.search(layout):
        raise unreadable(line)
    return KernelTensor(
        name=str(tensor["Name"]),
        shape=_integers(tensor["Dimensions"]),
        strides=_integers(tensor.get("Strides", ())),
        dtype=dtype,
        layout=layout,
    )


def _weights(what: str, weights: Any, line: str) -> KernelTensor:
    dtype = dtype_of(weights["Type"])
    if not dtype:
        raise unreadable(line)
    count = (int(weights["Count"]),)
    return KernelTensor(name=what, shape=count, strides=(), dtype=dtype, layout="")


def _integers(sizes: Any) -> Shape:
    if not all(type(size) is int for size in sizes):
        raise TypeError
    return tuple(sizes)


def _with_types(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Fill in the types of tensors that only another kernel gives."""
    said = {one.name: one.dtype for kernel in kernels for one in kernel.activations if one.dtype}

    def filled(tensors: tuple[KernelTensor, ...]) -> tuple[KernelTensor, ...]:
        return tuple(
            one if one.dtype else replace(one, dtype=said.get(one.name, "")) for one in tensors
        )

    return [
        replace(kernel, inputs=filled(kernel.inputs), outputs=filled(kernel.outputs))
        for kernel in kernels
    ]


def _bindings(document: dict[str, Any], kernels: Sequence[Kernel]) -> tuple[Binding, ...]:
    if "I/O Tensors" in document:
        return tuple(_binding(one) for one in _listed(document, "I/O Tensors"))
    written = {one.name for kernel in kernels for one in kernel.outputs}
    tensors = {one.name: one for kernel in kernels for one in kernel.activations}
    # One name for each optimisation profile: `x`, `x [profile 1]`.
    names = dict.fromkeys(bare(str(name)) for name in _listed(document, "Bindings"))
    return tuple(
        Binding(
            name=name,
            is_input=name not in written,
            dtype=tensors[name].dtype if name in tensors else "",
            shape=tensors[name].shape if name in tensors else (),
            profiles=(),
        )
        for name in names
    )


def _listed(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key, [])
    if not isinstance(found, list):
        raise unreadable(json.dumps({key: found}))
    return found


def _binding(binding: Any) -> Binding:
    line = json.dumps(binding)
    try:
        dtype = dtype_of(binding["DataType"])
        if not dtype:
            raise unreadable(line)
        return Binding(
            name=str(binding["Name"]),
            is_input=binding["IOMode"] == "Input",
            dtype=dtype,
            shape=_integers(binding["Dimensions"]),
            profiles=tuple(
                (
                    _integers(profile["MinShape"]),
                    _integers(profile["OptShape"]),
                    _integers(profile["MaxShape"]),
                )
                for profile in binding.get("ProfileInfo", ())
                if "MinShape" in profile
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise unreadable(line) from error
