"""Random numbers that depend on a seed alone, and leave the caller's own as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's and Python's generators, and put their states back afterwards.

    Args:
        seed: Any integer.
    """
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        # The CPU's alone: models are built there, and torch.manual_seed would touch every device.
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
