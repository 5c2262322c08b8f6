"""The discrete Fourier transform: where its axis is written."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, static_ints
from edgeattn.legalise.refusals import RefusedError


def dft_axis_to_input(node: ir.Node, edit: Edit) -> None:
    """DFT 17 → 20: the axis (1 where not given) becomes an input. Bit-exact."""
    axis = node.attributes.pop("axis", None)
    place = np.array(1 if axis is None else axis.as_int(), dtype=np.int64)
    edit.set_input(2, edit.constant(place, "axis"))


def dft_axis_to_attribute(node: ir.Node, edit: Edit) -> None:
    """DFT 20 → 17: the axis (-2 where not given) becomes an attribute. Bit-exact.

    Requires a constant axis.
    """
    source = given(node, 2)
    axis = [-2] if source is None else static_ints(source)
    if axis is None:
        raise RefusedError("its axis is computed at run time")
    if source is not None:
        edit.set_input(2, None)
        edit.trim()
    node.attributes["axis"] = ir.AttrInt64("axis", axis[0])
