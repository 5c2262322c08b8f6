"""Builds engines, parses models, reads layers of engines: the process that `apart` starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from edgeattn.base.errors import InputError
from edgeattn.base.worker import say, serve
from edgeattn.engine.build import Built, build_engine, parse
from edgeattn.engine.layer_json import inspected
from edgeattn.engine.libraries import Capability, Runtime, load
from edgeattn.engine.log import Log, logger_of, uncollected
from edgeattn.engine.refusals import Refusal
from edgeattn.options.build import EngineOptions
from edgeattn.records.layers import LayerInformation


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process is to do.

    Attributes:
        task: `build` builds an engine of an ONNX file; `parse` asks what of it the parser refuses;
            `read` asks an engine for its layers.
        file: The ONNX file, or the engine.
        runtime: The library.
        log: Where its messages go, as they come.
        capability: What is built for.
        options: How it is built.
        engine: Where the engine goes; None to throw it away.
    """

    task: Literal["build", "parse", "read"]
    file: Path
    runtime: Runtime
    log: Path
    capability: Capability = (0, 0)
    options: EngineOptions = field(default_factory=EngineOptions)
    engine: Path | None = None


JOB: Final = TypeAdapter(Job)
BUILT: Final = TypeAdapter(Built)
LAYERS: Final = TypeAdapter(LayerInformation)
REFUSALS: Final = TypeAdapter(tuple[Refusal, ...])


def _do(asked: dict[str, Any]) -> dict[str, Any]:
    job = JOB.validate_python(asked)
    with job.log.open("w", buffering=1, encoding="utf-8") as stream:
        log = Log(stream=stream)
        found: dict[str, Any]
        if job.task == "read":
            found = LAYERS.dump_python(_layers(job, log), mode="json")
            return found
        if job.task == "parse":
            refusals = parse(job.file, load(job.runtime), log)
            return {"refusals": REFUSALS.dump_python(refusals, mode="json")}
        built = build_engine(
            job.file,
            load(job.runtime),
            job.capability,
            job.options,
            engine=job.engine,
            log=log,
            on_progress=lambda done, count: say(done=done, count=count),
        )
        found = BUILT.dump_python(built, mode="json")
        return found


@uncollected()
def _layers(job: Job, log: Log) -> LayerInformation:
    library = load(job.runtime)
    runtime = library.module.Runtime(logger_of(library.module, log))
    engine = runtime.deserialize_cuda_engine(job.file.read_bytes())
    if engine is None:
        raise InputError(f"{library.title} does not take it: {'; '.join(log.errors)}")
    return inspected(library.module, engine)


if __name__ == "__main__":
    sys.exit(serve(_do))
