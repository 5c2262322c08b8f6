"""Evaluate: how often classifiers are right on their user's images, all on the same."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.parity import source_of
from edgeattn.options.evaluate import EvaluateOptions
from edgeattn.precision.accuracy import Classifier, Subject, judged, subject_of
from edgeattn.precision.labels import Labelled, names_in, read_labelled
from edgeattn.records.accuracy import Accuracy
from edgeattn.records.engine import read_manifest
from edgeattn.records.pixels import Pixels
from edgeattn.runtimes.runner import usable_cores
from edgeattn.workflows.classifiers import ENGINE, check_runtime, loading

OnStage = Callable[[str], None]
_CHANCE: Final = (
    "{} is hardly better than chance: its photos may be brought to it otherwise (--mean, --resize),"
    " or its classes be in another order (--classes)."
)


def evaluate(
    paths: Sequence[Path],
    options: EvaluateOptions,
    *,
    names: Sequence[str] = (),
    on_stage: OnStage = lambda _: None,
) -> Accuracy:
    """Find how often models are right.

    Args:
        paths: ONNX files and engines; the first is what others are told against.
        options: On what, and how.
        names: What the models are called; their paths by default.
        on_stage: Called with what is done, and how far it is.

    Raises:
        InputError: There are no such images, or a model does not take them, or not those classes.
        MissingError: What is to run a model is not there.
    """
    if options.data is None:
        raise InputError("No data are given.", mend="Add --data FOLDER, with one for each class.")
    for path in paths:
        files.check_is_file(path)
    check_runtime(paths, options)
    subjects = _subjects(paths, names or list(map(str, paths)), options)
    with contextlib.ExitStack() as stack:
        loader = stack.enter_context(loading(paths, options, on_stage))
        classifiers = []
        for path, subject in zip(paths, subjects, strict=True):
            on_stage(f"load {subject.name}")
            classifiers.append(loader.load(path, subject))
        on_stage("find the images")
        images = _images(classifiers, options)
        found = judged(
            classifiers,
            images,
            threads=options.threads or usable_cores(),
            skip_broken=options.skip_broken,
            on_progress=on_stage,
        )
    notes = [*found.notes, *loader.notes, *_notes(subjects)]
    if found.models[0].top1_interval[0] <= 100 / found.classes:
        notes.append(_CHANCE.format(subjects[0].name))
    return found.model_copy(update={"notes": tuple(notes)})


def _subjects(
    paths: Sequence[Path], names: Sequence[str], options: EvaluateOptions
) -> list[Subject]:
    """Return what is known of each; where nothing says how it takes photos, it does as another."""
    found = [_subject(path, name, options) for path, name in zip(paths, names, strict=True)]
    said = next((one.view.pixels for one in found if one.view.pixels.said_by), None)
    return [
        one
        if one.view.pixels.said_by or said is None
        else _subject(path, one.name, options, else_as=said)
        for path, one in zip(paths, found, strict=True)
    ]


def _subject(
    path: Path, name: str, options: EvaluateOptions, *, else_as: Pixels | None = None
) -> Subject:
    """Return what is known of a file; of an engine, by the ONNX file that it was built from."""
    onnx, batch = path, options.batch
    if path.suffix == ENGINE:
        manifest = read_manifest(path)
        onnx = source_of(path, manifest)
        sizes = {one.point: next(iter(one.shapes.values()))[0] for one in manifest.points}
        batch = batch or sizes.get("opt")
    return subject_of(onnx, options.pixels, name=name, batch=batch, else_as=else_as)


def _images(classifiers: Sequence[Classifier], options: EvaluateOptions) -> Labelled:
    """Return the images that all are judged by."""
    first = classifiers[0]
    for one in classifiers[1:]:
        if one.classes != first.classes:
            raise InputError(
                f"{one.subject.name} has {one.classes} classes, and {first.subject.name}"
                f" {first.classes}.",
                mend="Evaluate models of the same classes together.",
            )
    names = names_in(options.classes) if options.classes else ()
    assert options.data is not None
    images = read_labelled(options.data, first.classes, names, hints=first.subject.names)
    if not options.skip_broken:
        images.check_are_there()
    count = len(images.paths)
    if options.samples is None or options.samples >= count:
        return images
    rows = np.sort(
        np.random.default_rng(options.seed).choice(count, options.samples, replace=False)
    )
    return dataclasses.replace(
        images,
        description=f"{images.description}: {len(rows)} of {count} images, seed {options.seed}",
        paths=tuple(images.paths[row] for row in rows),
        labels=tuple(images.labels[row] for row in rows),
    )


def _notes(subjects: Sequence[Subject]) -> list[str]:
    """Say what was done to photos: once, where it is the same for all."""
    views = {
        dataclasses.replace(one.view, pixels=dataclasses.replace(one.view.pixels, said_by=""))
        for one in subjects
    }
    if len(views) == 1:
        return list(subjects[0].notes)
    return [f"{one.name}: {note}" for one in subjects for note in one.notes]
