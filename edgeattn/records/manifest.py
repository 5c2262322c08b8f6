"""The manifest: the JSON beside every artifact that says what it is and how it came to be."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.base import SCHEMA_VERSION, Frozen
from edgeattn.records.lowering import LegalisedNode, NearMiss, Rewrite, Trial
from edgeattn.records.parity import ParityReport


class Site(Frozen):
    """Where one attention module sits: shape is (C, H, W) of the tensor that it attends."""

    path: str
    attention: str
    target: str
    shape: tuple[int, int, int]
    params: int
    note: str = ""


class Nodes(Frozen):
    """How many ONNX nodes there were after folding, and in the file."""

    exported: int
    final: int


class Tensor(Frozen):
    """A graph input or output; an open dimension is named."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class Manifest(Frozen):
    """What `edgeattn export` says of a model.

    Attributes:
        onnx: The file, relative to the manifest.
        sha256: The hash of each file that belongs to it.
        sources: The hash of each file that it was made from: a model's source, weights.
        params: Parameters of the torch model.
        macs: Multiply-accumulates of convolutions and linear layers, per run at the asked shape.
        matmul_macs: Those of products of two activations.
        element_ops: Operations that FLOP counters skip.
        uncounted: Nodes whose costs could not be counted, by name.
        rewrites: What lowering replaced, in order.
        near_misses: What lowering nearly replaced.
        legalised: The nodes that the opset made us replace.
        parity: The check of this file against the torch model.
        seconds: Wall-clock time per stage.
        command: The command that makes the same file again.
        cast: What was cast, and how near it is to the float32 file; None where nothing was.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    onnx: str
    sha256: dict[str, str]
    sources: dict[str, str]
    size_bytes: int
    model: str
    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: int
    macs: int
    matmul_macs: int
    element_ops: int
    uncounted: tuple[str, ...]
    attentions: tuple[str, ...]
    sites: tuple[Site, ...]
    nodes: Nodes
    rewrites: tuple[Rewrite, ...]
    near_misses: tuple[NearMiss, ...]
    legalised: tuple[LegalisedNode, ...]
    parity: ParityReport
    options: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    notes: tuple[str, ...]
    command: str
    cast: CastRecord | None = None


class Change(Frozen):
    """A count in the file that was read, and in the one that was written."""

    before: int
    after: int


class Optimised(Frozen):
    """What `edgeattn optimize` says of a model.

    Attributes:
        onnx: The file, relative to the manifest.
        sha256: The hash of each file that belongs to it.
        sources: The hash of each file that it was made from: the model, and its weights' files.
        target: The runtime that it was lowered for.
        opset: The opset of the standard domain, in the file that was read and in this one.
        nodes: How many nodes there are, those of branches and loop bodies too.
        rewrites: What lowering replaced, in order.
        near_misses: What lowering nearly replaced.
        trials: What the tournament tried; empty without one.
        legalised: The nodes that the opset made us replace.
        parity: The check of this file against the one that was read.
        seconds: Wall-clock time per stage.
        command: The command that makes the same file again.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    onnx: str
    sha256: dict[str, str]
    sources: dict[str, str]
    size_bytes: int
    target: str
    opset: Change
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: Change
    rewrites: tuple[Rewrite, ...]
    near_misses: tuple[NearMiss, ...]
    trials: tuple[Trial, ...]
    legalised: tuple[LegalisedNode, ...]
    parity: ParityReport
    options: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    notes: tuple[str, ...]
    command: str


class KeptNode(Frozen):
    """A node that a cast left in float32, or a quantisation as it was.

    `max_abs` is the largest |x| that was measured of what it gives; None where nothing was.
    """

    node: str
    op_type: str
    reason: str
    max_abs: float | None = None


class LargestValue(Frozen):
    """The value that comes nearest to half's 65504, of those that are half."""

    name: str
    max_abs: float


class CastRecord(Frozen):
    """What a cast did to a model.

    Attributes:
        precision: `fp16` or `int8`.
        cast_nodes: How many nodes work in that precision.
        added_nodes: How many Cast, QuantizeLinear and DequantizeLinear nodes were added.
        kept: The nodes that work in float32, and why.
        audited_on: What ranges were measured on.
        largest: The value in half that is nearest to overflow; None for int8.
        parity_on: What the parity is over.
        parity: The cast model against the one that was read.
        notes: What a user should know of it.
    """

    precision: Literal["fp16", "int8"]
    cast_nodes: int
    added_nodes: int
    kept: tuple[KeptNode, ...]
    audited_on: str
    largest: LargestValue | None
    parity_on: str
    parity: ParityReport
    notes: tuple[str, ...]


class Cast(CastRecord):
    """What `edgeattn cast` says of a model.

    Attributes:
        onnx: The file, relative to the manifest.
        sha256: The hash of each file that belongs to it.
        sources: The hash of each file that it was made from: the model, and its weights' files.
        nodes: How many nodes there are.
        seconds: Wall-clock time per stage.
        command: The command that makes the same file again.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    onnx: str
    sha256: dict[str, str]
    sources: dict[str, str]
    size_bytes: int
    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: Change
    options: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    command: str
