"""The manifest: the JSON beside every artifact that says what it is and how it came to be."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.accuracy import Accuracy
from edgeattn.records.base import Frozen, Ordered
from edgeattn.records.lowering import LegalisedNode, NearMiss, Rewrite, Trial
from edgeattn.records.parity import ParityReport
from edgeattn.records.pixels import Pixels
from edgeattn.records.sidecar import Sidecar
from edgeattn.records.trace import Site


class PlacedSite(Ordered, Site):
    """One attention module in its place.

    Attributes:
        target: The path of the module that it attends; "" is the root.
        note: What its constructor chose by itself; empty if nothing.
    """

    ORDER = "path attention target shape params note"

    target: str
    shape: tuple[int, int, int]
    params: int
    note: str = ""


class OwnLine(Frozen):
    """A line of an author's own attention, at all its sites together.

    Attributes:
        file: The file that it is in.
        code: The line.
        nodes: How many nodes torch wrote for it.
        macs: Multiply-accumulates of those.
        traffic_bytes: Bytes that they would move by themselves, none fused with another.
        near_misses: The rules of lowering that nearly rewrote some, and why they did not.
    """

    file: str
    line: int
    code: str
    nodes: int
    macs: int
    traffic_bytes: int
    near_misses: tuple[str, ...]


class OwnLines(Frozen):
    """What became of a line of an author's own attention, or of several together.

    Attributes:
        attention: What the attention is called.
        lines: The lines; several where some nodes of the file are of several.
        nodes: The names of the nodes that are left of them.
        rules: The rules of lowering that rewrote them.
    """

    attention: str
    lines: tuple[OwnLine, ...]
    nodes: tuple[str, ...]
    rules: tuple[str, ...]


class Nodes(Frozen):
    """How many ONNX nodes there were after folding, and in the file."""

    exported: int
    final: int


class Change(Frozen):
    """A count in the file that was read, and in the one that was written."""

    before: int
    after: int


class Tensor(Frozen):
    """A graph input or output; an open dimension is named."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class OnnxSidecar(Sidecar):
    """What every command says of an ONNX file that it wrote.

    Attributes:
        sha256: The hash of each file that belongs to it.
    """

    sha256: dict[str, str]
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class LoweredSidecar(OnnxSidecar):
    """What is said of a model that was lowered and legalised.

    Attributes:
        rewrites: What lowering replaced, in order.
        near_misses: What lowering nearly replaced.
        trials: What the tournament of forms tried; empty without one.
        legalised: The nodes that the opset made us replace.
        parity: The check of this file against what it was made from.
    """

    rewrites: tuple[Rewrite, ...]
    near_misses: tuple[NearMiss, ...]
    trials: tuple[Trial, ...] = ()
    legalised: tuple[LegalisedNode, ...]
    parity: ParityReport
    notes: tuple[str, ...]


class KeptNode(Frozen):
    """A node that a cast left in float32, or a quantisation as it was.

    `max_abs` is the largest |x| that was measured of what it gives; None if nothing was.
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


class Manifest(LoweredSidecar):
    """What `edgeattn export` says of a model.

    Attributes:
        target: What it was lowered for; None if it was not.
        params: Parameters of the torch model.
        pixels: What the model takes photos to be normalised by, if that is known.
        macs: Multiply-accumulates of convolutions and linear layers, per run at the asked shape.
        matmul_macs: Those of products of two activations.
        element_ops: Operations that FLOP counters skip.
        uncounted: Nodes whose costs could not be counted, by name.
        lines: What became of the lines of authors' own attentions, before any cast.
        cast: What was cast, and how near it is to the float32 file; None if nothing was.
    """

    ORDER = (
        "schema_version onnx sha256 sources size_bytes model target opset ir_version inputs outputs"
        " params macs matmul_macs element_ops uncounted attentions sites lines nodes rewrites"
        " near_misses trials legalised parity options versions seconds notes command cast pixels"
    )

    model: str
    target: str | None = None
    opset: int
    params: int
    macs: int
    matmul_macs: int
    element_ops: int
    uncounted: tuple[str, ...]
    attentions: tuple[str, ...]
    sites: tuple[PlacedSite, ...]
    lines: tuple[OwnLines, ...] = ()
    nodes: Nodes
    cast: CastRecord | None = None
    pixels: Pixels | None = None


class Optimised(LoweredSidecar):
    """What `edgeattn optimize` says of a model.

    Attributes:
        target: What it was lowered for.
        opset: The opset of the standard domain, in the file that was read and in this one.
        nodes: How many nodes there are, those of branches and loop bodies too.
    """

    ORDER = (
        "schema_version onnx sha256 sources size_bytes target opset ir_version inputs outputs nodes"
        " rewrites near_misses trials legalised parity options versions seconds notes command"
    )

    target: str
    opset: Change
    nodes: Change


class Cast(OnnxSidecar, CastRecord):
    """What `edgeattn cast` says of a model.

    Attributes:
        target: What the model was lowered for.
        pixels: What it takes photos to be, if that is known.
        accuracy: How often it and what it was cast from are right, if that was asked.
    """

    ORDER = (
        "precision cast_nodes added_nodes kept audited_on largest parity_on parity notes"
        " schema_version onnx sha256 sources size_bytes target opset ir_version inputs outputs"
        " nodes options versions seconds command pixels accuracy"
    )

    target: str | None = None
    opset: int
    nodes: Change
    pixels: Pixels | None = None
    accuracy: Accuracy | None = None
