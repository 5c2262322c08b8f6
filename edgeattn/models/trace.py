"""A trace of one forward pass: the values that depend on the input, operations, module calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from edgeattn.models import flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One torch function on values that come from the model's input.

    Attributes:
        name: The function's name ("conv2d", "add_").
        path: The innermost module that called it.
        inputs: The values it read.
        outputs: The values it made.
    """

    name: str
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a module.

    Attributes:
        path: The module's path; "" is the root.
        module: The module.
        inputs: The values it was given.
        outputs: The values it returned.
        first: How many operations had run when it began.
        last: How many operations had run when it ended.
    """

    path: str
    module: nn.Module
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int


@dataclass(slots=True)
class Trace:
    """A trace of one forward pass.

    Attributes:
        values: Every value that depends on the input, in order of appearance.
        producers: The operation that made a value; inputs have none.
        operations: All operations, in order.
        calls: All module calls, in the order in which they ended; the root is the last.
        keys: What a dictionary that the model returns calls its outputs; empty if none does.
    """

    values: list[flow.Value] = field(default_factory=list)
    producers: dict[int, int] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    keys: tuple[str, ...] = ()

    @property
    def root(self) -> Call:
        """The call of the model itself."""
        return self.calls[-1]

    def map_of(self, call: Call) -> flow.Value | None:
        """Return the N,C,H,W feature map that a call returned, if that is all it returned."""
        if len(call.outputs) != 1 or not self.values[call.outputs[0]].is_map:
            return None
        return self.values[call.outputs[0]]

    def maps_backwards(self) -> Iterator[int]:
        """Yield the feature maps on the way back from the model's output, the last one first.

        Of several outputs that are maps (a pyramid), from the one of the largest stride.
        """
        outputs = self.root.outputs
        maps = [number for number in outputs if self.values[number].is_map]
        start = max(maps, key=lambda number: self.values[number].stride, default=-1)
        value = start if len(maps) == len(outputs) else outputs[0]
        while value >= 0:
            if self.values[value].is_map:
                yield value
            if value not in self.producers:
                return
            # Of several inputs the latest: what came before it went into it.
            value = max(self.operations[self.producers[value]].inputs)

    def module(self, path: str) -> nn.Module:
        """Return the module at `path`."""
        return self.root.module.get_submodule(path)

    def readers(self, value: int) -> list[Operation]:
        """Return the operations that read a value."""
        return [operation for operation in self.operations if value in operation.inputs]

    def first_call(self, path: str) -> Call:
        """Return the first call of the module at `path`.

        Raises:
            KeyError: The module was never called.
        """
        for call in self.calls:
            if call.path == path:
                return call
        raise KeyError(path)
