"""How often classifiers are right on labelled images: all on the same, side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeattn.base.errors import InputError, first_line
from edgeattn.base.versions import version_of
from edgeattn.graph.marks import target_of
from edgeattn.graph.reading import as_read, facts_of, read
from edgeattn.graph.writing import describe
from edgeattn.options.photos import Photos
from edgeattn.parity.emulate import as_stored
from edgeattn.precision.labels import Labelled, names_of
from edgeattn.precision.pixels import choose
from edgeattn.precision.proportions import paired, wilson
from edgeattn.records.accuracy import Accuracy, ClassLoss, ModelAccuracy
from edgeattn.records.pixels import Pixels
from edgeattn.runtimes.inputs import View, read_photo, view_of
from edgeattn.runtimes.onnxruntime import limit_of, open_session
from edgeattn.runtimes.runner import from_pixels, rank_images, run_session, session_options

if TYPE_CHECKING:
    from edgeattn.records.manifest import Tensor

Images = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
#: For each image the class that is largest, and how many come before its label's: -1 for neither.
Ranks = Sequence[Sequence[int]]

# Images of one run, where the batch is open: fewer where they are large, since all threads run one.
_BATCH, _BATCH_PIXELS = 8, 8 * 224 * 224
# More classes than these say little; that the label is among the five largest of five, nothing.
_MOST_LOSSES, _TOP = 5, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What of a classifier is known before it is run.

    Attributes:
        name: The file, as it was given.
        view: How its input takes photos.
        input_name: Its input.
        output: The place of the output that has a number for each class.
        output_name: Its name.
        batch: Images of one run.
        names: What its classes are called; () if nobody says.
        notes: What was assumed of photos.
    """

    name: str
    view: View
    input_name: str
    output: int
    output_name: str
    batch: int
    names: tuple[str, ...]
    notes: tuple[str, ...]

    def zeros(self) -> Images:
        """Return images to try it with."""
        size = (self.batch, self.view.height, self.view.width, self.view.channels)
        return np.zeros(size, np.uint8)


class Classifier(Protocol):
    """A model that is loaded, wherever that is.

    Attributes:
        subject: What is known of it.
        classes: How many classes it has.
        runtime: What runs it, in words.
        chunk: How many images it is best given at once.
    """

    subject: Subject
    classes: int
    runtime: str
    chunk: int

    def rank(self, images: Images, labels: Ints) -> Ranks:
        """Run it on images, as `Subject.view` has them."""


