"""Sites: the places in a traced model where attention can be put.

`Survey` names each place that the command line knows (block-end, after-dw, conv2, stage-end,
input, last, backbone, neck, before-head, a glob of module paths) and returns where it is in this
model.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.models.blocks import (
    CONTAINERS,
    Block,
    find_blocks,
    is_container,
    is_depthwise,
    stages_of,
)
from edgeattn.models.flow import CONVOLUTIONS, NORMS
from edgeattn.models.layered import Layers, layers_of
from edgeattn.models.trace import Call, Operation, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place.

    Attributes:
        path: The module attended; "" is the root.
        side: Whether its output or its input is attended, or it is a convolution to be replaced.
        shape: (C, H, W) of the map attended.
        host: The module that the attention is registered on.
        stage: The stage it is in, from 1, or None outside of all stages.
    """

    path: str
    side: Literal["output", "input", "replace"]
    shape: tuple[int, int, int]
    host: str
    stage: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A model's trace and its blocks.

    Attributes:
        trace: One observed forward pass.
        blocks: Its blocks.
        layers: Its layers, where it is a list of them with a backbone and a head.
    """

    trace: Trace
    blocks: tuple[Block, ...]
    layers: Layers | None = None

    @classmethod
    def of(cls, trace: Trace) -> Survey:
        """Find the blocks of a traced model."""
        return cls(trace=trace, blocks=find_blocks(trace), layers=layers_of(trace))

    @property
    def stages(self) -> int:
        """The number of stages."""
        return stages_of(self.blocks)

    def output(self, call: Call) -> Site | None:
        """Return the output of a module call, if it is a feature map."""
        if not call.path and call.outputs != self.trace.root.outputs:
            # The root as a block: it ends where its last feature map does, not at its own output.
            return next(iter(self.last()), None)
        call = self._settled(call)
        shape = _shape(self.trace, call)
        if shape is None:
            return None
        return Site(
            path=call.path,
            side="output",
            shape=shape,
            host=self._host(call.path),
            stage=self._stage(call.path),
        )

    def input(self) -> list[Site]:
        """Return the network's input."""
        value = self.trace.values[self.trace.root.inputs[0]]
        if not value.is_map:
            raise InputError(f"the model's input is no N,C,H,W tensor but {list(value.shape)}")
        _, C, H, W = value.shape
        path = host = ""
        if is_container(self.trace.root.module):
            # It cannot hold one child more: the first child to read the input holds the attention.
            given = self.trace.root.inputs[0]
            readers = (call for call in self.trace.calls if call.inputs[:1] == (given,))
            path = next(call.path for call in readers if not is_container(call.module))
            host = self._host(path)
        return [Site(path=path, side="input", shape=(C, H, W), host=host, stage=None)]

    def last(self) -> list[Site]:
        """Return the last feature map before it is pooled or flattened.

        Raises:
            InputError: The module that returns it is called elsewhere too.
        """
        often = Counter(call.path for call in self.trace.calls)
        shared = ""
        for value in self.trace.maps_backwards():
            calls = [call for call in self.trace.calls if call.outputs == (value,)]
            once = [call for call in calls if often[call.path] == 1]
            if once:
                # The outermost module that returned it, so that `layer4` is the end of a stage.
                return self._sites([min(once, key=lambda call: len(call.path) or 1_000_000)])
            if calls:
                shared = shared or calls[-1].path
                # Back over an activation that is used everywhere, but not over what was learnt.
                if self._counts(self.trace.operations[self.trace.producers[value]]):
                    break
        if shared:
            raise InputError(
                f"{shared}, which returns the last feature map, is called {often[shared]} times, "
                "and attention would act each time",
                mend="Name another module by its path.",
            )
        return []

    def stage_ends(self) -> list[Site]:
        """Return the ends of stages: the last block, or a module around the blocks that does more.

        A dense block puts its layers' outputs side by side, a CSP stage adds a branch of its own.
        """
        ends = [
            block
            for at, block in enumerate(self.blocks, start=1)
            if at == len(self.blocks) or self.blocks[at].stage != block.stage
        ]
        return self._sites(self._stage_end(block) for block in ends)

    def _stage_end(self, last: Block) -> Call:
        """Return the call of the outermost module around a stage's last block and no other stage's.

        It must be more than a container (those may add a head to the stage), and its output must
        still be a map of the stage's stride.
        """
        found = last.call
        for call in self.trace.calls:
            if (
                call.path
                and not is_container(call.module)
                and last.call.path.startswith(f"{call.path}.")
                and (value := self.trace.map_of(call)) is not None
                and value.stride == last.stride
                and all(
                    block.stage == last.stage
                    for block in self.blocks
                    if block.call.path.startswith(f"{call.path}.")
                )
                and call.outputs != found.outputs
            ):
                found = call
        return found

    def layer_outputs(self, chosen: Callable[[Layers], list[Call]]) -> list[Site]:
        """Return the outputs of some of the model's layers.

        Args:
            chosen: Chooses them.

        Raises:
            InputError: The model does not tell backbone, neck and head apart.
        """
        if self.layers is None:
            raise InputError(
                "this model does not say what its backbone, neck and head are, as Ultralytics' do",
                mend="Give --at stage-end, or a glob of module paths.",
            )
        return self._sites(chosen(self.layers))

    def block_outputs(self, blocks: Iterable[Block]) -> list[Site]:
        """Return the outputs of blocks, after the residual addition."""
        return self._sites(block.call for block in blocks)

    def block_ends(self, blocks: Iterable[Block]) -> list[Site]:
        """Return each block's site after its last norm or convolution, before the addition."""
        return self._sites(self._block_end(block) for block in blocks)

    def after_depthwise(self, operations: Iterable[Operation]) -> list[Site]:
        """Return the sites after the depthwise convolutions among operations, before norms."""
        return self.operation_outputs(op for op in operations if is_depthwise(self.trace, op))

    def operation_outputs(self, operations: Iterable[Operation]) -> list[Site]:
        """Return the outputs of the modules that consist of one of these operations."""
        return self._sites(self._call_of(operation) for operation in operations)

    def second_convolutions(self, blocks: Iterable[Block]) -> list[Site]:
        """Return the sites after each block's second convolution on the main branch."""
        places = [(block, block.convolutions(self.trace)) for block in blocks]
        return self._sites(self._call_of(block.main[at[1]]) for block, at in places if len(at) > 1)

    def matching(self, pattern: str) -> list[Site]:
        """Return the outputs of all modules whose path matches a glob.

        Raises:
            InputError: One of them does not return a feature map.
        """
        found: dict[str, Site] = {}
        for call in self.trace.calls:
            if not call.path or not fnmatch.fnmatchcase(call.path, pattern):
                continue
            site = self.output(call)
            if site is None:
                shapes = [list(self.trace.values[number].shape) for number in call.outputs]
                raise InputError(
                    f"attention cannot be put at {call.path} ({type(call.module).__name__}): "
                    f"it returns no N,C,H,W feature map but {shapes[0] if shapes else 'no tensor'}"
                )
            if found.setdefault(site.path, site).shape != site.shape:
                raise InputError(f"{site.path} is called several times, on maps of several shapes")
        return list(found.values())

    def norm_after(self, path: str) -> str | None:
        """Return the norm module that alone reads the output of the convolution at `path`."""
        readers = self.trace.readers(self.trace.first_call(path).outputs[0])
        if len(readers) != 1 or readers[0].name not in NORMS:
            return None
        return readers[0].path

    def _block_end(self, block: Block) -> Call:
        """Return the earliest call that returns a map at or after the last norm or convolution."""
        trace, main = self.trace, block.main[: block.residual]
        ends = [at for at, op in enumerate(main) if self._counts(op)]
        last = max(ends, default=len(main) - 1)
        if block.merge is not None and block.merge < len(main):
            last = max(last, block.merge)
        after = {number for op in main[last:] for number in op.outputs}
        inside = [
            call
            for call in trace.calls
            if block.call.first <= call.first <= call.last <= block.call.last
            and call.path != block.call.path
            and trace.map_of(call) is not None
        ]
        owner = main[last].path if main else ""
        found = [call for call in inside if call.outputs[0] in after]
        # The norm's own module if possible, so that the activation inside of it is included.
        return next((call for call in found if call.path == owner), next(iter(found), block.call))

    def _counts(self, operation: Operation) -> bool:
        if operation.name not in CONVOLUTIONS | NORMS:
            return False
        return self.trace.values[operation.outputs[0]].is_grid

    def _call_of(self, operation: Operation) -> Call | None:
        calls = (call for call in self.trace.calls if call.path == operation.path)
        return next((call for call in calls if call.outputs == operation.outputs), None)

    def _sites(self, calls: Iterable[Call | None]) -> list[Site]:
        sites = (self.output(call) for call in calls if call is not None)
        return list({site.path: site for site in sites if site is not None}.values())

    def _settled(self, call: Call) -> Call:
        """Return the call of the last child of a container, whose output it returns."""
        while is_container(call.module):
            children = [
                child
                for child in self.trace.calls
                if child.outputs == call.outputs
                and child.path.startswith(f"{call.path}." if call.path else "")
                and child is not call
            ]
            if not children:
                break
            call = min(children, key=lambda child: child.path.count("."))
        return call

    def _host(self, path: str) -> str:
        if not path:
            return path
        own = self.trace.module(path)
        if any(b.call.path == path for b in self.blocks) and not isinstance(own, CONTAINERS):
            return path
        parent = path
        while parent:
            parent = parent.rpartition(".")[0]
            if not isinstance(self.trace.module(parent), CONTAINERS):
                # A layer holds its own, so that each is told apart by its path.
                is_layer = self.layers is not None and parent == self.layers.root
                return path if is_layer and not isinstance(own, CONTAINERS) else parent
        return path

    def _stage(self, path: str) -> int | None:
        for block in self.blocks:
            if block.call.path and f"{path}.".startswith(f"{block.call.path}."):
                return block.stage
        return None


def _shape(trace: Trace, call: Call) -> tuple[int, int, int] | None:
    value = trace.map_of(call)
    return None if value is None else (value.shape[1], value.shape[2], value.shape[3])


def paths(trace: Trace) -> Sequence[str]:
    """Return the paths of all modules that were called, without the root."""
    return list(dict.fromkeys(call.path for call in trace.calls if call.path))


def is_spatial_3x3(module: nn.Module) -> bool:
    """Return whether a module is a 3x3 convolution."""
    return isinstance(module, nn.Conv2d) and tuple(module.kernel_size) == (3, 3)
