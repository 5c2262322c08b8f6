"""Write an ONNX file; describe its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from edgeattn.graph.nodes import size_bytes
from edgeattn.records.manifest import Tensor

#: Weights above this many bytes go to a file of their own beside the model.
_LARGEST_INLINE_BYTES = 2**31 - 2**26


def save(model: ir.Model, path: Path, *, external: bool = False) -> None:
    """Write a model.

    Args:
        model: The model.
        path: The file.
        external: Put the weights into a file beside it, which needs no memory for a copy of them;
            done in any case where one message cannot hold them.
    """
    import onnx_ir

    from edgeattn.graph import inside

    weights_bytes = sum(
        size_bytes(value.const_value)
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )
    external = external or weights_bytes > _LARGEST_INLINE_BYTES
    if external:
        onnx_ir.save(model, path, external_data=f"{path.name}.data")
    else:
        inside.write(model, path)


def describe(values: Sequence[ir.Value]) -> tuple[Tensor, ...]:
    """Return the names, shapes and types of graph inputs or outputs."""
    return tuple(
        Tensor(
            name=str(value.name),
            shape=tuple(
                size if isinstance(size, int) else str(size) for size in (value.shape or ())
            ),
            dtype=str(value.dtype.numpy()) if value.dtype is not None else "unknown",
        )
        for value in values
    )
