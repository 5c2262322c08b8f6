"""The walk over the model: every node is taken to the target across each change of its operator."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnx import defs, helper

from edgeattn.base.errors import InputError
from edgeattn.graph import shapes
from edgeattn.graph.edit import Edit
from edgeattn.graph.names import STANDARD_DOMAINS, module_of
from edgeattn.graph.nodes import is_standard
from edgeattn.graph.reading import Source, opset_of
from edgeattn.graph.schemas import crossed, faults, signature
from edgeattn.legalise import changes
from edgeattn.legalise.refusals import RefusedError
from edgeattn.records.lowering import LegalisedNode

OLDEST_SOURCE = 1
OLDEST_TARGET = 13
# Older ones are read by none of the rest: they are taken up first.
_OLDEST_KNOWN = 11
_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Legalised:
    """What legalisation did.

    Attributes:
        source: The opset that the model was written in.
        opset: The opset that it is written in now.
        ir_version: Its IR version now.
        rewrites: The nodes that were replaced, in order.
    """

    source: int
    opset: int
    ir_version: int
    rewrites: tuple[LegalisedNode, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    node: str
    op_type: str
    reason: str
    lowest: int | None  # the lowest opset that works, or None if no higher one does


def _check_range(source: int, target: int) -> None:
    if not source:
        raise InputError("The model imports no ONNX opset.", mend="Export it again.")
    newest = defs.onnx_opset_version()
    if not OLDEST_SOURCE <= source <= newest:
        raise InputError(
            f"The model is written in opset {source}; {OLDEST_SOURCE} to {newest} can be read.",
            mend="Export it again, or install a newer onnx."
            if source > newest
            else "Export it again.",
        )
    if target != source and not OLDEST_TARGET <= target <= newest:
        raise InputError(
            f"Opset {target} cannot be written.", mend=f"Ask for {OLDEST_TARGET} to {newest}."
        )


def _lowest_by_types(node: ir.Node, source: int, target: int) -> int | None:
    """Return the lowest opset above the target whose schema takes the node as it is."""
    for opset in range(target + 1, source + 1):
        wanted = signature(node.op_type, opset)
        if wanted is not None and not wanted.deprecated and not faults(node, wanted):
            return opset
    return None


class _Walk:
    """Takes nodes to the target, and keeps what was rewritten and what was refused."""

    def __init__(self, model: ir.Model, target: int) -> None:
        self.target = target
        self.edit = Edit(model)
        self.rewrites: list[LegalisedNode] = []
        self.refusals: list[_Refusal] = []

    def take(self, origin: ir.Node, source: int) -> None:
        """Take one node, and what it becomes, to the target."""
        name, op_type = origin.name or "", origin.op_type
        work = [(origin, source)]
        while work:
            refused = self._cross(*work.pop(), work)
            if refused is not None:
                reason, lowest = refused
                refusal = _Refusal(node=name, op_type=op_type, reason=reason, lowest=lowest)
                self.refusals.append(refusal)
                return

    def _cross(
        self, node: ir.Node, version: int, work: list[tuple[ir.Node, int]]
    ) -> tuple[str, int | None] | None:
        """Take one node across each change of its operator.

        What an adapter makes is put to `work` with the opset that it is written in.

        Returns:
            Why it cannot be taken, and the lowest opset to which it can; None if it was taken.
        """
        version = max(version, changes.READ_AS.get(node.op_type, 0))
        steps, descending = crossed(node.op_type, version, self.target), version > self.target
        wanted = signature(node.op_type, self.target)
        if wanted is not None and wanted.deprecated and not steps:
            # Withdrawn: the checker refuses it even at the opset that brought it.
            if (node.op_type, wanted.since) not in changes.DOWN:
                return f"{node.op_type} was withdrawn in opset {wanted.since}", None
            steps, descending = (wanted.since,), True
        for opset in steps:
            self.edit.begin(node)
            try:
                changes.cross(node, self.edit, opset, descending=descending)
            except RefusedError as error:
                return str(error), opset if descending else None
            written = self.edit.written_at or (opset - 1 if descending else opset)
            work += [(made, written) for made in self.edit.made]
            if node.graph is None:
                self._record(node, opset)
                return None
        if wanted is None:
            return f"no opset up to {self.target} has {node.op_type}", None
        found = faults(node, wanted)
        if found:
            return found[0], _lowest_by_types(node, version, self.target)
        if node.version is not None:
            node.version = self.target
        return None

    def _record(self, node: ir.Node, opset: int) -> None:
        into = tuple(made.name or "" for made in self.edit.made)
        rewrite = LegalisedNode(node=node.name or "", op_type=node.op_type, opset=opset, into=into)
        self.rewrites.append(rewrite)


def _describe(refusal: _Refusal) -> str:
    module = module_of(refusal.node)
    where = f"module {module}" if module else "the root module"
    return f"  {refusal.node or refusal.op_type} ({refusal.op_type}, {where}): {refusal.reason}."


def _refuse(refusals: list[_Refusal], source: int, target: int) -> InputError:
    """Return the error: the first few nodes, and the lowest opset at which all of them work."""
    lowest = max(source if r.lowest is None else r.lowest for r in refusals)
    lines = [_describe(r) for r in refusals[:_NAMED]]
    if len(refusals) > _NAMED:
        lines.append(f"  … and {len(refusals) - _NAMED} more.")
    if source == target:
        return InputError(
            "\n".join([f"The model is not legal at its own opset {target}:", *lines]),
            mend="Export it again.",
        )
    if source < OLDEST_TARGET:
        mend = f"Export the model again at opset {OLDEST_TARGET} or higher, or without these nodes."
        if source < changes.FIRST_REVIEWED - 1:
            mend += "\nOr take it to opset 7 first, with onnx.version_converter."
    elif source < target:
        mend = f"It is written in opset {source}: keep that."
    else:
        mend = f"The lowest opset that works is {lowest}."
    return InputError("\n".join([f"Opset {target} cannot hold this model:", *lines]), mend=mend)


def legalise(model: ir.Model, opset: int) -> Legalised:
    """Write a model at exactly the opset asked, with the lowest IR version that goes with it.

    Works in place; where it raises, the model is partly rewritten and of no more use. Nodes of
    other domains are left as they are. Model-local functions are inlined. What a node becomes
    keeps its module path, its metadata and the names of its outputs.

    Args:
        model: The model; its types and shapes are inferred first where they are missing.
        opset: The opset of the standard domain to write.

    Returns:
        What was done.

    Raises:
        InputError: The opset cannot hold the model: names the nodes, their modules and the lowest
            opset that works; or the model's own opset cannot be read.
    """
    source = opset_of(model)
    _check_range(source, opset)
    if model.functions:
        passes.InlinePass()(model)
    if source != opset and shapes.is_incomplete(model):
        shapes.infer(model)
    walk = _Walk(model, opset)
    for node in [n for n in model.graph.all_nodes() if is_standard(n)]:
        walk.take(node, source)
    if walk.refusals:
        raise _refuse(walk.refusals, source, opset)
    walk.edit.finish()
    for domain in STANDARD_DOMAINS:
        model.opset_imports.pop(domain, None)
    used = {node.domain for node in model.graph.all_nodes()}
    kept = {d: v for d, v in model.opset_imports.items() if d in used}
    model.opset_imports.clear()
    model.opset_imports.update({"": opset, **kept})
    imports = [helper.make_opsetid(d, v) for d, v in model.opset_imports.items()]
    model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    return Legalised(
        source=source, opset=opset, ir_version=model.ir_version, rewrites=tuple(walk.rewrites)
    )


def take_up(found: Source, *, below: int = _OLDEST_KNOWN) -> Source:
    """Write the model of an old file at opset 13, for those that know no older one.

    Args:
        found: The file; its model may be changed.
        below: The opset from which on a file is left as it is.

    Raises:
        InputError: It is too old, or holds what opset 13 cannot say: names the nodes.
    """
    if found.opset >= below:
        return found
    legalise(found.model, OLDEST_TARGET)
    return dataclasses.replace(found, opset=OLDEST_TARGET, is_as_written=False)


def taken_up(before: Source, after: Source) -> tuple[str, ...]:
    """Return what a user should know of a file that was taken up; nothing of another."""
    if before.opset == after.opset:
        return ()
    return (f"{before.path.name} is of opset {before.opset}, and was taken up to {after.opset}.",)
