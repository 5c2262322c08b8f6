"""The precision audit: what each kernel was built in, against what was asked for.

In a strongly typed network the ONNX file says each type, and a cast that keeps some nodes in
float32 says so in its manifest. A kernel with a higher precision than asked for must hold such a
node, or be where float32 enters or leaves: at the network's inputs and outputs, or beside a kernel
that holds one; or the float32 must stay within one node, whose sums the library chose to compute
so. Anything else is a mismatch: a flag that was ignored, or a file that is not in the precision
that it is taken for.
"""

from __future__ import annotations

from collections import Counter

from edgeattn.records.engine import Mismatch, Precision
from edgeattn.records.layers import Kernel, LayerInformation


def audit(
    information: LayerInformation,
    asked: str,
    *,
    kept: frozenset[str] = frozenset(),
    quantised: frozenset[str] = frozenset(),
) -> Precision:
    """Compare the precision of each kernel with what was asked for.

    Args:
        information: The engine's kernels.
        asked: `fp32`, `fp16` or `int8`.
        kept: The ONNX nodes that the file keeps in float32 by intent.
        quantised: The ONNX nodes whose operands the file quantises: for int8, only they count.

    Returns:
        The kernels in each precision, and those that do not fit.
    """
    if asked == "fp16":
        passed = _float32_by_intent(information, kept)
        wrong = [
            kernel
            for kernel in information.kernels
            if information.precision(kernel) not in ("", "fp16")
            and not kept.intersection(kernel.nodes)
            and not _reads_and_writes(kernel, passed)
        ]
    elif asked == "int8":
        # The scale of a product may be a kernel of its own beside it, with the same name.
        done = {
            node
            for kernel in information.kernels
            if information.precision(kernel) == "int8"
            for node in kernel.nodes
        }
        missed = quantised - done
        wrong = [kernel for kernel in information.kernels if missed.intersection(kernel.nodes)]
    else:
        wrong = [k for k in information.kernels if information.precision(k) not in ("", asked)]
    counts = Counter(filter(None, map(information.precision, information.kernels)))
    return Precision(
        asked=asked,
        built={
            name: counts.get(name, 0) for name in dict.fromkeys(("fp32", "fp16", "int8", *counts))
        },
        kept=len(kept),
        mismatches=tuple(
            Mismatch(kernel=kernel.name, built=information.precision(kernel), nodes=kernel.nodes)
            for kernel in wrong
        ),
    )


def _reads_and_writes(kernel: Kernel, passed: set[str]) -> bool:
    """Return whether a kernel's float32 activations are all float32 by intent."""
    wide = [tensor.name for tensor in kernel.activations if tensor.dtype == "fp32"]
    return bool(wide) and all(name in passed for name in wide)


def _float32_by_intent(information: LayerInformation, kept: frozenset[str]) -> set[str]:
    """Return the tensors that are float32 because an input, an output or a kept node is.

    Copies, which come from no node, pass that on to what they read and write.
    """
    passed = {binding.name for binding in information.bindings} | _within_a_node(information)
    copies = []
    for kernel in information.kernels:
        if kept.intersection(kernel.nodes):
            passed.update(_names(kernel))
        elif not kernel.nodes:
            copies.append(_names(kernel))
    while touched := [names for names in copies if names & passed]:
        passed.update(*touched)
        copies = [names for names in copies if not names & passed]
    return passed


def _within_a_node(information: LayerInformation) -> set[str]:
    """Return the tensors between kernels that are all of one node, such as a norm's statistics."""
    holders: dict[str, list[Kernel]] = {}
    for kernel in information.kernels:
        for name in _names(kernel):
            holders.setdefault(name, []).append(kernel)
    return {
        name
        for name, kernels in holders.items()
        if len(kernels) > 1 and set.intersection(*(set(kernel.nodes) for kernel in kernels))
    }


def _names(kernel: Kernel) -> set[str]:
    return {tensor.name for tensor in kernel.activations}
