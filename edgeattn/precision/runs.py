"""Runs a model that is in memory on samples, in float32 in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir

from edgeattn.base import files
from edgeattn.base.memory import give_memory_back
from edgeattn.runtimes.onnxruntime import Array, Session


def runs(
    model: ir.Model, feeds: Iterable[Mapping[str, Array]]
) -> Iterator[tuple[Mapping[str, Array], list[Array]]]:
    """Yield each of some feeds, with what the model outputs on it.

    Args:
        model: The model; it is not changed.
        feeds: One array for each input, by name.

    Raises:
        InputError: ONNX Runtime cannot run the model.
    """
    with files.scratch() as folder:
        path = folder / "model.onnx"
        ir.save(model, path, external_data="model.onnx.data")
        session = Session(path)
        for feed in feeds:
            yield feed, session.run([feed[value.name] for value in session.inputs])
        del session
        give_memory_back()
