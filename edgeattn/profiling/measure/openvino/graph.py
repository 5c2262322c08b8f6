"""Which ONNX nodes each kernel of OpenVINO stands for: the graph that it executes, by its own word.

OpenVINO says of what it executes which operators were fused into it, by their names. Its own inner
ones it names as it likes, `Add_12` too, and a name may hold the comma that stands between two. So
the file that is profiled has a tag for each node in place of its name.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pydantic import NonNegativeFloat, NonNegativeInt

from edgeattn.profiling.measure.times import Said
from edgeattn.records.kinds import STRENGTH, Kind, kind_of, strongest
from edgeattn.records.trace import Kernel

if TYPE_CHECKING:
    import onnx_ir as ir

_TAG: Final = re.compile(r"edgeattn\.(\d+)\.")
_REORDER: Final = "Reorder"
_CONSTANTS: Final = frozenset({"Const", "Constant"})
_PRECISIONS: Final = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
# What OpenVINO calls operators otherwise than ONNX does.
_IN_ONNX: Final = {
    "AvgPool": "AveragePool", "Broadcast": "Expand", "Convolution": "Conv",
    "Deconvolution": "ConvTranspose", "ConvolutionBackpropData": "ConvTranspose",
    "DeformableConvolution": "DeformConv", "FullyConnected": "Gemm", "GroupConvolution": "Conv",
    "GroupConvolutionBackpropData": "ConvTranspose", "GRUSequence": "GRU", "Interpolate": "Resize",
    "LSTMSequence": "LSTM", "MVN": "InstanceNormalization", "NormalizeL2": "LpNormalization",
    "RMS": "RMSNormalization", "RNNSequence": "RNN", "RoPE": "Mul",
    "ScaledDotProductAttention": "Attention", "ScaledDotProductAttentionWithKVCache": "Attention",
    "ShapeOf": "Shape", "ShuffleChannels": "Transpose", "StridedSlice": "Slice",
    "TensorIterator": "Loop", "VariadicSplit": "Split", _REORDER: "ReorderInput",
}  # fmt: skip


class Tensor(Said):
    """What an operator writes.

    Attributes:
        size_bytes: None where its shape is open.
        layout: The order of its dimensions: abcd is planar, acdb channels-last.
    """

    size_bytes: NonNegativeInt | None
    layout: str

    @property
    def is_planar(self) -> bool:
        """Whether its dimensions are in the order that the model has them in."""
        return self.layout == "".join(sorted(self.layout)) and self.layout.isalpha()


class Executed(Said):
    """An operator of the graph that OpenVINO executes.

    Attributes:
        name: Its name.
        op: What it is.
        layers: The names of what was fused into it, with commas between.
        reads: What it reads: the name of what writes that, and which of its outputs it is.
        writes: What it writes.
        precision: What it computes in.
        time_us: What it takes; None of what is not run: constants, inputs, views.
    """

    name: str
    op: str
    layers: str
    reads: list[tuple[str, NonNegativeInt]]
    writes: list[Tensor]
    precision: str
    time_us: NonNegativeFloat | None


def tag_all(model: ir.Model) -> list[str]:
    """Give each node of a model a tag for a name, in place, and return their names by the tags."""
    names = []
    for place, node in enumerate(model.graph.all_nodes()):
        names.append(node.name or "")
        node.name = f"edgeattn.{place}."
    return names


def kernels_of(
    rows: Sequence[Executed], names: Sequence[str], model: ir.Model, costs: Mapping[str, int]
) -> Iterator[Kernel]:
    """Return the kernels of what is executed, in its order.

    Args:
        rows: What OpenVINO executes.
        names: As `tag_all` returns them.
        model: The model that it was made of, as it was named before.
        costs: Multiply-accumulates of each of its nodes.
    """
    ops = {node.name or "": node.op_type for node in model.graph.all_nodes()}
    # What gives an output of the model is called after that.
    of_output = {one.name: one.producer() for one in model.graph.outputs}
    given = {name: node.name or "" for name, node in of_output.items() if node is not None}
    values = _Values(rows)
    causes = _causes(values)
    counted: Counter[str] = Counter()

    def named(text: str) -> str:
        return _TAG.sub(lambda tag: _of_tag(tag[1], names), text)

    for row in values.run:
        tagged = _tags(row.layers) or ([] if row.op == _REORDER else _tags(row.name))
        nodes = dict.fromkeys(name for tag in tagged if (name := _of_tag(tag, names)) in ops)
        nodes |= {given[one]: None for one in row.layers.split(",") if one in given}
        own = kind_of(_IN_ONNX.get(row.op, row.op))
        kinds = {node: kind_of(ops[node]) for node in nodes}
        kind = own if own in kinds.values() or not kinds else strongest(kinds.values()) or own
        macs = 0
        for node in nodes:
            # A layer that is two kernels is computed in one of them.
            if kinds[node] == kind and not counted[node]:
                macs += costs.get(node, 0)
                counted[node] += 1
        yield Kernel(
            name=named(row.name),
            op=row.op,
            kind=kind,
            time_us=row.time_us or 0.0,
            traffic_bytes=values.traffic_bytes(row),
            macs=macs,
            nodes=tuple(_not_above(kind, kinds)),
            inputs=tuple(map(named, values.inputs(row))),
            outputs=tuple(named(_value(row.name, port)) for port in range(len(row.writes))),
            causes=tuple(map(named, causes.get(row.name, ()))),
            precision=_PRECISIONS.get(row.precision.lower(), row.precision),
        )


def _tags(text: str) -> list[str]:
    return _TAG.findall(text)


def _of_tag(tag: str, names: Sequence[str]) -> str:
    return names[int(tag)] if int(tag) < len(names) else ""


def _not_above(kind: Kind, kinds: Mapping[str, Kind]) -> Iterable[str]:
    """Leave out what a kernel cannot be: of a convolution's bias that is added, the convolution.

    What a node is taken apart into has its name, all of it.
    """
    least = STRENGTH.index(kind)
    return [node for node, its in kinds.items() if STRENGTH.index(its) >= least] or list(kinds)


def _value(name: str, port: int) -> str:
    return f"{name}:{port}" if port else name


class _Values:
    """Who writes and reads what: views and constants are looked through."""

    def __init__(self, rows: Sequence[Executed]) -> None:
        self._rows = {row.name: row for row in rows}
        self.run = [row for row in rows if row.time_us is not None]
        self._same: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
        self.readers: dict[tuple[str, int], list[Executed]] = defaultdict(list)
        for row in rows:  # each comes after what it reads
            is_view = row.time_us is None and row.reads and row.op not in _CONSTANTS
            through = self.read_by(row) if is_view else None
            for port in range(len(row.writes)):
                own = ((row.name, port),) if row.op not in _CONSTANTS else ()
                self._same[row.name, port] = own if through is None else through
        for row in self.run:
            for value in self.read_by(row):
                self.readers[value].append(row)

    def read_by(self, row: Executed) -> tuple[tuple[str, int], ...]:
        """Return what a kernel reads, by what writes that."""
        return tuple(dict.fromkeys(v for one in row.reads for v in self._same.get(one, ())))

    def inputs(self, row: Executed) -> list[str]:
        """Return the names of what a kernel reads, weights left out."""
        return [_value(*one) for one in self.read_by(row)]

    def writer(self, value: tuple[str, int]) -> Executed | None:
        """Return the kernel that writes a value; None of an input."""
        row = self._rows.get(value[0])
        return row if row is not None and row.time_us is not None else None

    def tensor(self, value: tuple[str, int]) -> Tensor | None:
        """Return what is known of a value."""
        row = self._rows.get(value[0])
        return row.writes[value[1]] if row is not None and value[1] < len(row.writes) else None

    def traffic_bytes(self, row: Executed) -> int | None:
        """Return the bytes that a kernel moves, weights included; None if they are not known."""
        moved = [*map(self.tensor, dict.fromkeys(row.reads)), *row.writes]
        sizes = [None if one is None else one.size_bytes for one in moved]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def is_planar(self, row: Executed) -> bool:
        """Return whether a kernel neither reads nor writes another layout than the model's."""
        given = [self.tensor(one) for one in row.reads]
        return row.op != _REORDER and all(
            one is None or one.is_planar for one in (*given, *row.writes)
        )


