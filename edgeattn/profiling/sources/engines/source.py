"""What there is to know of an engine, or of an ONNX file's plan, before its times are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.inspect import inspect
from edgeattn.engine.libraries import check_runtime
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.sources.engines.nodes import guessed
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.profiling.sources.model import Known, Subject, manifest_sites, read_subject
from edgeattn.records.engine import EngineManifest

ENGINES: Final = (".engine", ".plan", ".trt")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSource(Known):
    """An engine, or a plan.

    Attributes:
        plan: Its kernels.
        subject: The ONNX file that it was built from; None if that is not here.
    """

    plan: Plan
    subject: Subject | None

    @property
    def node_macs(self) -> dict[str, int] | None:
        """Multiply-accumulates of each node; None if they are guessed from the kernels."""
        return None if self.subject is None else self.macs

    @classmethod
    def of(
        cls,
        known: Known,
        plan: Plan,
        *,
        sha256: Mapping[str, str] = MappingProxyType({}),
        notes: Iterable[str] = (),
    ) -> Self:
        """Put what is known of a model and its plan together.

        Args:
            known: The ONNX file, or what the plan says of it.
            plan: The plan.
            sha256: The hash of each file that the plan is read from.
            notes: What a reader should know of the plan.
        """
        return cls(
            plan=plan,
            subject=known if isinstance(known, Subject) else None,
            nodes=known.nodes,
            sites=known.sites,
            params=known.params,
            lines=known.lines,
            sha256={**sha256, **known.sha256},
            notes=(*notes, *plan.notes, *known.notes),
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
    home = files.absolute(path).parent
    subject = _subject(manifest, home, options)
    information = manifest.layers.of_profile(0)
    plan = Plan(
        information=information,
        runtime=check_runtime(manifest.runtime),
        version=manifest.runtime_version,
        compute_capability=_capability(manifest.compute_capability),
        weights_bytes=manifest.weights_bytes,
        activations_bytes=manifest.activation_bytes,
    )
    known: Known = guessed(information) if subject is None else subject
    if subject is None:
        said, faults = manifest_sites(home / manifest.onnx)
        known = replace(known, notes=(*known.notes, *faults))
        if said is not None:
            known = replace(known, sites=said.sites, params=said.params, lines=said.lines)
    return EngineSource.of(known, plan, sha256={str(path): manifest.sha256}, notes=manifest.notes)


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
