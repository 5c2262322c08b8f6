"""What there is to know of an engine, or of an ONNX file's plan, before its times are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.inspect import inspect
from edgeattn.engine.libraries import check_runtime
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.sources.engines.nodes import GUESSED, guessed_nodes, guessed_sites
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.profiling.sources.model import Subject, manifest_sites, read_subject
from edgeattn.records.engine import EngineManifest
from edgeattn.records.trace import Node, Site

ENGINES: Final = (".engine", ".plan", ".trt")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSource:
    """An engine, or a plan.

    Attributes:
        plan: Its kernels.
        device: The device that its manifest names; None where it names none.
        subject: The ONNX file that it was built from; None where that is not here.
        nodes: The ONNX nodes, and what they cost.
        sites: Where attention sits.
        params: Parameters of the model; None where they are not known.
        sha256: The hash of each file that it rests on.
        notes: What a reader should know of all this.
    """

    plan: Plan
    device: str | None
    subject: Subject | None
    nodes: tuple[Node, ...]
    sites: tuple[Site, ...]
    params: int | None
    sha256: dict[str, str]
    notes: tuple[str, ...]

    @property
    def macs(self) -> dict[str, int] | None:
        """Multiply-accumulates of each node; None where they are guessed from the kernels."""
        return None if self.subject is None else {node.name: node.macs for node in self.nodes}


def of_subject(subject: Subject, plan: Plan) -> EngineSource:
    """Put an ONNX file and its plan together."""
    found = [f"Sites were found {subject.sites_by}."] if subject.sites else []
    return EngineSource(
        plan=plan,
        device=None,
        subject=subject,
        nodes=subject.nodes,
        sites=subject.sites,
        params=subject.params,
        sha256=subject.sha256,
        notes=(*plan.notes, *found),
    )


def read_engine(path: Path, options: ProfileOptions) -> EngineSource:
    """Read an engine from its manifest.

    Args:
        path: The engine, or its manifest.
        options: How it is profiled: the sites that are named.

    Raises:
        InputError: The manifest does not belong to it, or cannot be read.
        MissingError: There is no manifest, and the engine cannot be asked itself.
    """
    found = inspect(path)
    if found.faults:
        raise InputError(found.faults[0], mend="Build it again: edgeattn build MODEL.onnx")
    manifest = found.manifest
    if manifest is None:
        raise InputError(
            f"{path} is no manifest of an engine.",
            mend="Files of trtexec's go to --layers, and --profile.",
        )
    home = path.resolve().parent
    subject = _subject(manifest, home, options)
    information = manifest.layers.of_profile(0)
    plan = Plan(
        information=information,
        runtime=check_runtime(manifest.runtime),
        version=manifest.runtime_version,
        compute_capability=_capability(manifest.compute_capability),
    )
    sha256 = {str(path): manifest.sha256}
    device = manifest.device or manifest.not_for
    if subject is not None:
        known = of_subject(subject, plan)
        return EngineSource(
            plan=plan,
            device=device,
            subject=subject,
            nodes=known.nodes,
            sites=known.sites,
            params=known.params,
            sha256=sha256 | known.sha256,
            notes=(*manifest.notes, *known.notes),
        )
    nodes = guessed_nodes(information)
    said = manifest_sites(home / manifest.onnx)
    sites, params = (guessed_sites(nodes), None) if said is None else (tuple(said[0]), said[1])
    return EngineSource(
        plan=plan,
        device=device,
        subject=None,
        nodes=nodes,
        sites=sites,
        params=params,
        sha256=sha256,
        notes=(*manifest.notes, GUESSED),
    )


def _subject(manifest: EngineManifest, home: Path, options: ProfileOptions) -> Subject | None:
    """Read the ONNX file that an engine was built from, if it is here and what it was."""
    path = next((p for p in (home / manifest.onnx, Path(manifest.onnx)) if p.is_file()), None)
    if path is None or files.sha256(path) not in manifest.sources.values():
        return None
    shapes = next(
        (point.shapes for point in manifest.points if (point.profile, point.point) == (0, "opt")),
        {},
    )
    return read_subject(path, shapes=tuple(shapes.values()), site_globs=options.site_globs)


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
