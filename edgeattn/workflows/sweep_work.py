"""What one process of a sweep does: one export, and all that is made and predicted of it.

It may run on another machine, which has edgeattn in the same versions and the user's files.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import EdgeattnError, InputError, in_one_line
from edgeattn.base.versions import installed
from edgeattn.engine.target import choose
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.predict.cpu import traces as cpu
from edgeattn.profiling.predict.difference import difference
from edgeattn.profiling.predict.gpu import traces as gpu
from edgeattn.profiling.predict.gpu.predict import How
from edgeattn.profiling.samples import spread
from edgeattn.profiling.sources.engines.plans import Plan, build_plan
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.profiling.sources.model import Subject, read_subject
from edgeattn.records.store import Basis, Outcome
from edgeattn.records.sweep import SiteFigures, SweepRow
from edgeattn.records.trace import Difference, Kernel, Trace
from edgeattn.workflows.artifact import files_of
from edgeattn.workflows.cast import cast
from edgeattn.workflows.export import export
from edgeattn.workflows.forms import Forming
from edgeattn.workflows.sweep_plan import Exported, Job

# Manifests know it by this name.
_MODEL: Final = "model.onnx"


class DiskError(InputError):
    """There is no space left: what is not done yet cannot be."""


class WorkerError(InputError):
    """A worker is not as it must be: what others do would not be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process is given.

    Attributes:
        exported: The model.
        jobs: Its jobs.
        bases: What plain models take, by the keys of their jobs.
        profile: How models are profiled.
        folder: Where files are put that are to be measured; None for them to be sent back.
        versions: The versions that are to be here.
    """

    exported: Exported
    jobs: tuple[Job, ...]
    bases: Mapping[str, Basis]
    profile: ProfileOptions
    folder: Path | None
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came of it.

    Attributes:
        outcomes: Of the jobs that were predicted, or failed.
        seconds: What the export, and all that was made of it, took each time, by stage.
        sent: The files that are to be measured, by where they are kept, if they are sent back.
    """

    outcomes: tuple[Outcome, ...]
    seconds: Mapping[str, Sequence[float]]
    sent: Mapping[str, bytes] = field(default_factory=dict)


def file_of(job: Job) -> str:
    """Return where the file is kept that a job measures, in the folder of such files."""
    cast_by = f"-{job.precision}-{job.place.by}" if job.cast is not None else ""
    return f"{job.exported.key[:32]}{cast_by}/{_MODEL}"


def make(work: Work) -> Made:
    """Export a model, cast it, and predict what it takes at each place that is predicted for.

    Raises:
        DiskError: There is no space left.
        WorkerError: This process has other versions, or other files of the user's.
    """
    check_versions(work.versions)
    _check_files(work.exported.files)
    run = _Run(work)
    with files.scratch() as folder:
        path = folder / _MODEL
        forming = Forming(work.exported.options) if work.exported.options.lower else None
        with run.trying("export", work.jobs):
            export(work.exported.request, work.exported.options, path, forming=forming)
        if path.exists():
            run.take(path, forming.notes if forming else (), folder)
    return Made(outcomes=tuple(run.outcomes.values()), seconds=run.seconds, sent=run.sent)


def keep(folder: Path, sent: Mapping[str, bytes]) -> None:
    """Write files where they are measured; the last of each is the model."""
    for name, content in sent.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        files.write(path, content)


def check_versions(wanted: Mapping[str, str]) -> None:
    """Refuse to work beside others that would find something else.

    Raises:
        WorkerError: Something is installed here in another version.
    """
    if faults := versions_apart(wanted, installed()):
        raise WorkerError(
            f"The worker on {platform.node()} has {'; '.join(faults)}: results would differ.",
            mend="Install the same versions there.",
        )


