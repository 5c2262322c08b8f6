"""Which optimisation profile a kernel runs for.

An engine holds the kernels of each profile. For profiles beyond the first, TensorRT says so behind
the names of layers and of the network's inputs and outputs: `x [profile 1]`. For what lies between,
nothing says so but the tensors that it shares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from edgeattn.records.layers import Kernel, KernelTensor

_SUFFIX: Final = re.compile(r" \[profile (\d+)\]$")


def bare(name: str) -> str:
    """Return a name without the profile behind it."""
    return _SUFFIX.sub("", name)


def assigned(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return the kernels with their profiles, and name without them.

    Args:
        kernels: All that TensorRT lists, in its order.

    Returns:
        As many, in the same order.
    """
    names = {name for kernel in kernels for name in _names(kernel)}
    if not any(_SUFFIX.search(name) for name in names):
        return list(kernels)
    profiles = _spread(kernels)
    return [
        replace(
            kernel,
            name=bare(kernel.name),
            inputs=_bared(kernel.inputs),
            constants=_bared(kernel.constants),
            outputs=_bared(kernel.outputs),
            profile=profile,
        )
        for kernel, profile in zip(kernels, profiles, strict=True)
    ]


def _spread(kernels: Sequence[Kernel]) -> list[int]:
    """Find the profile of each kernel: its own, or that of what its tensors join it to."""
    known = {
        name: int(found[1])
        for kernel in kernels
        for name in _names(kernel)
        if (found := _SUFFIX.search(name)) is not None
    }
    profiles = [0] * len(kernels)
    is_changed = True
    while is_changed:
        is_changed = False
        for index, kernel in enumerate(kernels):
            said = max((known.get(name, 0) for name in _names(kernel)), default=0)
            if said and not profiles[index]:
                profiles[index] = said
                known.update(dict.fromkeys(_names(kernel), said))
                is_changed = True
    return profiles


def _names(kernel: Kernel) -> list[str]:
    """Return the names that join a kernel to others of its profile: its own, and of activations."""
    return [kernel.name, *(tensor.name for tensor in kernel.activations)]


def _bared(tensors: tuple[KernelTensor, ...]) -> tuple[KernelTensor, ...]:
    return tuple(replace(tensor, name=bare(tensor.name)) for tensor in tensors)
