"""Compares the sets that `edgeattn place` finds with the best of all sets there are.

    python benchmarks/place_exhaustive.py [--model resnet18] [--attention simam,cbam] [--size 64]
                                          [--device jetson,rk3588] [--check 2]

Every set of sites (256 of ResNet-18's 8) is made, without onnxsim, and predicted once. Then, for
budgets from a tenth to nine tenths of what all sites cost, the search asks what it needs of these,
and what it finds is compared with the best of all: by sites, by parameters where there are any, and
by ten draws of random scores. Printed are the sites that it misses by, the part of the best value
that it reaches, and how many sets it asked besides each site by itself. `--check` exports so many
of the sets that it found, with their proof, and compares what they are then predicted to take.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from edgeattn.base.pool import Call, outcomes, processes
from edgeattn.devices.profile import find
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.subsets import Question, Search, Sites
from edgeattn.workflows.export import export
from edgeattn.workflows.place_sets import Base, base_of, predicted
from edgeattn.workflows.profile import profile

Costs = dict[Sites, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search found for one budget and one kind of worth."""

    sites: Sites
    best: float
    value: float
    asked: int


def main() -> int:
    """Compare, and return 1 where a set misses the best by more than one site."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--attention", default="simam,cbam")
    parser.add_argument("--device", default="jetson,rk3588")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--check", type=int, default=2)
    asked = parser.parse_args()
    worst = 0.0
    print("| attention | device | all sites cost | by themselves | worth | budgets | misses |"
          " of the best value | asked beside singles |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for attention in asked.attention.split(","):
        for device in asked.device.split(","):
            with tempfile.TemporaryDirectory() as folder:
                worst = max(worst, _compare(asked, attention, device, Path(folder)))
    return int(worst > 1)


def _compare(asked: argparse.Namespace, attention: str, device: str, folder: Path) -> float:
    options = ProfileOptions(device=device, marginal=False)
    is_cpu = find(device).kind == "cpu"
    request = ModelRequest(
        source=asked.model,
        attentions=(AttentionRequest(name=attention),),
        shapes=((1, 3, asked.size, asked.size),),
    )
    # onnxsim takes most of a set's time, and the runtimes fold norms themselves.
    how = ExportOptions(simplify=False, device=None if is_cpu else device)
    how = replace(how, target="onnxruntime") if is_cpu else how
    base = base_of(request, how, folder)
    costs, bare_ms = _all_costs(base, options, folder)
    count = len(base.sites)
    whole = costs[frozenset(range(count))]
    alone = sum(costs[frozenset([place])] for place in range(count))
    head = f"| {attention} | {device} | {whole:+.1f} % | {alone:+.1f} % |"
    params = [float(site.params) for site in base.sites]
    draws = [[random.Random(seed).random() for _ in range(count)] for seed in range(10)]
    worths = {"sites": [[1.0] * count], "scores": draws}
    worths |= {"parameters": [params]} if any(params) else {}
    misses = 0.0
    chosen: dict[Sites, None] = {}
    for name, values in worths.items():
        found = [
            _search(costs, one, whole * tenth / 10, base)
            for one in values
            for tenth in range(1, 10)
        ]
        missed = max(one.best - one.value for one in found) if name == "sites" else 0.0
        misses = max(misses, missed)
        parts = [one.value / one.best for one in found if one.best]
        more = [one.asked for one in found]
        print(
            f"{head} {name} | {len(found)} | {f'{missed:g} sites' if name == 'sites' else ''} |"
            f" at least {min(parts, default=1):.3f}, median {statistics.median(parts or [1]):.3f} |"
            f" {statistics.median(more):g}, at most {max(more)} |"
        )
        chosen |= dict.fromkeys(one.sites for one in found if one.sites)
    for sites in list(chosen)[: asked.check]:
        _check(base, sites, bare_ms * (1 + costs[sites] / 100), options, folder)
    return misses


def _all_costs(base: Base, options: ProfileOptions, folder: Path) -> tuple[Costs, float]:
    """Predict every set: per cent above the plain model; and what that takes, in ms."""
    count = len(base.sites)
    sets = [one for size in range(count + 1) for one in combinations(range(count), size)]
    calls = []
    for number, one in enumerate(sets):
        path = folder / f"{number}" / "model.onnx"
        path.parent.mkdir()
        item = Item(path=path, name=str(one))
        calls.append(Call(str(one), predicted, (base, one, item, options)))
    taken: dict[str, float] = {}
    began = time.perf_counter()
    with processes() as executor:
        for call, outcome in outcomes(executor, calls):
            if isinstance(outcome, Exception):
                raise outcome
            taken[call.name] = outcome.latency_ms.p50
            if len(taken) % 32 == 0:
                spent = time.perf_counter() - began
                print(f"{len(taken)}/{len(sets)} sets, {spent:.0f} s", file=sys.stderr, flush=True)
    plain = taken["()"]
    return {frozenset(one): 100 * (taken[str(one)] / plain - 1) for one in sets}, plain


def _search(costs: Costs, values: Sequence[float], limit: float, base: Base) -> Found:
    asked: list[Sites] = []

    def ask(sets: Sequence[Sites]) -> list[float]:
        asked.extend(sets)
        return [costs[one] for one in sets]

    question = Question(values, limit, alike=base.alike)
    sites = Search(question, ask).best()
    assert sites is not None, "no site at all keeps the budget"
    assert costs[sites] <= limit, "what is found keeps the budget"
    best = max(question.value(one) for one, cost in costs.items() if cost <= limit)
    beside = sum(len(one) != 1 for one in asked)
    return Found(sites=sites, best=best, value=question.value(sites), asked=beside)


def _check(
    base: Base, sites: Sites, expected_ms: float, options: ProfileOptions, folder: Path
) -> None:
    """Export a set with its proof, and compare what it is predicted to take."""
    path = folder / "exported.onnx"
    manifest = export(base.at(sorted(sites)), base.export, path)
    item = Item(path=path, name="exported")
    took_ms = profile([item], replace(options, marginal=False))[0].row.trace.latency_ms.p50
    same = [site.path for site in manifest.sites] == [base.sites[k].path for k in sorted(sites)]
    print(
        f"exported at {len(sites)} sites, {'exactly these' if same else 'AND OTHERS'}:"
        f" {took_ms:.4f} ms, {expected_ms:.4f} as it was found",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
