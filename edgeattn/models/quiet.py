"""Keeps what libraries print and log off the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Final

#: The loggers of what an export to ONNX runs.
EXPORTING: Final = ("torch", "torch.onnx", "onnxscript")


@contextlib.contextmanager
def quiet(loggers: Iterable[str] = EXPORTING, *, level: int = logging.ERROR) -> Iterator[None]:
    """Silence warnings, standard output and standard error, and log only what is severe.

    Args:
        loggers: The names of the loggers to keep quiet.
        level: What is still logged.
    """
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in levels:
        logging.getLogger(name).setLevel(level)
    silence = io.StringIO()  # torch prints the graph of what it cannot trace
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
