"""The kernels of a TensorRT engine as those of a trace, wherever their times come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeattn.base.errors import InputError
from edgeattn.engine.work import kind_of, macs_of
from edgeattn.records.layers import Kernel as Layer
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """What a kernel takes.

    Attributes:
        time_us: As it was measured or predicted.
        interval_us: Of a prediction, between what bounds.
        bound: Of a prediction, what holds it back.
    """

    time_us: float
    interval_us: tuple[float, float] | None = None
    bound: str = ""


def trace_kernels(
    information: LayerInformation,
    times: Sequence[KernelTime],
    *,
    node_macs: Mapping[str, int] | None = None,
) -> tuple[Kernel, ...]:
    """Turn the kernels of an engine into those of a trace.

    Args:
        information: The engine's layer information, for one optimisation profile.
        times: What each of its kernels takes, in their order.
        node_macs: Multiply-accumulates of each node of the ONNX model; None if it is not at
            hand, and they are told from the shapes of the kernels.

    Returns:
        As many, in the same order; a name that comes twice is numbered: `name`, `name (2)`.
    """
    macs = macs_of_all(information.kernels, node_macs)
    names = unique(layer.name for layer in information.kernels)
    return tuple(
        Kernel(
            name=name,
            op=layer.kind,
            kind=kind_of(layer),
            time_us=time.time_us,
            interval_us=time.interval_us,
            traffic_bytes=_bytes(layer),
            macs=each,
            nodes=layer.nodes,
            inputs=tuple(tensor.name for tensor in layer.inputs),
            outputs=tuple(tensor.name for tensor in layer.outputs),
            precision=information.precision(layer),
            stream=layer.stream,
            bound=time.bound,
        )
        for name, layer, time, each in zip(names, information.kernels, times, macs, strict=True)
    )


def unique(names: Iterable[str]) -> Iterator[str]:
    """Return names, each once: the second `a` is `a (2)`."""
    counts: Counter[str] = Counter()
    given: set[str] = set()
    for name in names:
        counts[name] += 1
        numbered = name if counts[name] == 1 else f"{name} ({counts[name]})"
        while numbered in given:  # a kernel has that very name
            counts[name] += 1
            numbered = f"{name} ({counts[name]})"
        given.add(numbered)
        yield numbered


def macs_of_all(layers: Sequence[Layer], node_macs: Mapping[str, int] | None) -> list[int]:
    """Return the multiply-accumulates of each kernel.

    A node that is several kernels is computed in one of them: a product, where one of them is one.
    A product whose nodes are not known, as of a region that is named by its ends, is told from its
    shapes.

    Args:
        layers: The kernels.
        node_macs: Multiply-accumulates of the ONNX nodes; None if they are not known.
    """
    left = dict(node_macs or {})
    found = [0] * len(layers)
    products = [kind_of(layer) == "matmul" for layer in layers]
    for place in sorted(range(len(layers)), key=lambda at: not products[at]):
        found[place] = sum(left.pop(name, 0) for name in layers[place].nodes)
    for place, layer in enumerate(layers):
        is_known = any((node_macs or {}).get(name) for name in layer.nodes)
        if products[place] and not is_known:
            found[place] = _macs(layer)
    return found


def _macs(layer: Layer) -> int:
    try:
        return macs_of(layer)
    except InputError:  # shapes are open
        return 0


def _bytes(layer: Layer) -> int | None:
    if any(tensor.is_open or not tensor.dtype for tensor in layer.tensors):
        return None
    return layer.traffic_bytes
