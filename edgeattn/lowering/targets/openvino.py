"""OpenVINO on a CPU: maps stay as its convolutions write them, channels last.

It generates one kernel for a chain of elementwise operators, broadcasts included, so a gate is
written as it is: on the map, with the residual sum and the activation behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import onnx_ir as ir

from edgeattn.lowering.measures import Figures
from edgeattn.lowering.targets import subgraphs
from edgeattn.lowering.targets.layout import View
from edgeattn.lowering.targets.normed import NormedWriter
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import Term


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._squeezes: dict[Term, tuple[Term, Term]] = {}

    def prepared(self, term: Term) -> Term:
        if self.takes("squeeze", "cheaper"):
            known = self._squeezes
            term = through_producer(term, self._raising, passes=1, alone=False, known=known)
        return self.with_quotients(term)

    def write_fn(self, term: Term, view: View) -> Written:
        made = self.by_phases(term)
        return super().write_fn(term, view) if made is None else self._seen(made, view)

    def write_mul(self, term: Term, view: View) -> Written:
        product = self.known_product(term, view)
        if product is not None and self.takes("product", "shared"):
            term = product
        return super().write_mul(term, view)
