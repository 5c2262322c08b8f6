"""Looks behind outputs that rounding blurs, where two files end in the same operators.

A detector that is shut gives 1e-7 where float32 resolves 6e-8: hardly anything can be told from
that. What its last sigmoid reads is sharp. So where both files end in the same nodes, what these
read is compared as outputs are, back to the first values that agree.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.graph.nodes import static
from edgeattn.graph.reading import load, opset_of
from edgeattn.parity.bisect import expose
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.floor import is_rounding, nudged
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.parity.report import worst
from edgeattn.records.parity import Optimisations, OutputParity
from edgeattn.runtimes.onnxruntime import Array, Session

#: So many pairs of values are compared at most.
_MOST: Final = 64
#: Rounding between the input and a value costs it so much more than a change of the input by one
#: unit in the last place: 32 dB at most in trained detectors and recognisers.
_ROUNDING_DB: Final = 40.0
#: What these do is the same in every opset that is read.
_UNCHANGED: Final = frozenset(
    {
        "Abs", "Add", "Cast", "Concat", "Conv", "ConvTranspose", "Div", "Erf", "Exp", "HardSigmoid",
        "Identity", "LeakyRelu", "Log", "MatMul", "Mul", "Neg", "Relu", "Reshape", "Sigmoid",
        "Softplus", "Sqrt", "Sub", "Tanh", "Transpose",
    }
)  # fmt: skip

_Pair = tuple[str, str]


def differs_behind(
    path: Path, other: Path, inputs: Sequence[Array], tolerance: Tolerance, *, lowest_db: float
) -> str | None:
    """Name the first value behind the outputs of a file that another's differs from.

    Args:
        path: The file to judge.
        other: The reference.
        inputs: One array per input.
        tolerance: What passes.
        lowest_db: Below this floor, a value tells nothing.

    Returns:
        A value's name; None if the files agree as far back as they end in the same nodes.
    """
    with as_stored(path) as file, as_stored(other) as reference:
        outputs, read = _ends(load(file), load(reference))
        names = [list(dict.fromkeys(pair[side] for pair in read)) for side in (0, 1)]
        try:
            have = _values(file, names[0], inputs)
            want = _values(reference, names[1], inputs)
            selves = [
                _values(reference, names[1], nudged(inputs, 0)),
                _values(reference, names[1], inputs, optimisations="on"),
            ]
        except InputError:
            return None  # not every value can be an output

    @cache
    def first_fault(pair: _Pair) -> str | None:
        one, two = pair
        found = measure(one, want[two], have[one], tolerance)
        floor = worst([measure(one, want[two], each[two], tolerance) for each in selves])
        if found.passed and _is_sharp(found, floor):
            return None
        if read[pair]:
            return next(filter(None, map(first_fault, read[pair])), None)
        return None if not found.passed and is_rounding(found, floor, tolerance, lowest_db) else one

    return next(filter(None, map(first_fault, outputs)), None)


def _is_sharp(found: OutputParity, floor: OutputParity) -> bool:
    """Return whether a value is as near as rounding inside a model takes it, by experience."""
    if found.sqnr_db is None or floor.sqnr_db is None:
        return True
    return found.sqnr_db >= floor.sqnr_db - _ROUNDING_DB


def _ends(one: ir.Model, two: ir.Model) -> tuple[list[_Pair], dict[_Pair, list[_Pair]]]:
    """Walk back from the outputs of two models, as long as their nodes are the same.

    Returns:
        The pairs of outputs; and for each pair of values that was met, those that its node reads,
        none where the nodes differ or more would be too many.
    """
    is_same_opset = opset_of(one) == opset_of(two)
    waiting = [
        pair
        for pair in zip(one.graph.outputs, two.graph.outputs, strict=True)
        if all(value.producer() for value in pair)
    ]
    outputs = [_named(pair) for pair in waiting]
    read: dict[_Pair, list[_Pair]] = {pair: [] for pair in outputs}
    while waiting:
        pair = waiting.pop(0)
        behind = _read_alike(*pair, is_same_opset=is_same_opset)
        new = [each for each in behind if _named(each) not in read]
        is_all_made = all(value.producer() for each in behind for value in each)
        if is_all_made and len(read) + len(new) <= _MOST:
            read[_named(pair)] = list(map(_named, behind))
            read |= {_named(each): [] for each in new}
            waiting += new
    return outputs, read


def _named(pair: tuple[ir.Value, ir.Value]) -> _Pair:
    return str(pair[0].name), str(pair[1].name)


def _read_alike(
    a: ir.Value, b: ir.Value, *, is_same_opset: bool
) -> list[tuple[ir.Value, ir.Value]]:
    """Return the values, in pairs, that the same node reads on both sides; none if it is not."""
    one, two = a.producer(), b.producer()
    assert one is not None
    assert two is not None
    if (
        (one.domain, one.op_type) != (two.domain, two.op_type)
        or len(one.inputs) != len(two.inputs)
        or a.index() != b.index()
        or not (is_same_opset or one.op_type in _UNCHANGED)
        or _attributes(one) != _attributes(two)
    ):
        return []
    pairs = []
    for x, y in zip(one.inputs, two.inputs, strict=True):
        if x is None or y is None:
            if x is not y:
                return []
            continue
        left, right = static(x), static(y)
        if left is None and right is None:
            pairs.append((x, y))
        elif left is None or right is None or not np.array_equal(left, right):
            return []
    return pairs


def _attributes(node: ir.Node) -> dict[str, str]:
    return {name: str(attribute.value) for name, attribute in node.attributes.items()}


def _values(
    path: Path, names: Sequence[str], inputs: Sequence[Array], optimisations: Optimisations = "off"
) -> Mapping[str, Array]:
    """Run a file, and return some of its values."""
    with tempfile.TemporaryDirectory(prefix="edgeattn-") as folder:
        exposed = expose(path, names, Path(folder) / "exposed.onnx")
        session = Session(exposed, optimisations=optimisations, integers=False)
        return dict(zip(session.output_names, session.run(inputs), strict=True))