def _causes(values: _Values) -> dict[str, tuple[str, ...]]:
    """Return, for each reorder, the kernels of the planar layout that it is there for.

    What reads it, where it writes that layout, and what wrote before it, where it reads it; the
    nearest come first. Behind these come all around them.
    """
    found = {}
    for row in values.run:
        if row.op != _REORDER or not row.reads:
            continue
        is_out = all(one.is_planar for one in row.writes)
        start = [(row.name, 0)] if is_out else list(values.read_by(row))
        served = _island(values, start, readers=is_out, writers=not is_out)
        around = _island(values, start, readers=True, writers=True)
        found[row.name] = tuple(dict.fromkeys([*served, *around]))
    return found


def _island(
    values: _Values, start: Sequence[tuple[str, int]], *, readers: bool, writers: bool
) -> list[str]:
    """Walk over kernels of the planar layout, from values on, as far as reorders."""
    names: dict[str, None] = {}
    seen, layer = set(start), list(start)
    while layer:
        following = []
        for value in layer:
            writer = values.writer(value) if writers else None
            for row in (*([writer] if writer else []), *(values.readers[value] if readers else [])):
                if row.name in names or not values.is_planar(row):
                    continue
                names[row.name] = None
                written = [(row.name, port) for port in range(len(row.writes))]
                ends = (*(written if readers else []), *(values.read_by(row) if writers else ()))
                following += [one for one in ends if one not in seen]
                seen.update(ends)
        layer = following
    return list(names)
