"""Whose a kernel is: the module, and the site, that it goes back to.

1. What decides what a fused kernel is owns it: the nodes of its strongest kind, a convolution
   before a reduction before what is pointwise, which rides along (`graph.kinds.STRENGTH`).
2. Are these nodes in one module, or in one site, it is *owned*. So it is where pointwise nodes of
   one site and of the backbone are one kernel: without the site, a convolution would have taken
   the backbone's along.
3. Are they in several, it is *shared*: apportioned by the bytes that each one's nodes would move by
   themselves. That is an estimate: a fused kernel's time cannot be divided by measurement.
4. A kernel that came from no node is a layout copy. It is charged to its cause: a site among the
   kernels that want the other layout, or else the first of these.
5. What is left is *unattributable*.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgeattn.graph.gates import common_module
from edgeattn.records.kinds import kind_of, strongest
from edgeattn.records.trace import Kernel, Node

Status = Literal["owned", "shared", "unattributable"]

_RIDING: Final = frozenset({"pointwise", "shuffle"})
# Several of these in one kernel are as many layers, and none of them alone is its reason.
_LAYERS: Final = frozenset({"matmul", "normalisation", "other"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a kernel.

    Attributes:
        module: The module, or the node where it has no module.
        site: The path of the site; "" for the backbone.
        part: How much of the kernel, of 1.
    """

    module: str
    site: str
    part: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A kernel, and whose it is.

    Attributes:
        kernel: The kernel.
        status: Whether one owns it, several share it, or nobody is known.
        shares: Whose; their parts sum to 1, but for what is unattributable.
        cause: Of a layout copy, the kernel that it is charged to.
    """

    kernel: Kernel
    status: Status
    shares: tuple[Share, ...]
    cause: str = ""

    @property
    def owner(self) -> str:
        """The module with the largest share; "" if there is none."""
        return max(self.shares, key=lambda share: share.part).module if self.shares else ""

    @property
    def site(self) -> str:
        """The site that owns it; "" for the backbone, and where several share it."""
        sites = {share.site for share in self.shares}
        return sites.pop() if len(sites) == 1 else ""


def find_owners(kernels: Sequence[Kernel], nodes: Mapping[str, Node]) -> tuple[Owned, ...]:
    """Return whose each kernel is.

    Args:
        kernels: The kernels, in their order.
        nodes: What is known of the nodes that they came from, by name.
    """
    found = [_by_nodes(kernel, nodes) for kernel in kernels]
    _charge_copies(found)
    return tuple(found)


def _by_nodes(kernel: Kernel, nodes: Mapping[str, Node]) -> Owned:
    own = [nodes[name] for name in kernel.nodes if name in nodes]
    kind = strongest(kind_of(node.op_type) for node in own)
    if kind is None:
        return Owned(kernel=kernel, status="unattributable", shares=())
    leaders = [node for node in own if kind_of(node.op_type) == kind]
    sites = {node.site for node in leaders}
    if kind in _RIDING and len(sites) == 2 and "" in sites:
        leaders = [node for node in leaders if node.site]
        sites = {node.site for node in leaders}
    if len(sites) == 1:
        (site,) = sites
        modules = dict.fromkeys(_unit(node) for node in leaders)
        if len(modules) == 1 or site or kind not in _LAYERS:
            module = common_module(modules) or site or next(iter(modules))
            share = Share(module=module, site=site, part=1.0)
            return Owned(kernel=kernel, status="owned", shares=(share,))
    return Owned(kernel=kernel, status="shared", shares=_by_bytes(leaders))


def _unit(node: Node) -> str:
    return node.module or node.name


def _by_bytes(leaders: Sequence[Node]) -> tuple[Share, ...]:
    moved: dict[tuple[str, str], float] = defaultdict(float)
    for node in leaders:
        # In a site, modules are not told apart: the site as a whole is what is paid for.
        moved[node.site or _unit(node), node.site] += node.traffic_bytes
    total = sum(moved.values())
    return tuple(
        Share(module=module, site=site, part=each / total if total else 1 / len(moved))
        for (module, site), each in moved.items()
    )


def _charge_copies(found: list[Owned]) -> None:
    """Charge the kernels without nodes to their causes, in place."""
    places = {one.kernel.name: place for place, one in enumerate(found)}
    readers: dict[str, list[int]] = defaultdict(list)
    writers: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(found):
        for name in one.kernel.inputs:
            readers[name].append(place)
        for name in one.kernel.outputs:
            writers[name].append(place)
    waiting = [place for place, one in enumerate(found) if not one.shares]
    is_changed = True
    while waiting and is_changed:
        is_changed = False
        # Backwards, so that a copy of a copy comes to what reads the last.
        for place in reversed(waiting):
            kernel = found[place].kernel
            causes = [places[name] for name in kernel.causes if name in places]
            after = [at for name in kernel.outputs for at in readers[name] if at > place]
            before = [at for name in kernel.inputs for at in writers[name] if at < place]
            # What wrote before it is asked only where nothing that reads after it is known.
            for candidates in (causes, after, before):
                known = [found[at] for at in candidates if found[at].shares]
                if known:
                    cause = next((one for one in known if one.site), known[0])
                    found[place] = replace(
                        found[place],
                        status=cause.status,
                        shares=cause.shares,
                        cause=cause.kernel.name,
                    )
                    is_changed = True
                    break
        waiting = [place for place in waiting if not found[place].shares]
