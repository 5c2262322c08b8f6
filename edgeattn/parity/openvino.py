"""An ONNX file in OpenVINO, compared with a reference, which ONNX Runtime or torch has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgeattn.base import files
from edgeattn.graph.marks import forms_of
from edgeattn.graph.reading import facts_of, load
from edgeattn.lowering.misfit import misfit
from edgeattn.options.precision import HINTS
from edgeattn.parity.bisect import first_difference_elsewhere
from edgeattn.parity.compare import Reference, Run, compare_runs
from edgeattn.parity.metrics import Tolerance
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes import openvino
from edgeattn.runtimes.onnxruntime import Array, TakesInputs, inputs_of, taken

#: What OpenVINO calls float32.
_SINGLE: Final = "f32"
_WHOLE: Final = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVino:
    """OpenVINO on this machine.

    Attributes:
        device: Its device.
        precision: What it is to compute in: fp32, bf16 or fp16.
    """

    device: str = openvino.CPU
    precision: str = "fp32"

    def compare(self, path: Path, reference: Reference, tolerance: Tolerance) -> ParityReport:
        """Compare a file with a reference, and name the first module that differs.

        Raises:
            InputError: OpenVINO cannot load or run the file.
            MissingError: OpenVINO is not installed, or has no such device.
        """
        notes = [misfit(path, forms_of(load(path)), "openvino")]
        runs = list(self.runs(inputs_of(path), reference.inputs, notes))
        report = compare_runs(lambda _: runs, reference, tolerance)
        if not report.passed:
            first = self.first_difference(path, reference.inputs, Tolerance.of(report))
            if first is None:  # what differs may be the file itself
                report = reference.located(report, path)
            else:
                report = report.model_copy(update={"first_difference": first})
        return report.model_copy(update={"notes": (*report.notes, *filter(None, notes))})

    def runs(
        self,
        session: TakesInputs,
        inputs: Mapping[int, Sequence[Array]],
        notes: list[str] | None = None,
    ) -> Iterator[Run]:
        """Run a file at every batch size.

        Args:
            session: The file, and what it takes.
            inputs: Per batch size, one array per input.
            notes: What the user should know, which it adds to.

        Raises:
            InputError: OpenVINO cannot load or run the file.
            MissingError: OpenVINO is not installed, or has no such device.
        """
        feeds = [taken(session, arrays) for arrays in inputs.values()]
        facts = facts_of(session.path)
        names = [one.name for one in facts.outputs]
        hint = HINTS.get(self.precision, _SINGLE)
        found, was = openvino.outputs(session.path, feeds, device=self.device, precision=hint)
        if notes is not None:
            notes += _remarks(feeds, hint, was)
        for batch, outputs in zip(inputs, found, strict=True):
            yield Run(
                optimisations="on",
                batch=batch,
                names=names,
                outputs=outputs,
                runtime="openvino",
                maps=facts.maps,
            )

    def first_difference(
        self, path: Path, inputs: Mapping[int, Sequence[Array]], tolerance: Tolerance
    ) -> str | None:
        """Name the first value of a file that OpenVINO makes something else of.

        Returns:
            A module path or the value's name; None if all agree with ONNX Runtime's, or if that
            cannot be told.
        """
        with files.scratch() as folder:
            return first_difference_elsewhere(folder, path, inputs, tolerance, self.runs)


def _remarks(feeds: Sequence[Mapping[str, Array]], asked: str, was: str) -> Iterator[str]:
    """Say what OpenVINO computed in, where that is not float32, and what it cuts off."""
    if was and (asked, was) != (_SINGLE, _SINGLE):
        yield f"OpenVINO computed in {was}" + ("." if asked == was else f", and {asked} was asked.")
    for name, array in feeds[0].items():
        if array.dtype.kind in "iu" and array.size and not _fits(array):
            yield f"OpenVINO cuts whole numbers to 32 bits, and {name} holds larger ones."


def _fits(array: Array) -> bool:
    return bool(_WHOLE.min <= array.min() and array.max() <= _WHOLE.max)
