"""Attribution: a trace's time by kind, module, stage and site, and what FLOPs alone would say.

All of it adds up: the parts of every kernel that are owned, shared and unattributable sum to the
trace's time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.profiling.marginal import marginals
from edgeattn.profiling.owners import Owned, Status, find_owners
from edgeattn.profiling.reconciliation import Reconciliation, reconciled
from edgeattn.profiling.sums import LinesCost, Module, Sum, by_kind, by_lines, by_stage, tree
from edgeattn.records.trace import Site, Trace

STATUSES: Final[tuple[Status, ...]] = ("owned", "shared", "unattributable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a part of a model costs; every figure is of the part alone.

    Attributes:
        time_us: Its kernels' time.
        marginal_us: What it costs above identity in its place; None if that is not known.
        params: Parameters; None if they are not known.
        macs: Multiply-accumulates.
        element_ops: Operations that FLOP counters skip.
        traffic_bytes: Bytes that its kernels move; None if no kernel of the model tells them.
        launches: Kernels that are its own, or that it shares.
        floor_us: What moving its kernels' bytes takes at least, at the whole bandwidth of the
            device's memory, or of its last cache where a kernel's bytes fit; None if the
            bandwidth or the bytes are not known.
        flops_predicted_us: What its MACs would take at the rate of this model's convolutions, the
            backbone's; None if there are none.
    """

    time_us: float
    marginal_us: float | None
    params: int | None
    macs: int
    element_ops: int
    traffic_bytes: int | None
    launches: int
    floor_us: float | None
    flops_predicted_us: float | None

    @property
    def hidden_cost_factor(self) -> float | None:
        """Time over the time that FLOPs predict; None if they predict none: it is infinite."""
        return self.time_us / self.flops_predicted_us if self.flops_predicted_us else None

    @property
    def broken_fusion_us(self) -> float | None:
        """What the site costs beyond its own kernels: the fusion that it broke.

        Negative where its kernels do work that the backbone would do anyway.
        """
        return None if self.marginal_us is None else self.marginal_us - self.time_us


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCost:
    """A site, and what it costs."""

    site: Site
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """A trace, attributed to modules and sites.

    Attributes:
        trace: The trace.
        kernels: Its kernels, and whose they are.
        sites: Its sites, in the model's order.
        attention: All sites together; None if there are none.
        lines: The lines of authors' own attentions, in their files' order.
        whole: The whole model.
        kinds: By kind, in the order of `KIND_TITLES`.
        site_kinds: The same, of the sites' parts alone.
        stages: By stage, in order of execution.
        modules: The module tree, parents before children.
        coverage_us: Time by status.
        coverage_bytes: Bytes by status.
        conv_macs_per_us: The rate of the backbone's convolutions and matrix products.
        drift: See `Marginals`; 1 where there are none.
        elsewhere_us: The same.
    """

    trace: Trace
    kernels: tuple[Owned, ...]
    sites: tuple[SiteCost, ...]
    attention: Cost | None
    lines: tuple[LinesCost, ...]
    whole: Cost
    kinds: tuple[Sum, ...]
    site_kinds: tuple[Sum, ...]
    stages: tuple[Sum, ...]
    modules: tuple[Module, ...]
    coverage_us: dict[Status, float]
    coverage_bytes: dict[Status, int]
    conv_macs_per_us: float | None
    reconciliation: Reconciliation
    drift: float
    elsewhere_us: float

    @property
    def time_us(self) -> float:
        """The time of all kernels."""
        return self.whole.time_us

    @property
    def attention_share(self) -> float:
        """The sites' part of the kernels' time, of 1."""
        return self.attention.time_us / self.time_us if self.attention and self.time_us else 0.0


