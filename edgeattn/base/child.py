"""Runs a module as a program that ends when the process that started it does.

`python -m edgeattn.base.child PARENT MODULE ARGUMENT...`, as `worker.program` writes it: this is
imported before anything heavy is.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys

from edgeattn.base import memory


def main() -> None:
    """Run the module."""
    # Ctrl-C in a terminal reaches all its processes; what becomes of this one, its parent says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, parent, module, *arguments = sys.argv
    _end_with(int(parent))
    sys.argv = [module, *arguments]
    memory.collect_seldom()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        memory.keep_to_the_end()


def _end_with(parent: int) -> None:
    """Have this process end when its parent does, however that ends."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)
    else:
        import threading

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
        psutil.Process(parent).wait()
    os._exit(1)


if __name__ == "__main__":
    main()
