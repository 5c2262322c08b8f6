"""Parity: the outputs of two forms of one model are equal, or the first module that differs."""

from __future__ import annotations

from edgeattn.parity.check import check_file, compare_files
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.records.parity import OutputParity, ParityCase, ParityReport

__all__ = [
    "OutputParity",
    "ParityCase",
    "ParityReport",
    "Tolerance",
    "check_file",
    "compare_files",
    "tolerance_of",
]
