"""Whether a device has the memory for a model, and computes well in its precision."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.libraries import dotted
from edgeattn.engine.turing import NO_INT8, TURING, lacked
from edgeattn.graph.memory import plan
from edgeattn.graph.nodes import static
from edgeattn.graph.reading import Source
from edgeattn.options.cast import CastOptions
from edgeattn.options.check import CheckOptions
from edgeattn.options.precision import Precision
from edgeattn.precision.cast import samples_of
from edgeattn.precision.half import prepare
from edgeattn.precision.keep import HEADROOM
from edgeattn.precision.ranges import HALF_MAX, Range, measure_ranges
from edgeattn.records.check import Finding, NeededMemory, Verdict
from edgeattn.support.dla_values import is_folded

#: What ONNX Runtime begins its errors with.
PREFIX: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Fatal error: )?")
#: What the copy is called that ranges are measured of.
_COPY: Final = "model.onnx"
#: The first compute capability that has a type, where not all do.
_TYPES: Final = {
    ir.DataType.BFLOAT16: (8, 0),
    ir.DataType.FLOAT8E4M3FN: (8, 9),
    ir.DataType.FLOAT4E2M1: (10, 0),
}
_MATRIX: Final = "NVIDIA TensorRT documentation, Support Matrix, Hardware and Precision"
_EXPLICIT: Final = "NVIDIA TensorRT documentation, Explicit versus Implicit Quantization"
#: What is left for the system, CUDA and workspace, where the host shares the memory: a guess.
_LEFT_TO_OTHERS: Final = 0.5


def needed_memory(
    model: ir.Model, precision: Precision, device: DeviceProfile
) -> tuple[NeededMemory, list[Finding]]:
    """Plan what a model takes of a device's memory.

    Args:
        model: The model, with shapes.
        precision: What it runs in.
        device: The device.
    """
    planned = plan(model, float_bytes=_float_bytes(precision))
    weights = sum(
        stored_bytes(value, precision)
        for graph in model.graphs()
        for value in (*graph.initializers.values(), *_constants(graph))
    )
    have = None if device.memory_gib is None else round(device.memory_gib * 2**30)
    memory = NeededMemory(
        weights_bytes=weights,
        activations_bytes=planned.activations_bytes,
        at=planned.at,
        device_bytes=have,
    )
    needed = weights + (planned.activations_bytes or 0)
    if have is None or needed <= have * _LEFT_TO_OTHERS:
        return memory, []
    said = f"Weights and activations take {needed / 2**30:.3g} GiB of {device.memory_gib:g} GiB"
    is_too_much = needed > have
    finding = Finding(
        about="memory",
        verdict="no" if is_too_much else "unknown",
        fact=f"{said}."
        if is_too_much
        else f"{said}: the system, CUDA, and the workspace of the build need room too.",
        mend="Give smaller shapes or a smaller batch, or a narrower precision.",
        source="planned: weights, and the most that all values take at one time",
        nodes=(planned.at,) if planned.at else (),
    )
    return memory, [finding]


def _constants(graph: ir.Graph) -> Iterator[ir.Value]:
    return (node.outputs[0] for node in graph if node.op_type == "Constant")


def _float_bytes(precision: Precision) -> int:
    return 4 if precision == "fp32" else 2


def stored_bytes(value: ir.Value, precision: Precision) -> int:
    """Return what a constant takes where it runs in a precision; nothing of what is none."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        return 0
    if tensor.dtype != ir.DataType.FLOAT:
        return tensor.nbytes
    users = [use.node.op_type for use in value.uses()]
    is_quantised = precision == "int8" and (
        "QuantizeLinear" in users
        or any(one in ("Conv", "ConvTranspose", "Gemm", "MatMul") for one in users)
    )
    each = 1 if is_quantised and len(tensor.shape) > 1 else _float_bytes(precision)
    return tensor.size * each