def attribute(trace: Trace) -> Attribution:
    """Attribute a trace's kernels to modules and sites, and sum up what these cost."""
    nodes = {node.name: node for node in trace.nodes}
    kernels = find_owners(trace.kernels, nodes)
    rate = _conv_rate(kernels)
    compared = None
    if trace.identity is not None:
        compared = marginals(
            kernels,
            find_owners(trace.identity.kernels, nodes),
            trace.identity.replaced,
            is_measured=trace.evidence == "measured",
        )
    count = _Counter(trace, kernels, rate)
    sites = tuple(
        SiteCost(
            site=site,
            cost=count.of_site(site, None if compared is None else compared.by_site.get(site.path)),
        )
        for site in trace.sites
    )
    return Attribution(
        trace=trace,
        kernels=kernels,
        sites=sites,
        attention=count.of_all(sites) if sites else None,
        lines=by_lines(kernels, trace),
        whole=count.whole(),
        kinds=by_kind(kernels),
        site_kinds=by_kind(kernels, of_sites=True),
        stages=by_stage(kernels),
        modules=tree(kernels),
        coverage_us={
            status: sum(one.kernel.time_us for one in kernels if one.status == status)
            for status in STATUSES
        },
        coverage_bytes={
            status: sum(one.kernel.traffic_bytes or 0 for one in kernels if one.status == status)
            for status in STATUSES
        },
        conv_macs_per_us=rate,
        reconciliation=reconciled(trace),
        drift=1.0 if compared is None else compared.drift,
        elsewhere_us=0.0 if compared is None else compared.elsewhere_us,
    )


def _conv_rate(kernels: Sequence[Owned]) -> float | None:
    """Return MACs per µs of the backbone's convolutions and matrix products."""
    layers = [one.kernel for one in kernels if one.kernel.kind == "matmul" and not one.site]
    layers = [kernel for kernel in layers if kernel.macs]
    time_us = sum(kernel.time_us for kernel in layers)
    return sum(kernel.macs for kernel in layers) / time_us if time_us else None


class _Counter:
    """Sums up what parts of a trace cost."""

    def __init__(self, trace: Trace, kernels: Sequence[Owned], rate: float | None) -> None:
        self._trace = trace
        self._rate = rate
        self._kernels = kernels
        self._by_site: dict[str, list[tuple[float, Owned]]] = defaultdict(list)
        for one in kernels:
            for share in one.shares:
                if share.site:
                    self._by_site[share.site].append((share.part, one))

    def of_site(self, site: Site, marginal_us: float | None) -> Cost:
        nodes = [node for node in self._trace.nodes if node.site == site.path]
        return self._cost(
            self._by_site[site.path],
            macs=sum(node.macs for node in nodes),
            element_ops=sum(node.element_ops for node in nodes),
            params=site.params,
            marginal_us=marginal_us,
        )

    def of_all(self, sites: Sequence[SiteCost]) -> Cost:
        marginal = [one.cost.marginal_us for one in sites]
        params = [one.site.params for one in sites]
        return self._cost(
            [part for parts in self._by_site.values() for part in parts],
            macs=sum(one.cost.macs for one in sites),
            element_ops=sum(one.cost.element_ops for one in sites),
            params=None if None in params else sum(filter(None, params)),
            marginal_us=None if None in marginal else sum(filter(None, marginal)),
        )

    def whole(self) -> Cost:
        return self._cost(
            [(1.0, one) for one in self._kernels],
            macs=sum(node.macs for node in self._trace.nodes),
            element_ops=sum(node.element_ops for node in self._trace.nodes),
            params=self._trace.params,
            marginal_us=None,
        )

    def _cost(
        self,
        parts: Sequence[tuple[float, Owned]],
        *,
        macs: int,
        element_ops: int,
        params: int | None,
        marginal_us: float | None,
    ) -> Cost:
        is_told = any(one.kernel.traffic_bytes is not None for one in self._kernels)
        traffic = round(sum(part * (one.kernel.traffic_bytes or 0) for part, one in parts))
        floors = [
            (part, self._trace.machine.floor_us(one.kernel.traffic_bytes or 0))
            for part, one in parts
        ]
        return Cost(
            time_us=sum(part * one.kernel.time_us for part, one in parts),
            marginal_us=marginal_us,
            params=params,
            macs=macs,
            element_ops=element_ops,
            traffic_bytes=traffic if is_told else None,
            launches=len({one.kernel.name for _, one in parts}),
            floor_us=None
            if self._trace.machine.bandwidth_gbps is None or not is_told
            else sum(part * (floor or 0.0) for part, floor in floors),
            flops_predicted_us=None if self._rate is None else macs / self._rate,
        )
