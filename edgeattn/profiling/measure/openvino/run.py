"""What each kernel of OpenVINO takes, here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import NonNegativeFloat, NonNegativeInt

from edgeattn.base import files
from edgeattn.graph.writing import save
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.measure.openvino.graph import Executed, kernels_of, tag_all
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.profiled import ProfiledModel
from edgeattn.profiling.measure.rounds import PROFILED_RUNS
from edgeattn.profiling.measure.times import LOAD_S, PROFILED, Said, how, lent, seconds_of
from edgeattn.records.trace import Kernel

if TYPE_CHECKING:
    import onnx_ir as ir

_WORDS: Final = {"f32": "float32", "float32": "float32", "bf16": "bfloat16", "f16": "float16"}


class _Seen(Said):
    nodes: list[Executed]
    profiled_us: NonNegativeFloat
    memory: dict[str, NonNegativeInt | None]
    device: str
    precision: str
    precisions: list[str]


def profile_kernels(
    path: Path,
    model: ir.Model,
    costs: Mapping[str, int],
    options: ProfileOptions,
    *,
    place: Place = HERE,
) -> ProfiledModel:
    """Have OpenVINO say what each kernel of a model takes.

    Args:
        path: The ONNX file that was timed; a copy is profiled, whose nodes have other names.
        model: Its model.
        costs: Multiply-accumulates of each of its nodes.
        options: How it is run.
        place: Where.

    Raises:
        InputError: OpenVINO does not load it, or fails while it runs.
        MissingError: OpenVINO, or the device that is asked, is not there.
    """
    with ExitStack() as stack:
        copy = stack.enter_context(files.scratch()) / path.name
        named = model.clone()
        names = tag_all(named)
        save(named, copy, external=True)
        given = stack.enter_context(lent(copy, options, place, "openvino"))
        job = {
            "task": "profile",
            "model": given | {"name": str(path)},
            "folder": "",
            "runs": PROFILED_RUNS,
            "with_memory": True,
            "seconds": seconds_of(options, PROFILED),
            **how(options, place),
        }
        runner = stack.enter_context(place.runner("profiled"))
        found = _Seen.of(runner.ask(job, limit_s=place.limit_s(LOAD_S)))
        runner.finish()
    kernels = tuple(kernels_of(found.nodes, names, model, costs))
    return ProfiledModel(
        kernels=kernels,
        profiled_us=found.profiled_us,
        memory=found.memory,
        notes=(_computed(found, kernels),),
    )


def _computed(found: _Seen, kernels: Sequence[Kernel]) -> str:
    """Say what a model was computed in, and whether OpenVINO would take less by itself."""
    ran = _WORDS.get(found.precision, found.precision or "what it takes by itself")
    less = [_WORDS[one] for one in ("bf16", "f16") if one.upper() in found.precisions]
    quantised = ", and in int8 what is quantised" if _has_int8(kernels) else ""
    by_itself = (
        f"; left to itself, it takes {less[0]} on this processor"
        if less and ran == "float32"
        else ""
    )
    return f"OpenVINO computed on {found.device} in {ran}{quantised}{by_itself}."


def _has_int8(kernels: Sequence[Kernel]) -> bool:
    return any(one.kind == "matmul" and one.precision == "int8" for one in kernels)
