"""Normalised maps in one kernel, and gates on the map as quotients.

    (x - mean) / sqrt(variance + e)    one InstanceNormalization, which OpenVINO runs as one MVN
    x sigmoid(y)                       x / (1 + exp(-y))

Both are exact in real numbers. OpenVINO's kernel for a sigmoid inside a chain takes more time than
its exp and division together (SimAM's chain, 1024x14x14, one thread, least of 40: 153 us against
108). Where exp(-y) overflows, below -88, the quotient is 0, as the product nearly is; half
precision keeps the sigmoid, as its exp overflows below -11. So do x sigmoid(x) and a sigmoid of a
layer, which convolutions take in.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import leaves
from edgeattn.lowering.targets.layout import CHANNELS, FIRST, SPACE, View, channels_of, extent
from edgeattn.lowering.targets.repeated import RepeatedWriter
from edgeattn.lowering.targets.squeeze import exchanged
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import ONE, Term, scalar, subterms


class NormedWriter(RepeatedWriter):
    """Writes normalised maps and gates on them."""

    def with_quotients(self, root: Term) -> Term:
        """Return an equal term whose gates on the map are quotients."""
        if self.dtype != ir.DataType.FLOAT:
            return root
        for product in [term for term in subterms(root) if term.op == "mul"]:
            for gate in product.args:
                if self._is_gate(gate, product) and self.takes("map-gate", "quotient"):
                    parts = gate.args[0].args if gate.args[0].op == "add" else gate.args
                    opposite = [self.terms.scaled(scalar(-1), part) for part in parts]
                    power = self.terms.fn("exp", self.terms.add(*opposite))
                    total = self.terms.add(power, self.terms.const(ONE))
                    root = exchanged(root, gate, self.terms.pow(total, -1), self._raising, {})
        return root

    @staticmethod
    def _is_gate(gate: Term, product: Term) -> bool:
        if gate.op != "fn" or gate.attrs != ("sigmoid",):
            return False
        (y,) = gate.args
        is_map = not y.is_thin() and bool(channels_of(y.indices()))
        return is_map and y.op not in {"leaf", "linear"} and y not in product.args

    def write_normalised(self, term: Term, view: View) -> Written:
        """Write a map that is normalised over all its positions as one operator."""
        over, epsilon = term.attrs
        x = self.on(term.args[0], FIRST)
        space = {index for index in x.indices if index.home in SPACE}
        channels = x.axes[CHANNELS]
        if not (space and channels) or set(leaves(over)) != space:
            return super().write_normalised(term, view)
        if not self.takes("moments", "norm"):
            return super().write_normalised(term, view)
        count = int(extent(channels))
        inputs = [x.value, self.real(np.ones(count)), self.real(np.zeros(count))]
        return self._seen(self.node("InstanceNormalization", inputs, x.axes, epsilon=epsilon), view)
