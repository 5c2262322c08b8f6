"""TensorRT: statistics from a channels-last view, the gate on the map as it is.

TensorRT's convolutions write channels last. A reduction over axes 2 and 3 makes it write a
transposed copy of the whole map first; written on Transpose(0, 2, 3, 1) of the map, the transpose
fuses into the reduction. Only the statistics cross back, [N, C, 1, 1]: where the gate reads the
transposed view, or a difference that the statistics were made from, that map is written out.
"""

from __future__ import annotations

from edgeattn.lowering.indices import leaves
from edgeattn.lowering.targets.layout import FIRST, LAST, View, axes_of, is_space, relayout
from edgeattn.lowering.targets.plain import Writer, Written
from edgeattn.lowering.terms import Term


class TensorRTWriter(Writer):
    """Writes terms for TensorRT."""

    def write_mean(self, term: Term, view: View) -> Written:
        return self._crossed(term, view) or super().write_mean(term, view)

    def write_max(self, term: Term, view: View) -> Written:
        return self._crossed(term, view) or super().write_max(term, view)

    def write_variance(self, term: Term, view: View) -> Written:
        return self._crossed(term, view) or super().write_variance(term, view)

    def _crossed(self, term: Term, view: View) -> Written | None:
        """Gives a statistic over the map from the channels-last view."""
        if view == LAST or not is_space(leaves(term.attrs)):
            return None
        last = self.on(term, LAST)
        axes = axes_of(last.indices, FIRST)
        self.build.origin = term.origin
        return Written(relayout(self.build, last.value, last.axes, axes), axes)
