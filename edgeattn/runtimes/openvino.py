"""OpenVINO on this machine, in a process of its own: what it crashes or hangs over is not ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import version_of
from edgeattn.base.worker import Worker
from edgeattn.graph.reading import as_read, load
from edgeattn.records.trace import Machine
from edgeattn.runtimes import runner
from edgeattn.runtimes.arrays import read_npy
from edgeattn.runtimes.onnxruntime import Array, limit_of

CPU: Final = "CPU"
_UNTAKEN: Final = re.compile(
    r"OpenVINO cannot load .*: it does not take ([^:]+)(: .*?)?(?: \((.+)\))?$"
)
_MOST_NAMED: Final = 3


def version() -> str:
    """Return the version of OpenVINO."""
    return version_of("openvino") or "unknown"


def check_installed() -> None:
    """Refuse to go on without OpenVINO.

    Raises:
        MissingError: It is not installed.
    """
    if version_of("openvino") is None:
        raise MissingError(
            "OpenVINO is not installed.", mend="Install it: pip install edgeattn[openvino]"
        )


def machine_of(device: str) -> Machine:
    """Return what something is done on, for its record."""
    name = runner.cpu_name()
    title = f"{name}, OpenVINO {version()}" + ("" if device == CPU else f" on {device}")
    return Machine(device=name, title=title, facts={"openvino": version(), "device": device})


def check_precision(precision: str, *, device: str = CPU) -> None:
    """Refuse a precision that a device does not compute in, before any work is done.

    Args:
        precision: As OpenVINO calls it: bf16.
        device: OpenVINO's device.

    Raises:
        InputError: The device does not compute in it.
        MissingError: OpenVINO is not installed, or has no such device.
    """
    check_installed()
    with Worker(runner.__name__, does="looked at OpenVINO") as worker:
        worker.ask({"task": "check_openvino", "device": device, "precision": precision})
        worker.finish()


def outputs(
    path: Path,
    feeds: Sequence[Mapping[str, Array]],
    *,
    device: str = CPU,
    precision: str = "f32",
) -> tuple[list[list[Array]], str]:
    """Run a file.

    Args:
        path: The ONNX file.
        feeds: Of each run, the inputs by name.
        device: OpenVINO's device.
        precision: What it is to compute in: f32, bf16 or f16.

    Returns:
        Of each run, the outputs in the file's order; and what it computed in.

    Raises:
        InputError: OpenVINO does not take the file, or fails while it runs.
        MissingError: OpenVINO is not installed, or has no such device.
    """
    import numpy as np

    check_installed()
    with (
        files.scratch() as folder,
        as_read(path) as file,
        Worker(runner.__name__, does=f"ran {path} in OpenVINO") as worker,
    ):
        given = []
        for run, arrays in enumerate(feeds):
            places = {name: folder / f"{run}-{k}.npy" for k, name in enumerate(arrays)}
            for name, place in places.items():
                np.save(place, arrays[name], allow_pickle=False)
            given.append({"files": {name: str(place) for name, place in places.items()}})
        model = {
            "path": str(file),
            "name": str(path),
            "inputs": given[0],
            "limit_s": limit_of(path),
            "runtime": "openvino",
            "device": device,
            "precision": precision,
        }
        job = {
            "task": "outputs",
            "model": model,
            "inputs": given,
            "folder": str(folder / "outputs"),
            "optimise": True,
        }
        try:
            answer = worker.ask(job)
        except InputError as error:
            raise explained(error, path) from error
        written: list[list[str]] = answer["files"]
        found = [[read_npy(folder / "outputs" / one).copy() for one in run] for run in written]
        return found, str(answer["precision"])


def explained(error: InputError, path: Path) -> InputError:
    """Return what a runner said, with the nodes of a file that OpenVINO does not take, if any.

    Args:
        error: What it said.
        path: The file.
    """
    untaken = _UNTAKEN.search(error.fact)
    if untaken is None or str(path) not in error.fact:
        return error
    operators = {one.rpartition("-")[0] for one in untaken[1].split(", ")}
    nodes = [node for node in load(path).graph.all_nodes() if node.op_type in operators]
    # OpenVINO calls a node by its name, or by what it gives.
    at_fault = [one for one in nodes if untaken[3] in (one.name, *(v.name for v in one.outputs))]
    named = [f"{node.op_type} {node.name or ''}".strip() for node in at_fault or nodes]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    what = ", ".join(named[:_MOST_NAMED]) + more or untaken[1]
    return InputError(
        f"OpenVINO does not take {what}, of {path}{untaken[2] or ''}.", mend=error.mend
    )
