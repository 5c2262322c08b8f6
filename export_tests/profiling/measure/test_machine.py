"""What the machine does meanwhile, and what warns of it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from edgeattn.profiling.measure.machine import Load, Watch, warnings_of
from edgeattn.runtimes import runner


def test_another_process_is_seen():
    watch = Watch()
    # What is started leaves another behind, which is nobody's child.
    busy = (
        "import os, time\nif os.fork(): os._exit(0)\n"
        "end = time.time() + 0.6\nwhile time.time() < end: pass"
    )
    subprocess.run([sys.executable, "-c", busy], check=True)
    time.sleep(0.6)
    load = watch.load()
    assert load.cores_of_others > 0.2
    assert "had " in warnings_of(load)[0]


def test_bandwidths_are_of_this_century():
    memory, cache = runner.memory_bandwidth_gbps(1), runner.cache_bandwidth_gbps(1)
    assert 0.5 < memory < 2000
    assert 0.5 < cache < 20_000


def test_the_processor_has_a_name():
    assert runner.cpu_name()
    assert runner.usable_cores() >= 1
    assert (runner.last_cache_kib() or 1 << 10) >= 1 << 6


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(cores_of_others=0.05, clock_mhz=None, throttled=None), []),
        (Load(cores_of_others=0.5, clock_mhz=None, throttled=0), ["had 0.50 cores"]),
        (Load(cores_of_others=0.0, clock_mhz=(1000, 1030), throttled=0), []),
        (Load(cores_of_others=0.0, clock_mhz=(800, 2400), throttled=0), ["800 to 2400 MHz"]),
        (Load(cores_of_others=0.0, clock_mhz=None, throttled=3), ["throttled 3 times"]),
    ],
)
def test_warnings(load, said):
    found = warnings_of(load)
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))
