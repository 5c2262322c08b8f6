"""Engines in a host's room: built there of ONNX files, or sent as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine import quantised
from edgeattn.engine.layer_log import memory_bytes
from edgeattn.engine.log import Log
from edgeattn.engine.shapes import written
from edgeattn.graph.precision import precisions_of
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import save
from edgeattn.hosts.engines import Engines, check_engine
from edgeattn.hosts.machine import gpu_of
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Visit
from edgeattn.options.build import EngineOptions, Shapes
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.sources.engines.source import read_engine
from edgeattn.profiling.sources.memory import of_engine
from edgeattn.profiling.sources.model import Known, Subject, read_subject
from edgeattn.records.engine import EngineManifest, manifest_of, read_manifest
from edgeattn.records.trace import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEngine:
    """An engine in the room.

    Attributes:
        file: What it is called there.
        of: What it was built from, or is, for errors.
        shapes: The shape of each input that is open.
        subject: The ONNX model that it was built from; None if it is not at hand.
        known: What is known of an engine that was given; None of one that was built here.
        notes: What a reader should know.
        dla_core: The DLA core that it runs on; None for the GPU.
        memory: What its library says that it takes; None if that is not known.
    """

    file: str
    of: str
    shapes: Shapes
    subject: Subject | None
    known: Known | None = None
    notes: tuple[str, ...] = ()
    dla_core: int | None = None
    memory: Memory | None = None

    @property
    def batch(self) -> int | None:
        """The first size of the first input that it is run at; None if all have their own."""
        return next((shape[0] for shape in self.shapes.values() if shape), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where engines are measured, and how.

    Attributes:
        visit: The host.
        trtexec: trtexec there.
        options: How they are run.
        folder: Where files are written here meanwhile.
    """

    visit: Visit
    trtexec: Trtexec
    options: ProfileOptions
    folder: Path

    def engine(self, path: Path, name: str) -> HostEngine:
        """Build an engine of an ONNX file, or send one that is given.

        Raises:
            InputError: It cannot be read, does not fit, or trtexec does not take it.
            MissingError: Memory or space there ran out.
        """
        file = f"{name}.engine"
        return self._built(path, file) if path.suffix == ".onnx" else self._sent(path, file)

    def _built(self, path: Path, file: str) -> HostEngine:
        options = self.options
        subject = read_subject(
            path, batch=options.batch, shapes=options.shapes, site_globs=options.site_globs
        )
        rewritten = quantised.rewrite(subject.model)
        source = read(path)
        if rewritten is not None or not _is_buildable(source, subject):
            own = self.folder / Path(file).stem / path.name
            own.parent.mkdir(exist_ok=True)
            save((subject.model if rewritten is None else rewritten.model).clone(), own)
            source = read(own)
        precisions = precisions_of(source.model)
        try:
            there = Engines(room=self.visit.room, trtexec=self.trtexec)
            # Engines that are compared share the times of tactics: the same work is done the same.
            shared = EngineOptions(timing_cache=self.folder / "tactics.cache")
            log = Log()
            _, notes = there.build(source, file, shared, precisions=precisions, log=log)
        except InputError as error:
            raise self._with_opset(error, source.opset) from error
        return HostEngine(
            file=file,
            of=path.name,
            shapes={},
            subject=subject,
            notes=(
                *notes,
                *(() if rewritten is None else rewritten.notes),
                *_permissions(self.trtexec, precisions),
            ),
            memory=of_engine(*memory_bytes("\n".join(log.starting_with("Total ")))[::-1]),
        )

    def _sent(self, path: Path, file: str) -> HostEngine:
        manifest = read_manifest(path) if _has_manifest(path) else None
        if manifest is None:
            files.check_is_file(path)
            if self.options.shapes or self.options.batch != 1:
                raise InputError(
                    f"{path} has no manifest, which says what its inputs are called: no shape can"
                    " be given to it.",
                    mend="edgeattn build --on writes one; or give the ONNX file.",
                )
            self.visit.room.put(path, file)
            note = f"{path.name} has no manifest: an open dimension is what trtexec takes it for."
            known = Known(nodes=(), sites=(), params=None, sha256={str(path): files.sha256(path)})
            return HostEngine(
                file=file, of=path.name, shapes={}, subject=None, known=known, notes=(note,)
            )
        engine = path.with_name(manifest.engine)
        check_engine(engine, self.visit.facts, self.trtexec)
        source, shapes = read_engine(path, self.options), _shapes(engine, manifest, self.options)
        told = ", ".join(f"{name}:{written(shape)}" for name, shape in shapes.items())
        self.visit.room.put(engine, file)
        return HostEngine(
            file=file,
            of=engine.name,
            shapes=shapes,
            notes=(f"It was run at {told}.",) if shapes else (),
            subject=source.subject,
            known=source,
            dla_core=core if isinstance(core := manifest.options.get("dla_core"), int) else None,
            memory=of_engine(manifest.weights_bytes, manifest.activation_bytes),
        )

    def _with_opset(self, error: InputError, opset: int) -> InputError:
        """Return an error of a build that says so where the file's opset is beyond the host's."""
        device = gpu_of(self.visit.facts)
        if device is None or device.opset is None or opset <= device.opset:
            return error
        mend = (
            f"{self.trtexec.title} there takes opset {device.opset} at most, and the file has"
            f" {opset}: edgeattn optimize IN.onnx -o OUT.onnx --opset {device.opset}"
        )
        return type(error)(error.fact, mend="\n".join(filter(None, [mend, error.mend])))


def _is_buildable(source: Source, subject: Subject) -> bool:
    """Return whether an ONNX file can be sent as it is: named, and of fixed shapes."""
    return subject.is_as_written and all(
        value.shape is not None and value.shape.is_static() for value in source.model.graph.inputs
    )


def _has_manifest(path: Path) -> bool:
    return path.suffix == ".json" or manifest_of(path).exists()


def _permissions(trtexec: Trtexec, precisions: frozenset[str]) -> tuple[str, ...]:
    if trtexec.is_strongly_typed or not precisions:
        return ()
    note = (
        f"{trtexec.title} takes a precision as a permission: what the file has in"
        f" {' and '.join(sorted(precisions))} it may compute in fp32, and the other way round."
    )
    return (note,)


def _shapes(path: Path, manifest: EngineManifest, options: ProfileOptions) -> Shapes:
    """Return the shapes of an engine's open inputs that it is run at.

    Raises:
        InputError: As many shapes as it has inputs were not given.
    """
    points = manifest.points
    tuned: Mapping[str, tuple[int, ...]] = next(
        (one.shapes for one in points if (one.profile, one.point) == (0, "opt")), {}
    )
    if options.shapes:
        # TensorRT 8.0 tells no bindings: what is known is what is open.
        names = [one.name for one in manifest.layers.bindings if one.is_input] or list(tuned)
        if len(names) != len(options.shapes):
            raise InputError(
                f"{path} takes {len(names)} inputs ({', '.join(names)}), and --shape is given"
                f" {len(options.shapes)}."
            )
        given = dict(zip(names, map(tuple, options.shapes), strict=True))
        return {name: given.get(name, own) for name, own in tuned.items()}
    if options.batch != 1:
        return {name: (options.batch, *own[1:]) for name, own in tuned.items()}
    return tuned
