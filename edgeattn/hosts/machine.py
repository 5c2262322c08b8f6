"""What a host is: what a record says of it, and what its GPU is built for."""

from __future__ import annotations

from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.probe import HostFacts
from edgeattn.records.trace import Machine


def machine_of(facts: HostFacts, by: str) -> Machine:
    """Return what something was done on, for its record: the kind of a board, not its address.

    Args:
        facts: What is there.
        by: What it was done by: "trtexec", or "ONNX Runtime 1.19.2".
    """
    known = {
        "jetpack": facts.jetpack,
        "l4t": facts.l4t,
        "cuda": facts.cuda,
        "tensorrt": facts.tensorrt,
        "system": facts.system,
    }
    device = facts.device
    if by == "trtexec" and gpu_of(facts) is None:  # the profile is that of its processor
        device = facts.gpu
    return Machine(
        device=device or facts.title,
        title=facts.words(by),
        power_mode=facts.power_mode or "",
        facts={name: said for name, said in known.items() if said},
    )


def gpu_of(facts: HostFacts) -> DeviceProfile | None:
    """Return the device profile of a host, if that has a GPU which TensorRT builds for."""
    device = None if facts.device is None else find(facts.device)
    return None if device is None or device.compute_capability is None else device
