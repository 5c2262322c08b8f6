"""OpenVINO on a CPU: maps stay as its convolutions write them, channels last.

It generates one kernel for a chain of elementwise operators, broadcasts included, so a gate is
written as it is: on the map, with the residual sum and the activation behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import onnx_ir as ir

from edgeattn.lowering.measures import Figures
from edgeattn.lowering.targets import subgraphs
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.targets.writer import Form, named
from edgeattn.lowering.terms import Term


class OpenVINOWriter(PlainWriter):
    """Writes terms for OpenVINO's CPU kernels."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "squeeze": named("map", "cheaper"),
        "groups": named("dense", "grouped"),
        "linear-map": named("separate"),
    }

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return the kernels that OpenVINO runs for some nodes, and what they move."""
        return subgraphs.measure(nodes, instead_of)

    def prepared(self, term: Term) -> Term:
        squeezed = through_producer(term, self._raising)
        if squeezed is not term and self.takes("squeeze", "cheaper"):
            return squeezed
        return term
