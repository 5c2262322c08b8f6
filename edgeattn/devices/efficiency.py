"""The efficiency of kernels: fractions of a device's peak and bandwidths that they reach."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeattn.devices.fields import Columns, Fraction, OperatorName, Part, Table
from edgeattn.records.kinds import Kind as KernelKind
from edgeattn.records.work import Layer

Peak = Literal["fp32", "tf32", "fp16", "fp16_fp32_accumulate", "int8", "fp8"]


class Efficiency(Table):
    """The fractions of a device's peak and bandwidths that kernels reach.

    Attributes:
        compute: Of the peak, by a convolution or a product whose tiles fill the cores.
        types: The same of a type that was measured by itself.
        depthwise: Of the peak in fp32, by a depthwise convolution; `compute` if not given.
        bandwidth: Of the memory's bandwidth, by kind of kernel. A kind that is not named reaches
            what `other` does.
        layers: Of a CPU's peak, by class of layer, where each run is long; a guess where it is
            not said.
        ends: What the ends of each run cost, in places of it: columns of a map's row, or of a
            whole map where rows are run through as one.
        operators: Of a CPU's `last_level_gbps`, by operator of ONNX Runtime: what it moves, inputs
            and outputs, while they are in the cache. Operators that compute much reach little.
    """

    compute: Fraction
    types: dict[Peak, Fraction] = Field(default_factory=dict)
    depthwise: Fraction | None = None
    bandwidth: dict[KernelKind, Fraction]
    layers: dict[Layer, Fraction] = Field(default_factory=dict)
    ends: dict[Layer, Columns] = Field(default_factory=dict)
    operators: dict[OperatorName, Part] = Field(default_factory=dict)

    def of_peak(self, peak: Peak) -> float:
        """Return the part of a type's peak that a product reaches."""
        return self.types.get(peak, self.compute)

    def of_bandwidth(self, kind: KernelKind) -> float:
        """Return the part of the bandwidth that a kind of kernel reaches."""
        return self.bandwidth.get(kind, self.bandwidth["other"])
