"""ONNX Runtime on a CPU."""

from __future__ import annotations

from edgeattn.lowering.targets.plain import Writer


class ONNXRuntimeWriter(Writer):
    """Writes terms for ONNX Runtime's CPU kernels."""