def precision_findings(
    source: Source,
    own: Precision,
    precision: Precision,
    device: DeviceProfile,
    *,
    library: str,
    version: str,
    is_told: bool,
) -> Iterator[Finding]:
    """Yield what is to be said of a precision on a device, whatever the values are.

    Args:
        source: The file.
        own: What it is in.
        precision: What it is to run in.
        device: The device.
        library: What runs it.
        version: Its version.
        is_told: Whether it is told a precision, that of the file aside.
    """
    title = device.title
    is_tensorrt = library != "ONNX Runtime"
    if precision == "fp16" and "fp16" not in device.precisions:
        yield _said("yes", f"The {title} is not faster in fp16.", "--precision fp32", "its profile")
    if precision == "int8" and is_tensorrt and "int8" not in device.precisions:
        if own == "int8":
            yield _said(
                "unknown",
                f"The {title} has no int8, and the file is quantised: whether a kernel is found for"
                " each pair of quantising nodes is not said.",
                "Give the float32 file, for fp16.",
                _MATRIX,
            )
        else:
            yield _said(
                "yes",
                f"The {title} has no int8: TensorRT takes the flag, warns, and builds the rest in"
                " wider types.",
                "Ask for fp16: --precision fp16",
                _MATRIX,
            )
    if is_told and own == "fp32" and precision == "int8":
        yield _said(
            "yes",
            "The file holds no scales: TensorRT takes them from a calibration of its own, or from"
            " pairs of QuantizeLinear and DequantizeLinear.",
            _cast(source, "int8"),
            _EXPLICIT,
        )
    capability = device.compute_capability
    if library == "TensorRT-RTX" and capability == TURING:
        yield from _on_turing(source.model, own, precision, f"{library} {version}")
    for dtype, since in _TYPES.items() if is_tensorrt and capability is not None else ():
        nodes = nodes_in(source.model, dtype)
        if nodes and capability is not None and capability < since:
            yield _said(
                "no",
                f"The {title} has no {dtype.name.lower()}: compute capability {dotted(since)} is"
                f" the first, and its own is {dotted(capability)}.",
                "Export the model in float32 or float16.",
                _MATRIX,
                nodes=nodes,
            )


def _on_turing(
    model: ir.Model, own: Precision, precision: Precision, title: str
) -> Iterator[Finding]:
    """Yield what TensorRT-RTX lacks for compute capability 7.5."""
    tried = "tried with TensorRT-RTX 1.7.1"
    if own == "int8":
        yield _said("yes", NO_INT8, "--precision fp16, of the float32 file", tried)
    if own == "fp16" or (own == "fp32" and precision != "fp32"):
        return  # in half it has them
    rewritten, refused = lacked(model)
    half = "build it in half: --precision fp16"
    said = f"{title} has no float32 products for compute capability 7.5."
    if rewritten:
        mend = f"edgeattn build writes them as convolutions. Or {half}"
        yield _said("yes", said, mend, tried, nodes=tuple(rewritten))
    if refused:
        yield _said("no", said, half.capitalize(), tried, nodes=tuple(refused))


def typed_findings(
    source: Source, asked: Precision | None, suits: Precision, title: str
) -> Iterator[Finding]:
    """Yield what follows where a library computes in the types of a float32 file.

    Args:
        source: The file.
        asked: The precision that is asked, if one is.
        suits: The one that suits the device.
        title: The library, with its version.
    """
    wanted = asked or suits
    if wanted == "fp32" or not _is_float32(source.model):
        return
    fact = f"{title} takes precisions from the file alone, and the file is in float32"
    yield _said(
        "no" if asked else "yes",
        f"{fact}: nothing of it would run in {wanted}."
        if asked
        else f"{fact}: it runs in that, and {wanted} is what suits the device.",
        _cast(source, wanted),
        "github.com/roboflow/rf-detr/issues/1453; NVIDIA's migration guide from TensorRT 10 to 11"
        if title.startswith("TensorRT")
        else "ONNX Runtime's API, which has no such option",
    )


def _cast(source: Source, precision: Precision) -> str:
    """Say how a file is cast."""
    data = " --calibration FOLDER" if precision == "int8" else ""
    file = shlex.quote(str(source.path))
    return f"Cast it: edgeattn cast {file} -o OUT.onnx --precision {precision}{data}"


def _is_float32(model: ir.Model) -> bool:
    return bool(nodes_in(model, ir.DataType.FLOAT)) and not nodes_in(model, ir.DataType.BFLOAT16)


