"""Networks that are lists of layers with a backbone, a neck and a head, as Ultralytics' are.

Told by structure: a module that keeps the two lists of its YAML file, `backbone` and `head`, and
calls the children of its `model` for them, one for each entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from edgeattn.models.flow import CONVOLUTIONS
from edgeattn.models.trace import Call, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers of a network, in order; the last is its head.

    Attributes:
        trace: One observed forward pass.
        root: The path of the module that calls them.
        calls: The call of each layer.
        backbone: How many are the backbone's.
    """

    trace: Trace
    root: str
    calls: tuple[Call, ...]
    backbone: int

    def stage_ends(self) -> list[Call]:
        """Return the last layer at each size of the backbone's maps; one alone is of the stem."""
        stages: dict[tuple[int, ...], list[Call]] = {}
        for call in self.calls[: self.backbone]:
            if (value := self.trace.map_of(call)) is not None:
                stages.setdefault(value.shape[2:], []).append(call)
        return [calls[-1] for calls in stages.values() if len(calls) > 1]

    def neck(self) -> list[Call]:
        """Return the blocks between backbone and head: layers of several convolutions."""
        return [call for call in self.calls[self.backbone : -1] if self._is_block(call)]

    def before_head(self) -> list[Call]:
        """Return the layers whose maps the head reads."""
        read = self.calls[-1].inputs
        return [call for call in self.calls[:-1] if set(call.outputs) & set(read)]

    def _is_block(self, call: Call) -> bool:
        inside = self.trace.operations[call.first : call.last]
        convolutions = sum(operation.name in CONVOLUTIONS for operation in inside)
        return self.trace.map_of(call) is not None and convolutions > 1


def layers_of(trace: Trace) -> Layers | None:
    """Return the layers of a network, None if it is not told that it has such."""
    for root in reversed(trace.calls):
        told, layers = (getattr(root.module, name, None) for name in ("yaml", "model"))
        if not isinstance(told, Mapping) or not isinstance(layers, nn.Sequential):
            continue
        lists = [told.get(part) for part in ("backbone", "head")]
        prefix = f"{root.path}." if root.path else ""
        calls = {call.path: call for call in trace.calls}
        found = [calls.get(f"{prefix}model.{number}") for number in range(len(layers))]
        called = [call for call in found if call is not None]
        if all(isinstance(one, list) for one in lists) and len(called) == len(found):
            counts = len(lists[0] or ())
            return Layers(trace=trace, root=root.path, calls=tuple(called), backbone=counts)
    return None
