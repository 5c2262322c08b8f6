"""What a library is given of a model: forms that it takes, in place of those that it does not."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeattn.engine import quantised
from edgeattn.engine.target import Target
from edgeattn.engine.turing import Rewritten, for_turing


def for_library(model: ir.Model, target: Target) -> Rewritten | None:
    """Rewrite a model where the library, or what it is built for, does not take it.

    Args:
        model: The model, which is left as it is; every node has a name of its own.
        target: What is built for, and by which library.

    Returns:
        What to build instead, or None if the model can be built as it is.
    """
    first = quantised.rewrite(model)
    last = for_turing(model if first is None else first.model, target)
    if first is None or last is None:
        return first or last
    return replace(last, notes=(*first.notes, *last.notes))