def versions_apart(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return in words which versions differ from those that are wanted."""
    return [
        f"{name} {found.get(name, 'not installed')} for {wanted.get(name, 'none')} here"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]


def row_of(job: Job, trace: Trace, above: Difference | None) -> SweepRow:
    """Return what a job found.

    Args:
        job: The job.
        trace: The trace of its model.
        above: What it takes above the plain model; None of that itself.
    """
    cost = attribute(trace)
    options, one = job.exported.options, job.exported.attention
    return SweepRow(
        key=job.key,
        model=job.exported.request.source,
        attention=one.label if one else "",
        at=(one.at or "") if one else "",
        opset=options.opset,
        precision=job.precision,
        target=options.target if options.lower else "",
        runtime=job.place.runtime,
        device=trace.machine.host or job.place.name or trace.machine.device,
        title=trace.machine.title,
        power_mode=trace.machine.power_mode,
        options=job.options,
        evidence=trace.evidence,
        latency_ms=trace.latency_ms.p50,
        latency_interval_ms=spread(trace),
        above_ms=None if above is None else above.p50_ms,
        above_percent=None if above is None else above.percent,
        above_interval_percent=None if above is None else above.bounds,
        params=trace.params,
        macs=cost.whole.macs,
        element_ops=cost.whole.element_ops,
        traffic_bytes=cost.whole.traffic_bytes,
        kernels=len(trace.kernels),
        attention_us=None if cost.attention is None else cost.attention.time_us,
        sites=tuple(
            SiteFigures(
                path=each.site.path,
                attention=each.site.attention,
                shape=each.site.shape,
                time_us=each.cost.time_us,
                macs_us=each.cost.flops_predicted_us,
                traffic_bytes=each.cost.traffic_bytes,
                launches=each.cost.launches,
            )
            for each in cost.sites
        ),
        energy_mj=None if trace.power is None else trace.power.energy_mj,
        weights_bytes=trace.weights_bytes,
        activations_bytes=trace.activations_bytes,
        versions=trace.versions,
        notes=trace.notes,
    )


class _Run:
    """One export's jobs, and what came of them so far."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.outcomes: dict[str, Outcome] = {}
        self.seconds: dict[str, list[float]] = {}
        self.sent: dict[str, bytes] = {}

    @contextmanager
    def trying(self, stage: str, jobs: Sequence[Job]) -> Iterator[None]:
        """Try a stage: if it fails, so do the jobs that it is for.

        Raises:
            DiskError: There is no space left.
        """
        began = time.perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001  # a fault of ours is one model's, not the sweep's
            fact, mend = explained(error)
            for job in jobs:
                self.outcomes[job.key] = Outcome(key=job.key, fact=fact, mend=mend)
        else:
            self.seconds.setdefault(stage, []).append(time.perf_counter() - began)

    def take(self, path: Path, notes: Sequence[str], folder: Path) -> None:
        """Cast the exported file as its jobs want, and predict."""
        for number, (name, group) in enumerate(
            groupby(sorted(self._work.jobs, key=file_of), key=file_of)
        ):
            jobs = list(group)
            cast_to, taken = jobs[0].cast, path
            if cast_to is not None:
                taken = folder / f"cast-{number}" / _MODEL
                taken.parent.mkdir()
                with self.trying("cast", jobs):
                    cast(path, cast_to, taken)
                if not taken.exists():
                    continue
            measured = [job for job in jobs if job.place.how != "device"]
            if measured:
                with self.trying("keep", measured):
                    self._keep(taken, name)
            item = Item(path=taken, name=self._work.exported.label, notes=tuple(notes))
            self._predict(item, [job for job in jobs if job.place.how == "device"], folder)
            if cast_to is not None:
                shutil.rmtree(taken.parent)

    def _keep(self, path: Path, name: str) -> None:
        """Put a file where it is measured, all that belongs to it before; or have them sent."""
        for one in reversed(files_of(path)):
            if one.exists():
                self.sent[str(Path(name).with_name(one.name))] = one.read_bytes()
        if self._work.folder is not None:
            keep(self._work.folder, self.sent)
            self.sent.clear()

    def _predict(self, item: Item, jobs: Sequence[Job], folder: Path) -> None:
        subject: Subject | None = None
        plans: dict[object, Plan] = {}
        for number, job in enumerate(jobs):
            stage = "predict" if job.place.by != "tensorrt" else "plan"
            with self.trying(stage, [job]):
                profile = self._work.profile
                subject = subject or read_subject(
                    item.path, batch=profile.batch, shapes=profile.shapes
                )
                home = folder / f"{item.path.parent.name}-{number}"
                home.mkdir()
                self.outcomes[job.key] = self._predicted(job, item, subject, plans, home)

    def _predicted(
        self, job: Job, item: Item, subject: Subject, plans: dict[object, Plan], folder: Path
    ) -> Outcome:
        device = job.place.device
        assert device is not None
        point = device.at(job.place.power_mode)
        profile = self._work.profile
        if job.place.by != "tensorrt":
            options = replace(profile, marginal=False)
            found = cpu.predict(
                [item], [subject], device, point, options, folder, on_stage=lambda _: None
            )
        else:
            target = choose(device=device, capability=None, runtime="tensorrt-rtx", as_plan=True)
            built_for = target.compute_capability, target.library.version
            if built_for not in plans:
                plans[built_for] = build_plan(
                    subject.model, device, folder, timeout_s=profile.plan_timeout_s
                )
            source = EngineSource.of(subject, plans[built_for])
            how = How(
                runtime="tensorrt" if job.place.runtime == "tensorrt" else None,
                cuda_graph=profile.cuda_graph,
            )
            found = gpu.predict(
                [item],
                [source],
                device,
                point,
                folder,
                marginal=False,
                how=how,
                on_stage=lambda _: None,
            )
        trace = found[0].row.trace.model_copy(update={"versions": dict(self._work.versions)})
        above, basis = None, self._work.bases.get(job.plain or "")
        if basis is not None:
            ms, shared = trace.latency_ms.p50, trace.shared_spread
            above = difference(trace.kernels, ms, basis.kernels, basis.latency_ms, shared)
        return Outcome(
            key=job.key,
            row=row_of(job, trace, above),
            basis=_basis(trace),
        )


def explained(error: Exception) -> tuple[str, str]:
    """Return why a job failed, and what to do about it.

    Raises:
        DiskError: There is no space left: that is no fault of the job's.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DiskError) or getattr(cause, "errno", None) in files.FULL:
            fact, mend = (error.fact, error.mend) if isinstance(error, EdgeattnError) else ("", "")
            raise DiskError(fact or in_one_line(error), mend=mend or "Free some space.") from error
        cause = cause.__cause__
    if isinstance(error, EdgeattnError):
        return error.fact, error.mend
    return f"A fault of edgeattn: {in_one_line(error)}", "Please report it to the authors."


def _check_files(wanted: Mapping[str, str]) -> None:
    for name, sha256 in wanted.items():
        path = Path(name)
        if not path.is_file() or files.sha256(path) != sha256:
            raise WorkerError(
                f"The worker on {platform.node()} has no file {name}, or another.",
                mend="Give all workers the folder under the same name, as by a shared file system.",
            )


def _basis(trace: Trace) -> Basis:
    """Return what a prediction's difference rests on."""
    kernels = tuple(
        Kernel(
            name="",
            op="",
            kind=one.kind,
            time_us=one.time_us,
            interval_us=one.interval_us,
            traffic_bytes=one.traffic_bytes,
            macs=one.macs,
            nodes=(),
            precision=one.precision,
            bound=one.bound,
        )
        for one in trace.kernels
    )
    return Basis(
        latency_ms=trace.latency_ms.p50, kernels=kernels, shared_spread=trace.shared_spread
    )
