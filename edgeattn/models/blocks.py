"""Finds a model's blocks in its trace: the units that a residual or dense network repeats.

A block is the innermost module that is not a mere container, returns a feature map, and holds at
least two convolutions over positions. A module inside a residual block is part of it, unless it is
residual itself (a GhostNet bottleneck is one block, not its two ghost modules). The root is a
block only if nothing inside it is; it then ends at its last feature map.

Within a block, the main branch is the way back from the block's output along the inputs with the
most convolutions behind them. Hence neither a shortcut nor the gate of a squeeze can be taken for
it: the one has fewer convolutions, the other's do not work on positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from torch import nn

from edgeattn.models.flow import ADDITIONS, CONCATENATIONS, CONVOLUTIONS
from edgeattn.models.trace import Call, Operation, Trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block.

    Attributes:
        call: The call of its module.
        main: The operations of its main branch, in order, up to its output.
        residual: The index in `main` where the shortcut is added, or None if there is no shortcut.
        merge: The index in `main` where branches that convolve are last concatenated or added (an
            Inception block, a ghost module, RepVGG's kernels), or None if nowhere.
        stride: Positions of the input per position of its output, along one side.
        stage: The number, from 1, of the run of blocks of equal stride that it is in.
    """

    call: Call
    main: tuple[Operation, ...]
    residual: int | None
    merge: int | None
    stride: float
    stage: int

    def convolutions(self, trace: Trace) -> list[int]:
        """Return the indices in `main` of the convolutions over positions."""
        return [at for at, operation in enumerate(self.main) if _convolves(trace, operation)]

    def depthwise(self, trace: Trace) -> list[Operation]:
        """Return its depthwise convolutions, in order, on any branch."""
        operations = trace.operations[self.call.first : self.call.last]
        return [operation for operation in operations if is_depthwise(trace, operation)]


def find_blocks(trace: Trace) -> tuple[Block, ...]:
    """Return the blocks of the model, in the order in which they are called."""
    groups = [
        [call for call in trace.calls if call.path and not _is_loose(trace, call)],
        [call for call in trace.calls if call.path],
        [replace(trace.root, outputs=(last,)) for last in islice(trace.maps_backwards(), 1)],
    ]
    for group in groups:
        found = _innermost(trace, [call for call in group if _is_candidate(trace, call)])
        if found:
            return _staged(trace, found)
    return ()


def is_container(module: nn.Module) -> bool:
    """Return whether a module only calls its children in turn.

    A subclass with a forward of its own computes something: `x + super().forward(x)`.
    """
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def stages_of(blocks: Sequence[Block]) -> int:
    """Return the number of stages that the blocks form."""
    return blocks[-1].stage if blocks else 0


def is_depthwise(trace: Trace, operation: Operation) -> bool:
    """Return whether an operation is a depthwise convolution, made by a module of its own."""
    if operation.name != "conv2d":
        return False
    module = trace.module(operation.path)
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _is_loose(trace: Trace, call: Call) -> bool:
    """Return whether a call is of a container, and not of one whose own forward adds a shortcut."""
    if not isinstance(call.module, CONTAINERS):
        return False
    return is_container(call.module) or (
        not _is_candidate(trace, call) or _main_branch(trace, call).residual is None
    )


def _convolves(trace: Trace, operation: Operation) -> bool:
    return operation.name in CONVOLUTIONS and trace.values[operation.outputs[0]].is_grid


def _is_candidate(trace: Trace, call: Call) -> bool:
    if trace.map_of(call) is None or not call.inputs:
        return False
    operations = trace.operations[call.first : call.last]
    return sum(_convolves(trace, operation) for operation in operations) >= 2


def _innermost(trace: Trace, candidates: list[Call]) -> list[Call]:
    residual = {id(call) for call in candidates if _main_branch(trace, call).residual is not None}

    def inside(inner: Call, outer: Call) -> bool:
        return inner is not outer and inner.path.startswith(outer.path + "." if outer.path else "")

    kept = [
        call
        for call in candidates
        if id(call) in residual
        or not any(id(outer) in residual and inside(call, outer) for outer in candidates)
    ]
    found: dict[str, Call] = {}
    for call in kept:
        if not any(inside(other, call) for other in kept):
            found.setdefault(call.path, call)  # called again, it is still one block
    return sorted(found.values(), key=lambda call: call.first)


def _staged(trace: Trace, calls: list[Call]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for call in calls:
        stride = trace.values[call.outputs[0]].stride
        stage = 1 if not blocks else blocks[-1].stage + (stride != blocks[-1].stride)
        branch = _main_branch(trace, call)._asdict()
        blocks.append(Block(call=call, **branch, stride=stride, stage=stage))
    return tuple(blocks)


class _Branch(NamedTuple):
    main: tuple[Operation, ...]
    residual: int | None
    merge: int | None


def _main_branch(trace: Trace, call: Call) -> _Branch:
    """Follow a call's output back, along the inputs with the most convolutions behind them."""
    most, fewest = _convolutions_behind(trace, call)
    sources, value = set(call.inputs), call.outputs[0]
    back: list[Operation] = []
    chosen: list[int] = []
    while value not in sources and value in trace.producers:
        operation = trace.operations[trace.producers[value]]
        back.append(operation)
        inputs = [number for number in operation.inputs if number in most]
        if not inputs:
            break
        shape = trace.values[value].shape
        # Of two that are equal (a map and its gate), the map is the main one.
        value = max(inputs, key=lambda n: (most[n], trace.values[n].shape == shape))
        chosen.append(value)
    main, path = tuple(reversed(back)), {op.outputs[0] for op in back}
    residual = merge = None
    for at, (operation, main_input) in enumerate(zip(back, chosen, strict=False)):
        others = [n for n in operation.inputs if n in most and n != main_input]
        if not others:
            continue
        place = len(main) - 1 - at
        # One convolution at most; or more, on a branch of its own (a GhostNet's shortcut).
        if (
            operation.name in ADDITIONS
            and residual is None
            and any(
                fewest[n] < most[main_input]
                and (fewest[n] <= 1 or not _ancestry(trace, n, sources) & path)
                for n in others
            )
        ):
            residual = place
        elif (
            operation.name in ADDITIONS | CONCATENATIONS
            and merge is None
            and any(fewest[n] > 0 for n in others)
        ):
            merge = place
    return _Branch(main=main, residual=residual, merge=merge)


def _ancestry(trace: Trace, value: int, sources: set[int]) -> set[int]:
    """Return a value and what it was made from, up to the sources."""
    found: set[int] = set()
    waiting = [value]
    while waiting:
        number = waiting.pop()
        if number in found or number in sources:
            continue
        found.add(number)
        if number in trace.producers:
            waiting.extend(trace.operations[trace.producers[number]].inputs)
    return found


def _convolutions_behind(trace: Trace, call: Call) -> tuple[dict[int, int], dict[int, int]]:
    """Count the most and fewest convolutions before each value made from the call's inputs."""
    most = dict.fromkeys(call.inputs, 0)
    fewest = dict.fromkeys(call.inputs, 0)
    for operation in trace.operations[call.first : call.last]:
        inputs = [number for number in operation.inputs if number in most]
        if not inputs:
            continue
        own = int(_convolves(trace, operation))
        for output in operation.outputs:
            most[output] = own + max(most[number] for number in inputs)
            fewest[output] = own + min(fewest[number] for number in inputs)
    return most, fewest
