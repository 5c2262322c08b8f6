"""The last step of a ladder in OpenVINO on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.precision import Precision
from edgeattn.parity.compare import Reference
from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.openvino import OpenVino
from edgeattn.records.trace import Machine
from edgeattn.runtimes.onnxruntime import inputs_of
from edgeattn.runtimes.openvino import explained, machine_of
from edgeattn.workflows.pipeline import BOTH, Candidate, Step, tolerance_of_cast


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoHere:
    """OpenVINO, as what the last step is taken on; see `pipeline.Top`.

    Attributes:
        runtime: What runs files.
        min_sqnr_db: What less than float32 is held to; None reports it.
    """

    runtime: OpenVino
    min_sqnr_db: float | None = None

    @property
    def machine(self) -> Machine:
        """What the step is taken on."""
        return machine_of(self.runtime.device)

    @property
    def destined(self) -> dict[str, str]:
        """What models are lowered for there."""
        return {"target": "openvino"}

    @property
    def opset(self) -> int | None:
        """The highest opset that it takes: that of any export."""
        return None

    def takes_cast(self, cast: CastOptions) -> bool:
        """Return whether the file is cast before."""
        del cast
        return True

    def step(
        self, folder: Path, cast: CastOptions | None, precision: Precision, notes: list[str]
    ) -> Step:
        """Return the step: with random weights too, where no cast stands below it."""
        del folder
        tolerance = tolerance_of(precision) if cast is None else tolerance_of_cast(cast)
        if self.runtime.precision != "fp32":
            tolerance = tolerance_of(self.runtime.precision, min_sqnr_db=self.min_sqnr_db)
        return Step(
            name="openvino",
            tolerance=tolerance,
            make=partial(_make, self.runtime, notes),
            weights=BOTH if cast is None else ("model",),
            is_asked=True,
        )


def _make(runtime: OpenVino, notes: list[str], reference: Reference, below: Path) -> Candidate:
    """Run the file below on the reference's inputs.

    Raises:
        CheckError: OpenVINO does not take the file, which ONNX Runtime runs.
        MissingError: It is not installed, or has no such device.
    """
    try:
        said: list[str] = []
        runs = list(runtime.runs(inputs_of(below), reference.inputs, said))
    except InputError as error:
        if str(below) not in error.fact:  # it is what was asked that OpenVINO has not
            raise
        raise refused(error, below) from error
    notes += (one for one in said if one not in notes)
    return Candidate(
        path=below,
        runs=runs,
        locate=lambda tolerance: runtime.first_difference(below, reference.inputs, tolerance),
    )


def refused(error: InputError, path: Path) -> CheckError:
    """Return why a rung falls whose file OpenVINO does not take, which ONNX Runtime runs."""
    told = explained(error, path)
    fact = told.fact.replace(str(path), "the file")  # it may lie in a scratch folder
    return CheckError(fact, mend=told.mend)
