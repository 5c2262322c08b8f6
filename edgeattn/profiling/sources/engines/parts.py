"""A profiled engine: kernels with their times, and what they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_names import name_nodes
from edgeattn.profiling.sources.engines.kernels import KernelTime, trace_kernels, unique
from edgeattn.profiling.sources.engines.layer_times import Joined
from edgeattn.profiling.sources.engines.nodes import guessed
from edgeattn.profiling.sources.model import Known, Subject
from edgeattn.records.kinds import kind_of, strongest
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """The parts of a trace that an engine's layers give.

    Attributes:
        information: The layer information of the optimisation profile that was run.
        kernels: The kernels, with their times; what took time and is no kernel comes last.
        known: The model that they came from, or what their names say of it.
        notes: What a reader should know.
    """

    information: LayerInformation
    kernels: tuple[Kernel, ...]
    known: Known
    notes: tuple[str, ...]

    @property
    def streams(self) -> int:
        """How many streams kernels run on."""
        return len({kernel.stream for kernel in self.kernels})


def parts_of(joined: Joined, subject: Subject | None) -> EngineParts:
    """Return the parts of a trace.

    Args:
        joined: The layers of an engine, and their times.
        subject: The ONNX model that it was built from; None if it is not at hand.

    Raises:
        InputError: The engine was not built from that model.
    """
    information = joined.information
    if subject is not None:
        _check(subject, information)
    known = guessed(information) if subject is None else subject
    return EngineParts(
        information=information,
        kernels=_kernels(joined, subject),
        known=known,
        notes=known.notes if subject is None else (),
    )


def _kernels(joined: Joined, subject: Subject | None) -> tuple[Kernel, ...]:
    kernels = trace_kernels(
        joined.information,
        [KernelTime(time_us=time_us) for time_us in joined.times_us],
        node_macs=None if subject is None else subject.macs,
    )
    names = [kernel.name for kernel in kernels] + [name for name, _, _ in joined.others]
    others = zip(list(unique(names))[len(kernels) :], joined.others, strict=True)
    if not kernels and subject is not None:
        return tuple(_named(subject, others))
    moved = 0 if kernels else None  # without layers, nothing says
    return kernels + tuple(
        Kernel(
            name=name, op=kind, kind="other", time_us=time_us, traffic_bytes=moved, macs=0, nodes=()
        )
        for name, (_, kind, time_us) in others
    )


def _named(
    subject: Subject, times: Iterable[tuple[str, tuple[str, str, float]]]
) -> Iterator[Kernel]:
    """Match times to the model's nodes by the names of layers, where these are all that is told."""
    known = {node.name: node for node in subject.nodes}
    left = dict(subject.macs)
    for name, (told, _, time_us) in times:
        nodes = tuple(one for one in name_nodes(told) if one in known)
        yield Kernel(
            name=name,
            op="",
            kind=strongest(kind_of(known[one].op_type) for one in nodes) or "other",
            time_us=time_us,
            traffic_bytes=None,
            macs=sum(left.pop(one, 0) for one in nodes),
            nodes=nodes,
        )


def _check(subject: Subject, information: LayerInformation) -> None:
    known = {node.name for node in subject.nodes}
    own = {name for kernel in information.kernels for name in kernel.nodes}
    if own and not own & known:
        raise InputError(
            f"The engine was not built from {subject.path}: that has none of the nodes that its"
            f" layers came from, such as {min(own)!r}.",
            mend="Give the ONNX file that the engine was built from, or none.",
        )
