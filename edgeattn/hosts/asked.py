"""What a host itself says of a model: whether its TensorRT takes it, and what its DLA runs of it.

TensorRT's parser is asked by trtexec, and for a DLA its builder, whose log says where each layer
runs, and why one falls back to the GPU.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgeattn.base.legible import legible
from edgeattn.engine.log import Log
from edgeattn.graph.precision import precisions_of
from edgeattn.hosts.engines import Engines, check_dla, open_inputs
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.trtexec.placed import Placed, placed
from edgeattn.hosts.trtexec.said import UNPARSED, RefusedError
from edgeattn.options.build import EngineOptions, Profile, Shapes
from edgeattn.support.answers import Answer

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.graph.reading import Source
    from edgeattn.hosts.visit import Visit

# The node that the parser stopped at: by what it writes, and by its name from 10 on.
_STOPPED: Final = re.compile(r"While parsing node number \d+ \[\S+ -> \"(?P<output>[^\"]+)\"")
_NAMED: Final = re.compile(r"In node -?\d+ with name: (?P<name>.+?) and operator: ")
_LONGEST: Final = 300
_ENGINE: Final = "model.engine"
_NO_SHAPES: Final[Shapes] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAnswers:
    """What a host says of a model.

    Attributes:
        title: What was asked: "TensorRT 10.3.0 on orin".
        parsed: Whether the parser takes a node; without those that it did not come to.
        placed: Whether a node runs on the DLA; without those of which the log does not say.
        loadables: How many loadables the DLA gets; None if none is asked, or it is not said.
        refusal: Why the model as a whole is not taken; None if it is.
    """

    title: str
    parsed: Mapping[str, Answer]
    placed: Mapping[str, Answer]
    loadables: int | None
    refusal: Answer | None


def asked(
    visit: Visit,
    source: Source,
    dla_core: int | None = None,
    *,
    shapes: Shapes = _NO_SHAPES,
    on_stage: Callable[[str], None] = lambda _: None,
) -> HostAnswers:
    """Ask a host about an ONNX file.

    Args:
        visit: The host.
        source: The file, as it was written.
        dla_core: The DLA core that it is to run on; None for the GPU. An engine is built for it,
            with what it does not take on the GPU; for a GPU, the parser is asked alone.
        shapes: The shape of each input that is open, to build for; where one is left out, the
            parser is asked alone: a DLA takes no open sizes.
        on_stage: Called with what is done.

    Raises:
        InputError: There is no such DLA core.
        MissingError: There is no trtexec that can be used; or memory or space ran out.
    """
    trtexec = Trtexec.of(visit.facts)
    engines = Engines(room=visit.room, trtexec=trtexec, dla_core=dla_core)
    host = engines.host
    check_dla(dla_core, visit.facts.dla_cores, host)
    title = f"{trtexec.title} on {host}"
    nodes = {str(node.name): node for node in source.model.graph.all_nodes()}
    log, refusal = Log(), None
    taken = Answer(verdict="yes", source=f"measured: {title}")
    opened = {name for name, shape in open_inputs(source).items() if -1 in shape}
    core = dla_core if opened <= set(shapes) else None
    profiles = (Profile(min=shapes, opt=shapes, max=shapes),) if opened else ()
    on_stage(f"sending {source.path.name} to {host}")
    try:
        if core is None:
            engines.send(source, "model.onnx")
            on_stage(f"parsing on {host}")
            engines.parse(f"{host} does not take {source.path.name}", log=log)
        else:
            engines.build(
                source,
                _ENGINE,
                EngineOptions(
                    precision="fp16", profiles=profiles, dla_core=core, gpu_fallback=True
                ),
                precisions={*precisions_of(source.model), "fp16"},
                places=True,
                log=log,
                on_line=lambda line: on_stage(f"build on {host}: {line}"),
            )
    except RefusedError as error:
        refusal = _no(taken, error)
    parsed = _parsed(log, nodes, taken, refusal)
    said = placed(log)
    if core is not None and said.reasons and trtexec.reports_dla:
        with contextlib.suppress(RefusedError):  # it says of the first layer why
            engines.parse("", report_dla=True, log=log)
        said = placed(log)
    return HostAnswers(
        title=title,
        parsed=parsed,
        placed={
            name: taken if runs else replace(taken, verdict="no", reason=_why(said, name))
            for name, runs in said.on_dla(list(nodes)).items()
        }
        if core is not None
        else {},
        loadables=len(said.dla) if core is not None and said.is_listed else None,
        refusal=refusal,
    )


def _parsed(
    log: Log, nodes: Mapping[str, ir.Node], taken: Answer, refusal: Answer | None
) -> dict[str, Answer]:
    """Return what the parser says of nodes: all are taken, or those that it stopped at are not."""
    if UNPARSED in log.errors:
        return dict.fromkeys(_stopped(log, nodes), refusal or taken)
    return dict.fromkeys(nodes, taken) if log.starting_with("Finish") else {}


def _why(said: Placed, name: str) -> str:
    return legible(said.reasons.get(name, "the log lists it on the GPU"))


def _no(asked: Answer, error: RefusedError) -> Answer:
    """Return that the whole is not taken, in trtexec's words."""
    _, _, words = error.fact.partition(":\n")
    reason = " ".join(words.split())
    if len(reason) > _LONGEST:
        reason = f"{reason[:_LONGEST]}…"
    return Answer(verdict="no", reason=reason, source=asked.source, mend=error.mend or "")


def _stopped(log: Log, nodes: Mapping[str, ir.Node]) -> list[str]:
    """Return the nodes that the parser names in its errors."""
    writers = {one.name: name for name, node in nodes.items() for one in node.outputs}
    text = "\n".join(log.errors)
    found = [writers.get(one) for one in _STOPPED.findall(text)]
    found += [name for name in _NAMED.findall(text) if name in nodes]
    return [name for name in dict.fromkeys(found) if name is not None]
