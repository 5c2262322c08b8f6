"""Checks from its manifest whether an engine runs on this machine, before it is loaded.

A library that is given an engine of another version or GPU fails with its own message, or crashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import numbers
from edgeattn.engine.gpu import Gpu, local_gpu
from edgeattn.engine.libraries import TITLES, Capability, Library, check_runtime, dotted, load
from edgeattn.records.engine import EngineManifest, read_manifest

#: The major versions between which a version-compatible engine goes, besides within its own.
_MAJOR_STEPS: Final = frozenset({(8, 10), (10, 11)})
_AMPERE: Final = (8, 0)


def check_engine(path: Path) -> tuple[EngineManifest, Library]:
    """Refuse an engine that does not run here, as far as is known without running it.

    Returns:
        Its manifest, and the library that it was built with.

    Raises:
        InputError: There is no manifest that belongs to it, or it is a plan.
        MissingError: The library, the version, or the GPU that it was built for is not here.
    """
    manifest = read_manifest(path)
    check_belongs(path, manifest)
    runtime = check_runtime(manifest.runtime)
    try:
        library = load(runtime)
    except MissingError as error:
        if manifest.machine is None:
            raise
        mend = f"It was built on {manifest.machine.title}: run it there, by --on [USER@]HOST"
        raise MissingError(error.fact, mend=mend) from error
    check_version(path, manifest, library)
    check_gpu(path, manifest, local_gpu())
    return manifest, library


def check_belongs(path: Path, manifest: EngineManifest) -> None:
    """Refuse an engine that its manifest does not describe, and one that is only a plan.

    Raises:
        InputError: Says which.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if files.sha256(path) != manifest.sha256:
        raise InputError(
            f"The manifest {manifest.manifest} does not belong to {path}: it describes a file of"
            " another SHA-256.",
            mend="Build the engine again, or put the manifest beside it that was written with it.",
        )
    if manifest.not_for is not None:
        raise InputError(
            f"{path} is a plan, for profiling only: it stands for {manifest.not_for}, and does not"
            " run there.",
            mend="Build the engine on the device itself.",
        )


def check_version(path: Path, manifest: EngineManifest, library: Library) -> None:
    """Refuse an engine that the library cannot read, and a library that is too old to run any.

    Raises:
        MissingError: Names both versions.
    """
    if not hasattr(library.module.IExecutionContext, "set_tensor_address"):
        raise MissingError(
            f"{library.title} is too old: what engines are run with here came with TensorRT 8.5.",
            mend=f"Run it with trtexec --loadEngine={path}",
        )
    if goes_with(manifest, library.version):
        return
    raise MissingError(
        f"{path} was built with {TITLES[library.runtime]} {manifest.runtime_version}, and"
        f" {library.title} is here.",
        mend=f"Build it again with {library.version}, or install {manifest.runtime_version}.",
    )


def check_gpu(path: Path, manifest: EngineManifest, gpu: Gpu | None) -> None:
    """Refuse an engine for another GPU than the one that is here.

    Raises:
        MissingError: There is no GPU, or it has another compute capability.
    """
    if gpu is None:
        raise MissingError(
            f"{path} runs on a GPU of compute capability {manifest.compute_capability}, and no"
            " NVIDIA GPU is here.",
            mend="Run it on the device that it was built for: add --on [USER@]HOST",
        )
    if goes_on(manifest, gpu.compute_capability):
        return
    have = dotted(gpu.compute_capability)
    raise MissingError(
        f"{path} was built for compute capability {manifest.compute_capability}; the {gpu.name}"
        f" that is here has {have}.",
        mend="Build it for this one: edgeattn build MODEL.onnx",
    )


def goes_with(manifest: EngineManifest, version: str) -> bool:
    """Return whether a version of its library reads an engine."""
    built = manifest.runtime_version
    is_compatible = bool(manifest.options.get("version_compatible"))
    return built == version or (is_compatible and _goes_to(built, version))


def goes_on(manifest: EngineManifest, capability: Capability) -> bool:
    """Return whether an engine runs on a GPU of a compute capability."""
    is_portable = bool(manifest.options.get("hardware_compatible"))
    is_same = dotted(capability) == manifest.compute_capability
    return is_same or (is_portable and capability >= _AMPERE)


def _goes_to(built: str, here: str) -> bool:
    """Return whether a version-compatible engine of one version runs in another."""
    older, newer = (numbers(version) for version in (built, here))
    within = older[:1] == newer[:1] and older <= newer
    return within or (older[0], newer[0]) in _MAJOR_STEPS
