"""Sweep: attentions, places, models, precisions, devices and hosts, every combination of them.

Each job's key is the content of all that decides its result, so that what is done is never done
again, and a sweep that was ended goes on where it was. Exports, builds and predictions run wide, on
this machine's cores or a cluster of Dask's. What is measured is measured one after another, after
that: on hosts side by side, on this machine with nothing beside it.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgeattn.base import files, signals
from edgeattn.base.errors import EdgeattnError, InputError, MissingError
from edgeattn.base.pool import Call, cores, outcomes, processes
from edgeattn.base.versions import installed
from edgeattn.hosts.connection import BusyError, FullError, LostError
from edgeattn.hosts.visit import Guest, side_by_side
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.options.sweep import SweepOptions
from edgeattn.records.store import Outcome, Store, is_empty
from edgeattn.records.sweep import SweepRow
from edgeattn.workflows.profile import Lane, profile, profile_on
from edgeattn.workflows.sweep_cluster import connected
from edgeattn.workflows.sweep_plan import Common, Job, jobs_of, places_of
from edgeattn.workflows.sweep_work import (
    DiskError,
    Made,
    Work,
    WorkerError,
    explained,
    file_of,
    keep,
    make,
    row_of,
)

# Seconds that a stage is taken to last where none like it was made yet.
_GUESSES: Final = {"export": 25.0, "cast": 10.0, "plan": 15.0, "predict": 2.0, "measure": 60.0}
_SUFFIXES: Final = (".db", ".sqlite", ".sqlite3")
# What a model's folder is called where files are that are to be measured.
_FOLDER: Final = re.compile(r"[0-9a-f]{32}(-.+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a sweep has to do.

    Attributes:
        jobs: All jobs.
        done: How many are done already.
        failed: How many failed before, and are not tried again.
        exports: How many models are to be exported.
        measured: How many jobs are to be measured.
        seconds: About how long it takes.
        is_guess: Whether nothing like it was made yet, so that this is a guess.
    """

    jobs: tuple[Job, ...]
    done: int
    failed: int
    exports: int
    measured: int
    seconds: float
    is_guess: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found.

    Attributes:
        planned: What it had to do.
        rows: What all jobs of the plan found, in its order.
        failed: What jobs are called that failed, and why.
    """

    planned: Planned
    rows: tuple[SweepRow, ...]
    failed: tuple[tuple[str, Outcome], ...]


def sweep(
    options: SweepOptions,
    common: Common,
    *,
    guests: Sequence[Guest] = (),
    output: Path,
    on_stage: Stage = lambda _: None,
) -> Swept:
    """Go through every combination of what is asked, or say what there is to do.

    Args:
        options: What it goes through.
        common: What all models have in common.
        guests: The hosts that are measured on.
        output: The file of jobs and rows; what it holds already is not done again.
        on_stage: Called with how far it is.

    Raises:
        InputError: A list is empty or holds what there is not; the file is another's, or in use;
            there is no space left; or workers differ from what is here.
        MissingError: What is asked for cannot be had: a host, a scheduler, a library.
    """
    if output.suffix not in _SUFFIXES:
        raise InputError(
            f"{output} is no name for the file of a sweep.",
            mend=f"Write: -o {shlex.quote(str(output.with_suffix('.db')))}",
        )
    on_stage("plan")
    places = places_of(options, common.profile, guests)
    jobs = jobs_of(options, common, places)
    if options.dry_run and is_empty(output):
        files.check_target(output)
        return Swept(planned=_planned(jobs, jobs, {}, {}, options), rows=(), failed=())
    with Store(output, to_read=options.dry_run) as store:
        if not options.dry_run:
            store.add((job.key, job.label) for job in jobs)
        states = store.states()
        left = _left(jobs, states, store, retry=options.retry)
        planned = _planned(jobs, left, states, store.seconds(), options)
        if not options.dry_run:
            store.wait(job.key for job in left)
            _Sweep(store, jobs, options, common.profile, guests, on_stage).run(left)
        labels = {job.key: job.label for job in jobs}
        return Swept(
            planned=planned,
            rows=tuple(store.rows(labels)),
            failed=tuple((labels[one.key], one) for one in store.failed(labels)),
        )


def _left(jobs: Sequence[Job], states: dict[str, str], store: Store, *, retry: bool) -> list[Job]:
    """Return the jobs that are to be done: with a plain model that failed, those above it too."""
    over = {"done"} if retry else {"done", "failed"}
    left = {job.key for job in jobs if states.get(job.key) not in over}
    alone = store.alone() if retry else set()
    return [job for job in jobs if job.key in left or (job.plain in left and job.key in alone)]


def _planned(
    jobs: Sequence[Job],
    left: Sequence[Job],
    states: dict[str, str],
    seconds: dict[str, float],
    options: SweepOptions,
) -> Planned:
    exports = {job.exported.key for job in left}
    casts = {file_of(job) for job in left if job.cast is not None}
    engines = [
        (file_of(job), job.place.device.compute_capability)
        for job in left
        if job.place.device is not None and job.place.by == "tensorrt"
    ]
    cpus = [job for job in left if job.place.how == "device" and job.place.by != "tensorrt"]
    measured = [job for job in left if job.place.how != "device"]
    # What was found so far is the mean of those that were built, and of those that share them.
    plans = engines if "plan" in seconds else set(engines)
    counts = {"export": len(exports), "cast": len(casts), "plan": len(plans), "predict": len(cpus)}
    known = _GUESSES | seconds
    wide = sum(known[stage] * count for stage, count in counts.items())
    alone = known["measure"] * len(measured)
    counts["measure"] = len(measured)
    over = {job.key for job in jobs} - {job.key for job in left}
    return Planned(
        jobs=tuple(jobs),
        done=sum(states.get(key) == "done" for key in over),
        failed=sum(states.get(key) == "failed" for key in over),
        exports=len(exports),
        measured=len(measured),
        seconds=wide / (options.workers or cores()) + alone,
        is_guess=any(count and stage not in seconds for stage, count in counts.items()),
    )


class _Sweep:
    """A sweep that goes on."""

    def __init__(
        self,
        store: Store,
        jobs: Iterable[Job],
        options: SweepOptions,
        profile: ProfileOptions,
        guests: Sequence[Guest],
        on_stage: Stage,
    ) -> None:
        self._store, self._options, self._profile = store, options, profile
        self._jobs = {job.key: job for job in jobs}
        self._left: set[str] = set()
        self._guests = guests
        self._gone: dict[str, EdgeattnError] = {}
        self._versions = installed()
        self._progress = _Progress(on_stage)
        self._folder = store.path.with_name(f"{store.path.name}.files")

    def run(self, left: Sequence[Job]) -> None:
        """Do jobs, those that are measured one model's after another's: their files are large.

        Raises:
            MissingError: A host has gone away; all else is done.
        """
        self._progress.begin(len(left))
        self._left = {job.key for job in left}
        by_model: dict[str, list[Job]] = defaultdict(list)
        for job in left:
            name = job.exported.request.source if job.place.how != "device" else ""
            by_model[name].append(job)
        predicted = by_model.pop("", [])
        with self._executor() as (executor, at_once, is_here):
            for its in by_model.values():
                measured = [job for job in its if job.place.name not in self._gone]
                plain = [self._jobs[job.plain] for job in measured if job.plain]
                files_for = list({job.key: job for job in (*plain, *measured)}.values())
                # What is predicted of the same exports is predicted at once.
                shared = {job.exported.key for job in files_for}
                beside = [job for job in predicted if job.exported.key in shared]
                predicted = [job for job in predicted if job.exported.key not in shared]
                self._make_folder()
                self._wide([*beside, *files_for], executor, at_once, is_here=is_here)
                self._measure(measured)
            self._wide(predicted, executor, at_once, is_here=is_here)
        for error in self._gone.values():
            again = "Then give the same command again: what was found is kept."
            raise MissingError(error.fact, mend=f"{error.mend} {again}".strip()) from error

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise InputError(
                f"{self._folder} is no folder, and files that are measured go there.",
                mend="Move it, or write elsewhere with -o.",
            ) from error

    @contextlib.contextmanager
    def _executor(self) -> Iterator[tuple[Executor, int, bool]]:
        """Yield what runs wide, how many calls it is handed at a time, and whether it is here."""
        if self._options.scheduler is not None:
            with connected(self._options.scheduler) as (executor, at_once):
                yield executor, at_once, False
            return
        count = self._options.workers or cores()
        with processes(count) as executor:
            yield executor, count, True

    def _wide(
        self, jobs: Sequence[Job], executor: Executor, at_once: int, *, is_here: bool
    ) -> None:
        """Export, build and predict. A plain model's jobs come before those that need them."""
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            groups[job.exported.key].append(job)
        wanted = {key: group for key, group in groups.items() if any(map(self._is_to_make, group))}
        plain = {job.key: key for key, group in wanted.items() for job in group}
        waiting: dict[str, list[str]] = defaultdict(list)
        ready: deque[Call[Made]] = deque()
        for key, group in wanted.items():
            needs = {plain[job.plain] for job in group if job.plain in plain}
            if needs:
                waiting[needs.pop()].append(key)
            else:
                ready.append(self._call(group, is_here=is_here))
        for call, made in outcomes(executor, ready, at_once=at_once, on_start=self._begin):
            work: Work = call.arguments[0]
            self._take(work, made)
            for key in waiting.pop(work.exported.key, ()):
                ready.append(self._call(wanted[key], is_here=is_here))

    def _is_to_make(self, job: Job) -> bool:
        return job.place.how == "device" or not (self._folder / file_of(job)).exists()

    def _call(self, jobs: Sequence[Job], *, is_here: bool) -> Call[Made]:
        exported = jobs[0].exported
        bases = {job.plain: self._store.basis(job.plain) for job in jobs if job.plain}
        work = Work(
            exported=exported,
            jobs=tuple(jobs),
            bases={key: one for key, one in bases.items() if one is not None},
            profile=self._profile,
            folder=self._folder if is_here else None,
            versions=self._versions,
        )
        return Call(exported.label, make, (work,))

    def _begin(self, call: Call[Made]) -> None:
        work: Work = call.arguments[0]
        self._store.begin([job.key for job in work.jobs if job.place.how == "device"])

    def _take(self, work: Work, made: Made | Exception) -> None:
        """Write what came of an export.

        Raises:
            DiskError: There is no space left.
            WorkerError: A worker is not as it must be.
        """
        if isinstance(made, DiskError | WorkerError):
            raise made
        if isinstance(made, Exception):  # its process died
            fact, mend = explained(made)
            found = [Outcome(key=job.key, fact=fact, mend=mend) for job in work.jobs]
        else:
            found = list(made.outcomes)
            keep(self._folder, made.sent)
            for stage, seconds in made.seconds.items():
                self._store.spent(stage, seconds)
        found = [one for one in found if one.key in self._left]
        self._store.finish(found)
        self._progress.done(len(found), work.exported.label)

    def _measure(self, jobs: Sequence[Job]) -> None:
        """Measure jobs whose files are here: on hosts side by side, then on this machine."""
        states = self._store.states()
        left = [job for job in jobs if states[job.key] != "failed"]

        def lane(guest: Guest) -> None:
            for job in left:
                if job.place.name == str(guest.host.address):
                    self._measured(job, guest)

        def end() -> None:
            for guest in self._guests:
                guest.host.close()

        if self._guests:
            self._let_go(side_by_side(lane, self._guests, end))
        for job in left:
            if job.place.how == "here":
                self._measured(job, None)
        self._clear_folder()

    def _let_go(self, faults: Iterable[EdgeattnError | None]) -> None:
        """Remember which hosts have gone away.

        Raises:
            DiskError: There is no space left here.
        """
        for guest, fault in zip(self._guests, faults, strict=True):
            if isinstance(fault, DiskError):
                raise fault
            if fault is not None:
                self._gone[str(guest.host.address)] = fault

    def _clear_folder(self) -> None:
        for path in self._folder.iterdir():
            if _FOLDER.fullmatch(path.name):
                shutil.rmtree(path)
        with contextlib.suppress(OSError):  # something else is there
            self._folder.rmdir()

    def _measured(self, job: Job, guest: Guest | None) -> None:
        """Measure a model in rounds with the plain one.

        Raises:
            DiskError: There is no space left.
            MissingError: The host has gone away, is somebody else's, or has no space.
        """
        began, gone = time.perf_counter(), None
        self._progress.tell(job.label)
        self._store.begin([job.key])
        try:
            outcome = self._run(job, guest)
        except (BusyError, FullError):
            raise  # nothing was tried: it waits
        except Exception as error:  # noqa: BLE001  # one model's fault, not the sweep's
            signals.check()  # but for what an interrupt broke off
            gone = error if isinstance(error, LostError) else None
            fact, mend = explained(error)
            outcome = Outcome(key=job.key, fact=fact, mend=mend)
        self._store.finish([outcome])
        self._progress.done(1, job.label)
        if gone is not None:
            raise gone
        self._store.spent("measure", [time.perf_counter() - began])

    def _run(self, job: Job, guest: Guest | None) -> Outcome:
        items = [self._item(one) for one in filter(None, [self._jobs.get(job.plain or ""), job])]
        items = [one for one in items if one.path.exists()]
        options = replace(self._profile, runtime=job.place.runtime, marginal=False)
        if guest is None:
            found = profile(items, options)
        else:
            found = profile_on([Lane(guest=guest, items=items)], options).found
        row = found[-1].row
        above = row.difference if len(items) > 1 else None
        return Outcome(key=job.key, row=row_of(job, row.trace, above))

    def _item(self, job: Job) -> Item:
        precision = "" if job.cast is not None else job.precision
        return Item(path=self._folder / file_of(job), name=job.exported.label, precision=precision)


class _Progress:
    """Tells how many jobs are done, and how long the others will take."""

    def __init__(self, on_stage: Stage) -> None:
        self._on_stage, self._total, self._done = on_stage, 0, 0
        self._began = time.perf_counter()

    def begin(self, total: int) -> None:
        self._total = total
        self._began = time.perf_counter()
        self._on_stage(f"job 0/{total}")

    def done(self, count: int, label: str) -> None:
        self._done += count
        self.tell(label)

    def tell(self, label: str) -> None:
        spent_s = time.perf_counter() - self._began
        left = ""
        if self._done:
            left = f", {in_words(spent_s / self._done * (self._total - self._done))} left"
        self._on_stage(f"job {self._done}/{self._total}{left}: {label}")


def in_words(seconds: float) -> str:
    """Return a time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
