"""Place: which sites attention can have within a budget, and what each of them costs.

Costs of sites do not add up, so what sets cost is found out by running them, or by predicting them,
as few as it takes (`profiling.subsets`). The set that is found is then exported with exactly its
sites, proven, and run or predicted once more: what it costs as a whole is what counts.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from edgeattn.base.errors import CheckError, InputError
from edgeattn.base.pool import Call, outcomes, processes
from edgeattn.base.versions import installed
from edgeattn.hosts.visit import Guest
from edgeattn.lowering.target import check
from edgeattn.options.cast import check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.place import PlaceOptions
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.gate import Limit, judge
from edgeattn.profiling.predict.difference import difference
from edgeattn.profiling.route import choose
from edgeattn.profiling.subsets import Question, Search, Sites
from edgeattn.records.manifest import PlacedSite
from edgeattn.records.place import Placement, SetFigures, SiteFigures
from edgeattn.records.trace import Difference, Identity, SavedRow, Site, Trace
from edgeattn.workflows.artifact import check_opset
from edgeattn.workflows.compare import name_of
from edgeattn.workflows.export import export as export_model
from edgeattn.workflows.place_sets import Base, base_of, made, predicted
from edgeattn.workflows.place_worth import Worth
from edgeattn.workflows.profile import Lane, profile, profile_on

T = TypeVar("T")
_NOTHING: Final[Sites] = frozenset()
# So many sets may turn out dearer as a whole than they were when they were found.
_MOST_CHECKS: Final = 8
# What is said of a file whose sites nobody names; here they are known.
_FOUND: Final = "Sites were found "
_ALIKE: Final = (
    "{} of {} sites were run by themselves: around each of the others is the same as around one of"
    " these."
)
_DEARER: Final = (
    "Sets that kept the budget when they were found, and not when they were checked as a whole: {}."
)
_UNSURE: Final = (
    "The set keeps the budget by its figure, and its interval reaches above: a smaller --budget is"
    " surer."
)


def place(
    request: ModelRequest,
    asked: PlaceOptions,
    export: ExportOptions,
    options: ProfileOptions,
    folder: Path,
    *,
    guest: Guest | None = None,
    precision: str = "",
    command: str = "",
    exporting: Callable[[str], str] = lambda at: f"--at {shlex.quote(at)}",
    on_stage: Stage = lambda _: None,
) -> Placement:
    """Find the set of sites that is worth most within a budget.

    Args:
        request: The model, with one attention, at all sites that it may have.
        asked: The budget, and what sites are worth.
        export: How models are exported.
        options: How they are measured or predicted.
        folder: Where their files are written.
        guest: The host that measures; None for here, or a prediction.
        precision: What the runtime computes them in, where that is said beside the export.
        command: The command line to record.
        exporting: Returns the command that exports the set, of what to give to --at.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: The model cannot be built, or the attention goes nowhere; an option does not fit
            it; or the budget is less than the plain model takes, or than what is kept.
        CheckError: Sets turn out dearer again and again, or an export differs from torch.
        MissingError: What is asked cannot be had on this machine.
    """
    limit = _limit(asked)
    check_opset(export.opset)
    check(export.target, export.rules)
    if export.cast is not None:
        check_options(export.cast)
    on_stage("capture")
    base = base_of(request, export, folder)
    worth = Worth.of(asked, base.sites)
    with processes() as executor:
        runs = _Runs(base, options, folder, executor, guest, precision, on_stage)
        question = Question(worth.values, limit.value, worth.kept, base.alike)

        def ask(sets: Sequence[Sites]) -> list[float]:
            runs.ask(sets)
            return [_value(limit, runs.known[one]) for one in sets]

        search = Search(question, ask)
        search.learn([_NOTHING, worth.kept, frozenset(range(len(base.sites)))])
        _check_plain(limit, search, runs)
        if search.known[worth.kept] > limit.value:
            raise _kept_too_much(runs.known[worth.kept], limit, asked)
        search.learn_singles()
        chosen, dearer, warnings = _chosen(search, runs, limit, asked)
    every = frozenset(range(len(base.sites)))
    whole, plain = runs.traces[every], runs.traces[_NOTHING]
    beside = _beside_all(base.sites, whole, plain, runs.known[every].above_ms)
    first = {kind: place for place, kind in reversed(list(enumerate(base.alike)))}
    sites = []
    for number, site in enumerate(base.sites):
        own = frozenset([number])
        like = number if own in runs.known else first[base.alike[number]]
        sites.append(
            SiteFigures(
                path=site.path,
                target=site.target,
                shape=site.shape,
                params=site.params,
                value=worth.values[number],
                is_kept=number in worth.kept,
                is_chosen=chosen is not None and site.path in chosen.sites,
                alone=runs.known[frozenset([like])],
                like="" if like == number else base.sites[like].path,
                beside_all_ms=beside.get(site.path),
            )
        )
    places = [number for number, one in enumerate(sites) if one.is_chosen]
    at = base.at(places).attentions[0].at or "" if places else ""
    is_sure = chosen is not None and judge(limit, chosen) == "passed"
    notes = [one for one in whole.notes if not one.startswith(_FOUND)]
    notes += [*worth.notes, *dearer]
    if (ran := sum(not site.like for site in sites)) < len(sites):
        notes.append(_ALIKE.format(ran, len(sites)))
    bounds = None if chosen is None else limit.bounds(chosen)
    if bounds is not None and bounds.interval is not None and not is_sure:
        notes.append(_UNSURE)
    machine = whole.machine
    return Placement(
        model=base.source,
        attention=request.attentions[0].label,
        budget=str(limit),
        by=worth.by,
        evidence=whole.evidence,
        runtime=whole.runtime,
        runtime_version=whole.runtime_version,
        device=machine.host or machine.device,
        title=machine.title,
        power_mode=machine.power_mode,
        plain=runs.known[_NOTHING],
        whole=runs.known[every],
        sites=tuple(sites),
        sets=tuple(runs.known.values()),
        chosen=chosen,
        is_sure=is_sure,
        at=at,
        export=exporting(at) if places else "",
        versions=installed(),
        command=command,
        warnings=tuple(
            dict.fromkeys(
                filter(None, (machine.not_for, *warnings, *whole.warnings, *plain.warnings))
            )
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def _limit(asked: PlaceOptions) -> Limit:
    """Read the budget.

    Raises:
        InputError: It is none, or is negative.
    """
    if not asked.budget:
        raise InputError(
            "No budget is given.", mend="For example: --budget +5%, or --budget 8ms in all."
        )
    limit = Limit.parse(asked.budget, option="--budget")
    if limit.value < 0:
        raise InputError(
            f"--budget {asked.budget} is negative, and attention takes time.",
            mend="For example: --budget +5%, or --budget 8ms in all.",
        )
    return limit


def _value(limit: Limit, figures: SetFigures) -> float:
    bounds = limit.bounds(figures)
    assert bounds is not None, "it is compared with the plain model"
    return bounds.value


def _check_plain(limit: Limit, search: Search, runs: _Runs) -> None:
    if search.known[_NOTHING] > limit.value:
        raise InputError(
            f"The plain model takes {runs.known[_NOTHING].latency_ms:.3g} ms, and the budget is"
            f" {limit}.",
            mend="Give a larger budget, or one above the plain model: --budget +5%",
        )


def _kept_too_much(figures: SetFigures, limit: Limit, asked: PlaceOptions) -> InputError:
    return InputError(
        f"What --keep names takes {figures.latency_ms:.3g} ms, {figures.above_percent:+.1f} % above"
        f" the plain model, and the budget is {limit}.",
        mend=f"Keep less than {' '.join(asked.keep)}, or give a larger budget.",
    )


def _chosen(
    search: Search, runs: _Runs, limit: Limit, asked: PlaceOptions
) -> tuple[SetFigures | None, list[str], tuple[str, ...]]:
    """Return the best set that keeps the limit as a whole; None if no site does.

    Returns:
        With it, what a reader should know, and why its figure is not to be trusted.

    Raises:
        InputError: What is kept alone exceeds it.
        CheckError: Sets exceed it as a whole, again and again.
    """
    kept = search.question.kept
    for dearer in range(_MOST_CHECKS):
        best = search.best()
        if best is None:
            raise _kept_too_much(runs.known[kept], limit, asked)
        notes = [_DEARER.format(dearer)] if dearer else []
        if not best:
            return None, notes, ()
        figures, warnings = runs.checked(best)
        if _value(limit, figures) <= limit.value:
            return figures, notes, warnings
        search.known[best], runs.known[best] = _value(limit, figures), figures
    raise CheckError(
        f"{_MOST_CHECKS} sets kept the budget of {limit} when they were found, and none did when it"
        " was checked as a whole.",
        mend="Measure longer, with --limit, on a quiet machine; or give another budget.",
    )


def _beside_all(
    sites: Sequence[PlacedSite], whole: Trace, plain: Trace, above_ms: float
) -> dict[str, float]:
    """Return what each site costs where all are there, in ms, of what they cost together."""
    paths = [site.path for site in sites]
    with_sites = whole.model_copy(
        update={
            "sites": tuple(Site(path=one.path, attention=one.attention) for one in sites),
            "nodes": tuple(
                node.model_copy(update={"site": _site_of(node.module, paths)})
                for node in whole.nodes
            ),
            "identity": Identity(
                kernels=plain.kernels, difference=None, replaced=tuple(paths), kept={}
            ),
        }
    )
    costs = {one.site.path: one.cost.marginal_us or 0.0 for one in attribute(with_sites).sites}
    total_us = sum(costs.values())
    # A profiler adds to each kernel: so what they take together is what is divided.
    scale = above_ms / total_us if total_us > 0 else 0.0
    return {path: scale * cost_us for path, cost_us in costs.items()} if scale > 0 else {}


def _site_of(module: str, paths: Sequence[str]) -> str:
    return next((path for path in paths if f"{module}.".startswith((f"{path}.", f"{path}/"))), "")


@dataclass(slots=True)
class _Runs:
    """What sets took, each run or predicted once."""

    base: Base
    options: ProfileOptions
    folder: Path
    executor: Executor
    guest: Guest | None
    precision: str
    on_stage: Stage
    known: dict[Sites, SetFigures] = field(default_factory=dict)
    traces: dict[Sites, Trace] = field(default_factory=dict)

    def ask(self, sets: Sequence[Sites]) -> None:
        """Make the models of sets, wide, and predict them; or run them, one after another."""
        for one in sets:
            self._path(one).parent.mkdir()
        if self._is_predicted:
            found = self._wide(sets, predicted, lambda one: (self._item(one), self._how))
            self.traces |= found
            for one, trace in found.items():
                self._take(one, trace, _above(trace, self.traces[_NOTHING]))
            return
        self._wide(sets, made, lambda one: (self._path(one),))
        beside = list(dict.fromkeys([_NOTHING, *sets]))
        rows = self._measured([self._item(one) for one in beside])
        for one, row in zip(beside, rows, strict=True):
            if one not in self.known:
                self.traces[one] = row.trace
                self._take(one, row.trace, row.difference)
            if one:  # the plain model is run beside others again
                shutil.rmtree(self._path(one).parent)

    def checked(self, sites: Sites) -> tuple[SetFigures, tuple[str, ...]]:
        """Export the model of a set with exactly its sites, and run or predict that.

        Returns:
            What it takes, and why that is not to be trusted.

        Raises:
            InputError: The sites that are exported are others.
            CheckError: The file differs from torch.
        """
        request, name = self.base.at(sorted(sites)), self._name(sites)
        (attention,) = request.attentions
        path = self.folder / f"{name_of(request.source)}-{attention.label}.onnx"
        manifest = export_model(
            request,
            self.base.export,
            path,
            on_stage=lambda stage: self.on_stage(f"export at {name}: {stage}"),
        )
        wanted = self._paths_of(sites)
        got = tuple(site.path for site in manifest.sites)
        if got != wanted:
            raise InputError(
                f"--at {attention.at} puts attention at {', '.join(got)}, and not at"
                f" {', '.join(wanted)}.",
                mend="Name another --at, whose modules are each called once.",
            )
        self.on_stage(f"check at {name}")
        item = replace(self._item(sites), path=path)
        if self._is_predicted:
            trace = profile([item], self._how)[0].row.trace
            above: Difference | None = _above(trace, self.traces[_NOTHING])
        else:
            row = self._measured([self._item(_NOTHING), item])[1]
            trace, above = row.trace, row.difference
        warnings = tuple(f"The set, checked: {one}" for one in trace.warnings)
        return _figures(wanted, trace, above), warnings

    def _measured(self, items: Sequence[Item]) -> list[SavedRow]:
        """Run models in the same rounds, alone."""
        if self.guest is None:
            found = profile(items, self._how, on_stage=self.on_stage)
        else:
            lane = Lane(guest=self.guest, items=items)
            found = profile_on([lane], self._how, on_stage=self.on_stage).found
        return [one.row for one in found]

    def _wide(
        self,
        sets: Sequence[Sites],
        function: Callable[..., T],
        more: Callable[[Sites], tuple[object, ...]],
    ) -> dict[Sites, T]:
        """Call a function for each set, in processes of their own."""
        calls = [
            Call(self._name(one), function, (self.base, sorted(one), *more(one))) for one in sets
        ]
        places = {id(call): one for call, one in zip(calls, sets, strict=True)}
        found: dict[Sites, T] = {}
        self.on_stage(f"sets 0/{len(calls)}")
        for call, outcome in outcomes(self.executor, calls):
            if isinstance(outcome, Exception):
                raise outcome
            found[places[id(call)]] = outcome
            self.on_stage(f"sets {len(found)}/{len(calls)}: {call.name}")
        return {one: found[one] for one in sets}

    def _take(self, sites: Sites, trace: Trace, above: Difference | None) -> None:
        self.known[sites] = _figures(self._paths_of(sites), trace, above)

    @property
    def _how(self) -> ProfileOptions:
        return replace(self.options, marginal=False)

    @property
    def _is_predicted(self) -> bool:
        if self.guest is not None:
            return False
        return choose(self._path(_NOTHING), self.options).evidence == "predicted"

    def _path(self, sites: Sites) -> Path:
        """Return the file of a set, in a folder of its own: weights may lie beside it."""
        whole = sum(1 << place for place in sites)
        return self.folder / f"set-{whole:x}" / "model.onnx"

    def _item(self, sites: Sites) -> Item:
        path = self._path(sites)
        return Item(path=path, name=self._name(sites), precision=self.precision)

    def _name(self, sites: Sites) -> str:
        if len(sites) == 1:
            return self._paths_of(sites)[0]
        return f"{len(sites)} of {len(self.base.sites)} sites" if sites else "no site"

    def _paths_of(self, sites: Sites) -> tuple[str, ...]:
        return tuple(self.base.sites[place].path for place in sorted(sites))


def _above(trace: Trace, plain: Trace) -> Difference | None:
    """Return what a model is predicted to take above the plain one; None of that itself."""
    if trace is plain:
        return None
    return difference(
        trace.kernels,
        trace.latency_ms.p50,
        plain.kernels,
        plain.latency_ms.p50,
        trace.shared_spread,
    )


def _figures(sites: tuple[str, ...], trace: Trace, above: Difference | None) -> SetFigures:
    return SetFigures(
        sites=sites,
        latency_ms=trace.latency_ms.p50,
        latency_interval_ms=trace.interval_ms,
        above_ms=0.0 if above is None else above.p50_ms,
        above_percent=0.0 if above is None else above.percent,
        above_interval_percent=None if above is None else above.bounds,
    )