def nodes_in(model: ir.Model, dtype: ir.DataType) -> tuple[str, ...]:
    """Return the nodes that read values of a type."""
    return tuple(
        str(node.name)
        for node in model.graph.all_nodes()
        if any(value is not None and value.dtype == dtype for value in node.inputs)
    )


def range_findings(
    source: Source, model: ir.Model, options: CheckOptions
) -> tuple[list[Finding], list[str]]:
    """Measure how large a float32 model's values get, and return those that half cannot hold.

    Args:
        source: The file.
        model: Its model, with shapes; it is not changed.
        options: What it is measured on.

    Returns:
        What was found, with whole models' nodes each, and notes.
    """
    if not _is_float32(model):
        return [], []
    cast = CastOptions(
        precision="fp16",
        calibration=options.calibration,
        pixels=options.pixels,
        samples=options.samples or (1 if options.calibration is None else None),
        shapes=options.shapes,
        seed=options.seed,
    )
    copy = model.clone()
    try:
        samples = samples_of(source, cast, None, seed=options.seed)
        prepare(copy)
        ranges, _ = measure_ranges(copy, samples)
    except ImportError:
        return [], ["Ranges in half were not measured: onnxruntime is not installed."]
    except InputError as error:
        if options.calibration is not None:
            raise
        fact = PREFIX.sub("", error.fact).replace(_COPY, source.path.name)
        return [], [f"Ranges in half were not measured. {fact}"]
    how = f"measured in ONNX Runtime on {samples.description}"
    return list(_out_of_range(copy, ranges, how)), list(samples.notes)


#: What is found of values in half: the verdict, and what is said.
_IN_HALF: Final[Mapping[str, tuple[Verdict, str]]] = {
    "over": ("unknown", "Values reach {:.3g}: half holds 65504, and they become infinite."),
    "constant": ("yes", "A constant of {:.3g} becomes infinite in half, which holds 65504."),
    "sum": ("yes", "What is added up reaches {:.3g}: summed in half, it is infinite."),
    "near": ("yes", "Values reach {:.3g}, and half holds 65504: other inputs may go beyond."),
}


def _out_of_range(model: ir.Model, ranges: Mapping[str, Range], how: str) -> Iterator[Finding]:
    """Yield what half cannot hold of a model, or hardly, each with all its nodes."""
    kinds: dict[str, dict[str, float]] = {kind: {} for kind in _IN_HALF}
    for node in model.graph:
        if is_folded(node):  # computed at the build, in float32
            continue
        found = [_strain(ranges.get(value.name or "")) for value in node.outputs]
        largest = max(map(_largest, node.inputs), default=0.0)
        for kind, figure in (*found, ("constant", largest if largest > HALF_MAX else 0.0)):
            if figure:
                kinds[kind][str(node.name)] = figure
    for kind, nodes in kinds.items():
        if nodes:
            verdict, said = _IN_HALF[kind]
            keeps = (
                "Keep it in float32, as a cast does: edgeattn cast IN.onnx -o OUT.onnx --precision"
                " fp16"
            )
            yield _said(verdict, said.format(max(nodes.values())), keeps, how, nodes=tuple(nodes))


def _strain(found: Range | None) -> tuple[str, float]:
    """Return how a value strains half, and by how large a number; 0 if it does not."""
    if found is None or not np.isfinite(found.max_abs):
        return "near", 0.0
    if found.max_abs > HALF_MAX:
        return "over", found.max_abs
    if found.max_sum is not None and found.max_sum > HALF_MAX:
        return "sum", found.max_sum
    return "near", found.max_abs if found.max_abs * HEADROOM > HALF_MAX else 0.0


def _largest(value: ir.Value | None) -> float:
    """Return the largest finite |x| of a float32 constant; 0 of what is none."""
    array = static(value) if value is not None and value.dtype == ir.DataType.FLOAT else None
    return 0.0 if array is None else float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _said(
    verdict: Verdict, fact: str, mend: str, source: str, *, nodes: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        about="precision", verdict=verdict, fact=fact, mend=mend, source=source, nodes=nodes
    )