class Batches:
    """A classifier that runs in batches, filled up where images end.

    Args:
        subject: What is known of it.
        run: Runs one batch; any number at once.
        runtime: What runs it, in words.

    Raises:
        InputError: It gives no number for each class.
    """

    def __init__(self, subject: Subject, run: Callable[[Array], Array], runtime: str) -> None:
        self.subject, self.runtime = subject, runtime
        self.chunk = -(-_BATCH // subject.batch) * subject.batch
        self._run = run
        self.classes = classes_of(
            subject, run(from_pixels(subject.zeros(), **subject.view.numbers())).shape
        )

    def rank(self, images: Images, labels: Ints) -> Ranks:
        """Run it on images; see `Classifier`."""
        return rank_images(
            self._run, images, labels, self.subject.batch, self.subject.view.numbers()
        )


def subject_of(
    path: Path,
    asked: Photos | None,
    *,
    name: str = "",
    batch: int | None = None,
    else_as: Pixels | None = None,
) -> Subject:
    """Return what an ONNX file says of the classifier in it.

    Args:
        path: The file.
        asked: How photos are brought to it, as far as the options say it.
        name: What it is called; its path by default.
        batch: Images of a run, where the batch is open.
        else_as: How photos are brought to it where nothing says it.

    Raises:
        InputError: It takes no images, or gives no number for each class.
    """
    found = read(path)
    name, taken = name or str(path), describe(found.model.graph.inputs)
    if len(taken) != 1:
        raise InputError(
            f"{name} takes {len(taken)} inputs, and a classifier of images takes one.",
            mend="What takes others is run with its own evaluation.",
        )
    (value,) = taken
    chosen = choose(asked, path=found.path, model=found.model)
    if not chosen.pixels.said_by and else_as is not None:
        chosen = choose(asked, own=else_as)
    view = view_of(value.shape, chosen.pixels, value.dtype)
    if value.dtype not in ("float32", "float16", "uint8", "float64"):
        raise InputError(f"{name} takes {value.dtype}, which photos are not.")
    fixed = value.shape[0] if isinstance(value.shape[0], int) else None
    if batch and fixed and batch != fixed:
        raise InputError(
            f"{name} takes batches of {fixed}, and --batch {batch} is asked.",
            mend="Leave it out, or export the model with --dynamic-batch.",
        )
    outputs = describe(found.model.graph.outputs)
    output = _output_of(name, outputs)
    return Subject(
        name=name,
        view=view,
        input_name=value.name,
        output=output,
        output_name=outputs[output].name,
        batch=fixed or batch or min(max(_BATCH_PIXELS // (view.height * view.width), 1), _BATCH),
        names=names_of(found.model.metadata_props),
        notes=chosen.notes(value),
    )


def _output_of(name: str, outputs: Sequence[Tensor]) -> int:
    """Return the place of the output that has a number for each class.

    Raises:
        InputError: There is none.
    """
    for place, one in enumerate(outputs):
        if not one.shape or _is_scores(one.shape):
            return place
    shapes = ", ".join(f"{one.name} {'x'.join(map(str, one.shape))}" for one in outputs)
    raise InputError(
        f"{name} gives no number for each class: {shapes}.",
        mend="This judges classifiers. Detectors of Ultralytics: yolo val model=MODEL.onnx",
    )


def _is_scores(shape: Sequence[int | str]) -> bool:
    """Return whether an output may be [N, classes], or the same with sizes of 1 behind."""
    return len(shape) >= 2 and shape[1] != 1 and all(one == 1 for one in shape[2:])


def classes_of(subject: Subject, shape: Sequence[int]) -> int:
    """Return the classes of an output of this shape.

    Raises:
        InputError: It is not the shape of a number for each class.
    """
    if shape[0] != subject.batch or not _is_scores(shape):
        raise InputError(
            f"{subject.name} gives {'x'.join(map(str, shape))} for {subject.batch} images, and no"
            " number for each class.",
            mend="This judges classifiers; if the batch is not really open, --batch 1.",
        )
    return shape[1]


@contextlib.contextmanager
def in_onnxruntime(path: Path, subject: Subject, *, as_is: bool = False) -> Iterator[Classifier]:
    """Load an ONNX file in ONNX Runtime, in this process; a run takes one thread.

    Args:
        path: The file.
        subject: What is known of it.
        as_is: Compute what ONNX Runtime makes of it. Otherwise half values are rounded as devices
            store them, which it does not, and quantised nodes of a file that was not lowered for
            it are not computed in its integer kernels, which can saturate.

    Raises:
        InputError: ONNX Runtime does not load or run it.
    """
    is_half = facts_of(path).precision == "fp16" and not as_is
    is_own = as_is or target_of(read(path).model) == "onnxruntime"
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(as_stored(path) if is_half else as_read(path))
        session = open_session(file, session_options(1, integers=is_own))
        limit_s = limit_of(path)

        def run(array: Array) -> Array:
            try:
                feeds = {subject.input_name: array}
                return np.asarray(run_session(session, feeds, limit_s, [subject.output_name])[0])
            except Exception as error:
                raise InputError(
                    f"ONNX Runtime cannot run {subject.name}: {first_line(error)}",
                    mend="If its batch is not really open: --batch 1" if subject.batch > 1 else "",
                ) from error

        rounded = ", half values rounded as devices store them" if is_half else ""
        yield Batches(subject, run, f"ONNX Runtime {version_of('onnxruntime')}{rounded}")


def judged(
    classifiers: Sequence[Classifier],
    images: Labelled,
    *,
    threads: int,
    skip_broken: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Accuracy:
    """Run classifiers on the same images.

    Each thread reads photos, and runs all classifiers on them; what comes of it is in the order of
    the images.

    Args:
        classifiers: The models; the first is what others are told against.
        images: The images.
        threads: How many threads read and run.
        skip_broken: Leave out images that cannot be read.
        on_progress: Called with how far it is.

    Raises:
        InputError: An image cannot be read, or a model does not run.
    """
    began = time.perf_counter()
    labels = np.array(images.labels, np.int64)
    ranks = np.full((len(classifiers), len(labels), 2), -1, np.int64)
    is_read = np.zeros(len(labels), np.bool_)
    views = {one.subject.view.look: one.subject.view for one in classifiers}
    size = max(one.chunk for one in classifiers)

    def work(start: int) -> None:
        rows, photos = [], []
        for row in range(start, min(start + size, len(labels))):
            try:
                photos.append(read_photo(images.paths[row], list(views.values())))
            except InputError:
                if not skip_broken:
                    raise
            else:
                rows.append(row)
        if not rows:
            return
        stacked = dict(zip(views, map(np.stack, zip(*photos, strict=True)), strict=True))
        for place, one in enumerate(classifiers):
            ranks[place, rows] = one.rank(stacked[one.subject.view.look], labels[rows])
        is_read[rows] = True

    starts = range(0, len(labels), size)
    pool = ThreadPoolExecutor(threads)
    try:
        tasks: list[Future[None]] = [pool.submit(work, start) for start in starts]
        for start, task in zip(starts, tasks, strict=True):
            task.result()
            on_progress(f"evaluate {min(start + size, len(labels))}/{len(labels)} images")
    finally:
        pool.shutdown(cancel_futures=True)
    seconds = time.perf_counter() - began
    if not is_read.any():
        raise InputError(f"None of the {len(labels)} images of {images.description} can be read.")
    first, count = ranks[0, is_read], int(is_read.sum())
    return Accuracy(
        data=images.description,
        classes=classifiers[0].classes,
        images=count,
        skipped=tuple(str(images.paths[row]) for row in np.flatnonzero(~is_read)),
        models=tuple(
            _told(one, labels[is_read], ranks[place, is_read], first if place else None, images)
            for place, one in enumerate(classifiers)
        ),
        seconds=seconds,
        images_per_s=count / seconds,
        notes=images.notes,
    )


def _told(
    one: Classifier, labels: Ints, own: Ints, first: Ints | None, images: Labelled
) -> ModelAccuracy:
    """Sum up what one model said, against the first, if it is not that."""
    count = len(labels)
    hits = own[:, 1] == 0
    low, high = wilson(int(hits.sum()), count)
    against: dict[str, Any] = {"change": None, "interval": None, "agreement": None, "losses": ()}
    if first is not None:
        before = first[:, 1] == 0
        both = int((before & hits).sum())
        only, gained = int((before & ~hits).sum()), int((hits & ~before).sum())
        interval = paired(both, only, gained, count - both - only - gained)
        against = {
            "change": 100 * (gained - only) / count,
            "interval": tuple(100 * end for end in interval),
            "agreement": 100 * float(((own[:, 0] == first[:, 0]) & (own[:, 0] >= 0)).mean()),
            "losses": _losses(labels, before, hits, one.classes, images),
        }
    top5 = (own[:, 1] >= 0) & (own[:, 1] < _TOP)
    return ModelAccuracy(
        model=one.subject.name,
        runtime=one.runtime,
        photos=one.subject.notes[0],
        batch=one.subject.batch,
        images=count,
        top1=100 * float(hits.mean()),
        top5=100 * float(top5.mean()) if one.classes > _TOP else None,
        top1_interval=(100 * low, 100 * high),
        not_numbers=int((own[:, 1] < 0).sum()),
        **against,
    )


def _losses(
    labels: Ints,
    before: npt.NDArray[np.bool_],
    after: npt.NDArray[np.bool_],
    classes: int,
    images: Labelled,
) -> tuple[ClassLoss, ...]:
    """Return the classes that lost most, as shares of their images."""
    of_class, right, still = (
        np.bincount(one, minlength=classes) for one in (labels, labels[before], labels[after])
    )
    lost = (right - still) / np.maximum(of_class, 1)
    order = np.argsort(-lost, kind="stable")[:_MOST_LOSSES]
    return tuple(
        ClassLoss(
            label=int(k),
            name=images.names.get(int(k), str(k)),
            images=int(of_class[k]),
            before=int(right[k]),
            after=int(still[k]),
        )
        for k in order
        if lost[k] > 0
    )
