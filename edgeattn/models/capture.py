"""Captures a torch module as an ONNX graph whose nodes and values are named after modules.

torch.export traces the module, torch's own translation writes the graph at the opset that torchlib
is written for, and constants are folded. No weight is changed: the initializers still share the
memory of the module's parameters, so the same graph can be written again after they change.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from onnx_ir.passes import common

from edgeattn.base.errors import InputError
from edgeattn.graph import tags
from edgeattn.models.quiet import quiet

if TYPE_CHECKING:
    import torch

#: The opset that torchlib's translations are written in.
TORCHLIB_OPSET = 18
_STACK = "pkg.torch.onnx.stack_trace"


def trace(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], *, dynamic_batch: bool
) -> torch.export.ExportedProgram:
    """Trace a module with torch.export.

    Args:
        module: The module, in evaluation mode.
        inputs: Example inputs; with a dynamic batch, their first dimension becomes `batch`.
        dynamic_batch: Whether every input's first dimension is left open.

    Returns:
        The exported program, which shares the module's parameters.

    Raises:
        InputError: If torch.export cannot trace the module, or the module fixes its batch.
    """
    import torch

    shapes = None
    if dynamic_batch:
        # torch.export specialises on sizes 0 and 1, so the example carries a batch of two.
        inputs = tuple(_two_samples(value) for value in inputs)
        shapes = _open_batch(module, inputs)
    failures: list[Exception] = []
    for strict in (False, True):
        forget_caches(module)
        try:
            with quiet(level=logging.CRITICAL):
                program = torch.export.export(module, inputs, dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # noqa: BLE001 - torch.export raises anything that a model raises
            failures.append(error)
        else:
            _complete_paths(program, module)
            return program
        finally:
            forget_caches(module)  # what was cached while tracing has no values
    from edgeattn.models import refusals

    raise refusals.of_trace(failures[0], module, dynamic_batch=dynamic_batch) from failures[0]


def _complete_paths(program: torch.export.ExportedProgram, module: torch.nn.Module) -> None:
    """Write the paths of modules from the root on, where torch has them from their parent on.

    So it has them of modules that a bound method calls which was put in the place of `forward`, as
    Ultralytics does to fuse.
    """
    known = {path for path, _ in module.named_modules(remove_duplicate=False)}
    for node in program.graph.nodes:
        outer = ""
        stack = {}
        for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
            name, *call = path.split("@")
            if name not in known and f"{outer}.{name}" in known:
                name = f"{outer}.{name}"
            stack[key] = "@".join([name, *call]), kind
            outer = name
        if stack:
            node.meta["nn_module_stack"] = stack


def _open_batch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """Return torch.export's dynamic shapes: by the arguments of forward, of which one may be *x."""
    import torch

    batch = torch.export.Dim("batch")
    given = inspect.signature(module.forward).bind(*inputs).arguments
    return {
        name: tuple({0: batch} for _ in value) if isinstance(value, tuple) else {0: batch}
        for name, value in given.items()
    }


def forget_caches(module: torch.nn.Module) -> None:
    """Clear what a module derived from its parameters and keeps.

    LeViT, EfficientFormer and others keep position biases so. A filled cache would be traced as a
    constant, and be stale once the parameters change. Modules clear their caches when they are
    moved, and a move to where they are does nothing else.
    """
    module.to("cpu")


def _two_samples(value: torch.Tensor) -> torch.Tensor:
    """Repeat a single sample along the first dimension, so that there are two."""
    if value.ndim == 0:
        raise InputError("--dynamic-batch needs inputs that have a first dimension.")
    if value.shape[0] >= 2:
        return value
    return value.repeat(2, *([1] * (value.ndim - 1)))


def translate(program: torch.export.ExportedProgram) -> ir.Model:
    """Translate an exported program to ONNX, at the opset that torchlib is written for.

    Args:
        program: What `trace` gave, or a loaded `.pt2`.

    Returns:
        The graph as torch wrote it, with its initializers on the program's own tensors; an open
        first dimension is called `batch`.

    Raises:
        InputError: If torch has no translation for an operator.
    """
    import torch

    from edgeattn.models import refusals, translations

    try:
        with quiet():
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=TORCHLIB_OPSET,
                custom_translation_table=dict(translations.table()),
                optimize=False,
                verbose=False,
            )
    except Exception as error:
        raise refusals.of_translation(error) from error
    assert onnx_program is not None
    leading = {value.shape[0] for value in onnx_program.model.graph.inputs if value.shape}
    symbols = [size.value for size in leading if isinstance(size, ir.SymbolicDim)]
    if len(symbols) == 1:
        onnx_program.rename_axes({str(symbols[0]): "batch"})
    return onnx_program.model


def fold(model: ir.Model) -> ir.Model:
    """Fold what is constant and remove what is unused, on a copy that shares the weights.

    Args:
        model: What `translate` gave.

    Returns:
        A new model; no rewrite that mixes weights into each other has been made.
    """
    from onnxscript.optimizer import fold_constants_ir

    folded = model.clone()
    with quiet():
        common.InlinePass()(folded)
        for _ in range(2):
            if not fold_constants_ir(folded).modified:
                break
            common.RemoveUnusedNodesPass()(folded)
        ir.passes.Sequential(
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]  # theirs
            common.RemoveUnusedOpsetsPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.CommonSubexpressionEliminationPass(),
            common.OutputFixPass(),
        )(folded)
    return folded


def name_everything(
    model: ir.Model, *, input_names: Sequence[str], output_names: Sequence[str]
) -> dict[str, str]:
    """Name inputs, outputs, nodes and values, and remove what torch left in the metadata.

    Args:
        model: A folded model, changed in place.
        input_names: Names for the inputs; empty for `input` (`input_0`, … if there are more).
        output_names: The same for the outputs.

    Returns:
        The stack in which torch met each node's operation, by the node's name.

    Raises:
        InputError: If the number of names is not the number of inputs or outputs, or names repeat.
    """
    inputs = io_names("input", input_names, len(model.graph.inputs))
    outputs = io_names("output", output_names, len(model.graph.outputs))
    if shared := set(inputs) & set(outputs):
        raise InputError(f"Inputs and outputs share names: {', '.join(sorted(shared))}")
    stacks: dict[ir.Node, str] = {}
    for node in reversed(model.graph):  # what folding made is as what reads it
        readers = (stacks.get(user, "") for value in node.outputs for user, _ in value.uses())
        stacks[node] = node.metadata_props.get(_STACK) or next(filter(None, readers), "")
    tags.tag(model, inputs=inputs, outputs=outputs)
    return {str(node.name): stack for node, stack in stacks.items()}


def io_names(kind: str, asked: Sequence[str], count: int) -> list[str]:
    """Name inputs or outputs: as asked, or `input`, or `input_0` and so on.

    Args:
        kind: `input` or `output`.
        asked: The names that were asked for.
        count: How many there are.

    Raises:
        InputError: The number of names is wrong, or they repeat.
    """
    if not asked:
        return [kind] if count == 1 else [f"{kind}_{index}" for index in range(count)]
    if len(asked) != count:
        raise InputError(
            f"The model has {count} {kind}s, but {len(asked)} names were given.",
            mend=f"Give --{kind}-name {count} times, or not at all.",
        )
    if len(set(asked)) != len(asked) or not all(asked):
        raise InputError(f"The {kind} names must differ and not be empty: {', '.join(asked)}")
    return list(asked)
