"""OpenVINO on a CPU: maps stay as its convolutions write them, channels last.

It generates one kernel for a chain of elementwise operators, broadcasts included, so a gate is
written as it is: on the map, with the residual sum and the activation behind it.

Reductions run near the bandwidth of the cache in any layout, so only their passes matter: a mean is
taken before a convolution that widens. Tried and not taken: the gate in the weights of the
convolution, which OpenVINO takes as computed and sums into, but whose bias needs a pass, or a
channel of ones (Concat, 58 us of the 127 that the gate takes at 256x56x56, and 40 for the weights);
the product as a MatMul, which takes in no sum; layers on one pixel as FullyConnected, which read
their weights no faster than convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import onnx_ir as ir

from edgeattn.lowering.measures import Figures
from edgeattn.lowering.targets import subgraphs
from edgeattn.lowering.targets.layout import CHANNELS, View, shape_of
from edgeattn.lowering.targets.normed import NormedWriter
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import Term

_HARD_SWISH_SINCE: Final = 14
_HARD_SWISH: Final = (1 / 6, 0.5)


class OpenVINOWriter(NormedWriter):
    """Writes terms for OpenVINO's CPU kernels."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "squeeze": named("cheaper", "map"),
        "groups": named("dense", "grouped"),
        "linear-map": named("separate"),
        "product": named("shared", "apart"),
        "single-channel": named("phases", "convolution"),
        "moments": named("norm", "parts"),
        "map-gate": named("quotient", "product"),
        "repeat": named("convolution", "gather"),
    }

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return the kernels that OpenVINO runs for some nodes, and what they move."""
        return subgraphs.measure(nodes, instead_of)

    def prepared(self, term: Term) -> Term:
        return self.with_quotients(self.squeezed(term))

    def write_fn(self, term: Term, view: View) -> Written:
        made = self.by_phases(term)
        return super().write_fn(term, view) if made is None else self._seen(made, view)

    def apply(self, function: tuple[Any, ...], x: Written) -> Written:
        """Apply a function of a band over channels to it, and not to its view as a map."""
        view, flat = x.value.producer(), (x.axes[0], (), x.axes[CHANNELS])
        band = view.inputs[0] if view is not None and view.op_type == "Reshape" else None
        node = None if band is None else band.producer()
        is_band = node is not None and node.op_type == "Conv" and node.graph is None
        if band is None or band.shape is None or not is_band:
            return super().apply(function, x)
        if list(band.shape) != list(shape_of(flat)):
            return super().apply(function, x)
        return self.shaped(super().apply(function, Written(band, flat)).value, x.axes)

    def write_add(self, term: Term, view: View) -> Written:
        return self.layer_of_one(term, view) or super().write_add(term, view)

    def write_mul(self, term: Term, view: View) -> Written:
        term = self.shared_product(term, view)
        special = self._hard_swish(term, view) or self.layer_of_one(term, view)
        return special or super().write_mul(term, view)

    def _hard_swish(self, term: Term, view: View) -> Written | None:
        """Write x * HardSigmoid(x) as one operator, which a convolution takes in."""
        for arg in term.args if self.build.opset >= _HARD_SWISH_SINCE else ():
            hard = self.hard_sigmoid(arg)
            if hard is None or hard[0] not in term.args or hard[1:] != _HARD_SWISH:
                continue
            rest = [one for one in term.args if one is not arg and one is not hard[0]]
            if rest:
                swish = self.terms.make("mul", [hard[0], arg], own=hard[0].own)
                return super().write_mul(self.terms.make("mul", [swish, *rest], own=term.own), view)
            x = self.on(hard[0], view)
            self.build.origin = term.origin
            return self.node("HardSwish", [x.value], x.axes)
        return None
