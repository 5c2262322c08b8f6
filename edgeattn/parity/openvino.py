"""An ONNX file in OpenVINO, compared with a reference, which ONNX Runtime or torch has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeattn.base import files
from edgeattn.graph.reading import facts_of
from edgeattn.parity.bisect import first_difference_elsewhere
from edgeattn.parity.compare import Reference, Run, compare_runs
from edgeattn.parity.metrics import Tolerance
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes import openvino
from edgeattn.runtimes.onnxruntime import Array, TakesInputs, inputs_of, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVino:
    """OpenVINO on this machine, in float32.

    Attributes:
        device: Its device.
    """

    device: str = openvino.CPU

    def compare(self, path: Path, reference: Reference, tolerance: Tolerance) -> ParityReport:
        """Compare a file with a reference, and name the first module that differs.

        Raises:
            InputError: OpenVINO cannot load or run the file.
            MissingError: OpenVINO is not installed, or has no such device.
        """
        runs = list(self.runs(inputs_of(path), reference.inputs))
        report = compare_runs(lambda _: runs, reference, tolerance)
        if report.passed:
            return report
        first = self.first_difference(path, reference.inputs, Tolerance.of(report))
        if first is None:  # what differs may be the file itself
            return reference.located(report, path)
        return report.model_copy(update={"first_difference": first})

    def runs(self, session: TakesInputs, inputs: Mapping[int, Sequence[Array]]) -> Iterator[Run]:
        """Run a file at every batch size.

        Args:
            session: The file, and what it takes.
            inputs: Per batch size, one array per input.

        Raises:
            InputError: OpenVINO cannot load or run the file.
            MissingError: OpenVINO is not installed, or has no such device.
        """
        feeds = [taken(session, arrays) for arrays in inputs.values()]
        names = [one.name for one in facts_of(session.path).outputs]
        found = openvino.outputs(session.path, feeds, device=self.device)
        for batch, outputs in zip(inputs, found, strict=True):
            yield Run(
                optimisations="on",
                batch=batch,
                names=names,
                outputs=outputs,
                runtime="openvino",
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
