"""Says what of a model torch cannot trace or translate, where it is, why, and what to do.

torch tells it in pages of its own inner text. What counts is in the frames of the error: the module
whose forward ran last, and the node of the traced program that was being translated.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from edgeattn.base.errors import InputError, first_line, in_one_line

#: What torch.export says if the model fixes a dimension that was to stay open.
_FIXED: Final = ("Constraints violated", "specialized")
#: What torch says, by a part of its text; the reason in words, and a way out.
_TRACING: Final = (
    (
        ("data-dependent", "DataDependent", "DynamicOutputShape", "specialized integer from"),
        "its control flow or a size depends on values, which are not known before it runs",
        (
            "Write an if on values as torch.where, and sizes as numbers; or leave that part out of"
            " the model that is exported."
        ),
    ),
    (
        ("numpy", "from_blob", "data_ptr"),
        "it leaves torch, for NumPy or another library, and comes back",
        "Write it with torch's own operators, or leave it out of the model that is exported.",
    ),
    (
        ("custom C++ ops", "does not exist", "is not currently implemented for"),
        "its operator is not in this installation of torch or of the library that brings it",
        "Install a torchvision (or that library) that was built for this torch.",
    ),
)
#: A way out, by the operator's name.
_INSTEAD: Final = {
    "median": "torch.sort(x, dim).values[..., (n - 1) // 2] is the same.",
    "kthvalue": "torch.topk(x, k, largest=False) is the same.",
    "_cdist_forward": "Write the distances as (a[:, :, None] - b[:, None]).square().sum(-1).sqrt()",
    "histc": "Give min and max as numbers, or leave it out of the model that is exported.",
}
_OTHERWISE: Final = "Write it with other operators, or leave it out of the model that is exported."


def of_trace(error: Exception, module: nn.Module, *, dynamic_batch: bool) -> InputError:
    """Return what to tell a user of an error of torch.export.

    Args:
        error: What it raised, not in strict mode.
        module: What was traced.
        dynamic_batch: Whether its batch was to stay open.
    """
    text = f"{type(error).__name__} {error}"
    where = _place_in(error, module)
    if dynamic_batch and any(mark in text for mark in _FIXED):
        return InputError(
            f"The model fixes its batch, so --dynamic-batch cannot hold: {_fixed(text)}",
            mend="Export without --dynamic-batch, or write the model's reshapes with x.shape[0].",
        )
    for marks, reason, mend in _TRACING:
        if any(mark in text for mark in marks):
            return InputError(f"torch.export cannot trace {where}: {reason}.", mend=mend)
    mend = "The model's forward must be traceable; see torch.export's documentation."
    if dynamic_batch:
        mend = f"If it runs with one sample only, export without --dynamic-batch. {mend}"
    return InputError(f"torch.export cannot trace {where}: {in_one_line(_cause(error))}", mend=mend)


def of_translation(error: Exception) -> InputError:
    """Return what to tell a user of an error of torch.onnx."""
    node = next(_nodes(error), None)
    cause = _cause(error)
    if node is None:
        return InputError(f"torch cannot translate this model to ONNX: {in_one_line(cause)}")
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    reason = in_one_line(cause)
    if "No ONNX function found" in str(cause):
        on = " of complex numbers" if "complex-valued" in str(cause) else ""
        reason = f"torch has no translation{on} for it"
    elif isinstance(cause, InputError):
        reason = cause.fact
    return InputError(
        f"torch cannot translate {node.target} in {_place_of(node)} to ONNX: {reason.rstrip('.')}.",
        mend=_INSTEAD.get(name, _OTHERWISE),
    )


def _fixed(text: str) -> str:
    """Return the sentence that says to what a dimension is fixed, else the first line."""
    said = re.search(r"specialized it to be a constant \((\d+)\)", text)
    return f"it computes with a batch of {said[1]}" if said else first_line(Exception(text))


def _place_in(error: BaseException, module: nn.Module) -> str:
    """Return the module whose forward ran last, and its line."""
    paths = {id(child): path for path, child in module.named_modules(remove_duplicate=False)}
    place = "this model"
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if id(owner) in paths and isinstance(owner, nn.Module):
            where = f"{frame.f_code.co_filename}:{line}"
            place = f"{_named(paths[id(owner)], type(owner).__name__)}{_at(where)}"
    return place


def _place_of(node: torch.fx.Node) -> str:
    """Return the module that a node is of, and its line."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    lines = re.findall(r'File "(.+)", line (\d+)', node.meta.get("stack_trace") or "")
    return _named(str(path), name.rpartition(".")[2]) + (_at(":".join(lines[-1])) if lines else "")


def _named(path: str, kind: str) -> str:
    return f"{path} ({kind})" if path else f"the model's own forward ({kind})"


def _at(where: str) -> str:
    """Return where a line is, unless it is torch's."""
    return "" if str(Path(torch.__file__).parent) in where else f" at {where}"


def _nodes(error: BaseException | None) -> Iterator[torch.fx.Node]:
    """Yield the nodes that were being translated, the innermost last."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            node: Any = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node) and node.op == "call_function":
                yield node
        error = error.__cause__


def _cause(error: BaseException) -> BaseException:
    """Return the first cause: torch.onnx wraps it into a banner of its own."""
    while error.__cause__ is not None and str(error.__cause__).strip():
        error = error.__cause__
    return error
