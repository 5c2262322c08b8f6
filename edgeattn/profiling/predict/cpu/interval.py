"""Between what bounds a prediction for a CPU holds, nine times in ten: `gpu.interval`'s, widened.

The spreads are standard deviations of the logarithm, as there.
"""

from __future__ import annotations

from typing import Final

from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.predict.gpu.interval import bounds, of_many

__all__ = ["GUESS", "KNOWN", "MODEL", "UNKNOWN", "bounds", "of_many", "shared"]

# Of a kernel by itself. Known: its class or operator is in the tables; unknown: it is not.
KNOWN: Final = 0.25
UNKNOWN: Final = 0.8
# What all kernels share. Model: models are missed by 0.05 to 0.12 by benchmarks/prediction_cpu.py,
# mostly for what the machine does otherwise than while it was calibrated. Guess: nobody measured
# the device.
MODEL: Final = 0.1
GUESS: Final = 0.4


def shared(device: DeviceProfile) -> list[float]:
    """Return the spreads of the errors that all kernels on a CPU share."""
    is_guess = device.is_guess("efficiency") or not device.efficiency.operators
    is_guess = is_guess and not device.fitted_to
    return [MODEL, *([GUESS] if is_guess else [])]
