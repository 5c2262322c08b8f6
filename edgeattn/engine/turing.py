"""What TensorRT-RTX lacks in float32 for Turing, written in forms that it takes there.

For compute capability 7.5, TensorRT-RTX 1.7.1 refuses products (Gemm, MatMul, Einsum) and 3D
convolutions in float32 ("FP32 GEMM is not supported", and no setting of the builder changes that);
so too those of quantised operands, which it computes in float32 there. It takes them in half
precision, and 2D convolutions in both.

The node that does a rewritten node's work keeps its name. An Einsum stays, and so does what has no
known rank: the library then says so itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.engine.target import Target
from edgeattn.engine.turing_forms import convolution, gemm, matmul
from edgeattn.graph import shapes
from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import needed, rank
from edgeattn.graph.reading import opset_of

TURING: Final = (7, 5)
#: What to say of an engine whose quantised layers were built in float32.
NO_INT8: Final = (
    "TensorRT-RTX has no int8 convolutions for compute capability 7.5 and computes them in float32,"
    " slower than without quantisation: build this model with --precision fp16 instead."
)
_PRODUCTS: Final = frozenset({"Gemm", "MatMul"})
_WORKING: Final = frozenset({"Conv", "ReduceSum"})
_3D: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A model without what a library lacks.

    Attributes:
        model: The model.
        made: Of each node that was rewritten, the nodes that stand for it beside the one that has
            its name.
        notes: What the user should know of it.
    """

    model: ir.Model
    made: dict[str, frozenset[str]]
    notes: tuple[str, ...]

    def with_made(self, nodes: frozenset[str]) -> frozenset[str]:
        """Add to some nodes what else stands for those of them that were rewritten."""
        return nodes.union(*(self.made[name] for name in nodes if name in self.made))


def for_turing(model: ir.Model, target: Target) -> Rewritten | None:
    """Rewrite a model where what it is built for has no float32 products.

    Args:
        model: The model, which is left as it is; every node has a name of its own.
        target: What is built for, and by which library.

    Returns:
        What to build instead, or None if the model can be built as it is.
    """
    return rewrite(model) if is_turing(target) else None


def is_turing(target: Target) -> bool:
    """Return whether TensorRT-RTX is to build for Turing."""
    return target.library.runtime == "tensorrt-rtx" and target.compute_capability == TURING


def lacked(model: ir.Model) -> tuple[list[str], list[str]]:
    """Return what TensorRT-RTX lacks of a model for Turing, by the nodes' names.

    Args:
        model: The model, with types; every node has a name of its own.

    Returns:
        The nodes that `rewrite` writes in other forms, and those that stay refused.
    """
    found = [node for node in model.graph.all_nodes() if _is_lacked(node) or _is_einsum(node)]
    rewritten = rewrite(model)
    made = {} if rewritten is None else rewritten.made
    names = [str(node.name) for node in found]
    return [one for one in names if one in made], [one for one in names if one not in made]


def _is_einsum(node: ir.Node) -> bool:
    return node.op_type == "Einsum" and node.outputs[0].dtype == ir.DataType.FLOAT


def rewrite(model: ir.Model) -> Rewritten | None:
    """Rewrite the float32 products and 3D convolutions of a model.

    Args:
        model: The model, which is left as it is; every node has a name of its own.

    Returns:
        The rewritten model, or None if nothing is to be rewritten.
    """
    model = model.clone()
    shapes.find(model)
    edit, opset = Edit(model), opset_of(model)
    made: dict[str, frozenset[str]] = {}
    forms: list[str] = []
    for node in [node for node in model.graph.all_nodes() if _is_lacked(node)]:
        edit.begin(node)
        if node.op_type == "Conv":
            value = convolution(edit, node)
        else:
            value = gemm(edit, node) if node.op_type == "Gemm" else matmul(edit, node, opset)
        if value is None:
            continue
        (working,) = (new for new in edit.made if new.op_type in _WORKING)
        forms.append(f"{node.op_type} {working.op_type}")
        edit.replace(value)
        working.name = node.name
        made[str(node.name)] = frozenset(str(new.name) for new in edit.made if new is not working)
    edit.finish()
    return Rewritten(model=model, made=made, notes=(_note(forms),)) if made else None


def _is_lacked(node: ir.Node) -> bool:
    return (
        node.domain == ""
        and (node.op_type in _PRODUCTS or (node.op_type == "Conv" and rank(needed(node, 0)) == _3D))
        and needed(node, 0).dtype == ir.DataType.FLOAT
    )


def _note(forms: Sequence[str]) -> str:
    sums = sum(form.endswith("ReduceSum") for form in forms)
    convolutions = sum(form == "Conv Conv" for form in forms)
    counts = {
        "products as convolutions": len(forms) - sums - convolutions,
        "products as sums": sums,
        "3D convolutions as 2D ones": convolutions,
    }
    built = ", ".join(f"{what} ({count})" for what, count in counts.items() if count)
    return (
        "TensorRT-RTX takes neither matrix products nor 3D convolutions in float32 for compute"
        f" capability 7.5; built instead: {built}."
    )
