"""torch modules, run in eager mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeattn.base.errors import InputError, first_line
from edgeattn.runtimes.onnxruntime import Array

if TYPE_CHECKING:
    import torch


def run_torch(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> list[Array]:
    """Run a module in eager mode and flatten what it gives, leaving out what is no tensor.

    Raises:
        InputError: If the module does not take these inputs.
    """
    import torch
    from torch.utils import _pytree

    try:
        with torch.no_grad():
            # Clones, because a model may change its input in place.
            outputs = module(*(value.clone() for value in inputs))
    except Exception as error:
        shapes = ", ".join("x".join(map(str, value.shape)) for value in inputs)
        raise InputError(f"The model fails on inputs of {shapes}: {first_line(error)}") from error
    leaves = _pytree.tree_leaves(outputs)
    return [leaf.numpy(force=True) for leaf in leaves if isinstance(leaf, torch.Tensor)]
