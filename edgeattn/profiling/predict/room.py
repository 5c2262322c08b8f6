"""Whether a device has room for a model: what it takes of memory at least, and what there is."""

from __future__ import annotations

from collections.abc import Sequence

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.assemble import Profiled

_GIB = 1 << 30


def check(found: Sequence[Profiled], device: DeviceProfile) -> None:
    """Refuse models that a device cannot hold: no time is to be had of them there.

    Args:
        found: The models, predicted for the device.
        device: The device.

    Raises:
        InputError: The weights of one, and the most that its activations take at one time, are
            more than the device's memory.
    """
    for trace in (one.row.trace for one in found):
        needed_gib = ((trace.weights_bytes or 0) + (trace.activations_bytes or 0)) / _GIB
        if device.memory_gib is not None and needed_gib > device.memory_gib:
            raise InputError(
                f"{device.title} cannot hold {trace.name}: weights and activations take"
                f" {needed_gib:.3g} GiB at least, and it has {device.memory_gib:g}.",
                mend="Take a smaller batch or input, or another device.",
            )
