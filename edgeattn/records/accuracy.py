"""How often classifiers are right, on data of their user's."""

from __future__ import annotations

from typing import Literal

from edgeattn.records.base import SCHEMA_VERSION, Frozen


class ClassLoss(Frozen):
    """A class of which a model knows less than the first: of so many images, how many are right."""

    label: int
    name: str
    images: int
    before: int
    after: int


class ModelAccuracy(Frozen):
    """How often one model is right, in percent; what is told against the first is None for it.

    Attributes:
        model: The file.
        runtime: What ran it.
        photos: What was done to photos.
        batch: Images of one run.
        images: Images that it was judged by.
        top1: How often the largest output is that of the label.
        top5: How often the label's is among the five largest; None of five classes or fewer.
        top1_interval: The 95 % interval for `top1`, after Wilson.
        change: `top1` less that of the first model, in points.
        interval: The 95 % interval for `change`, over the same images, after Newcombe.
        agreement: How often its largest output is that of the first model.
        not_numbers: Images for which it gave NaN or infinity; they count as wrong.
        losses: The classes that lost most against the first model.
    """

    model: str
    runtime: str
    photos: str
    batch: int
    images: int
    top1: float
    top5: float | None
    top1_interval: tuple[float, float]
    change: float | None
    interval: tuple[float, float] | None
    agreement: float | None
    not_numbers: int
    losses: tuple[ClassLoss, ...]


class Accuracy(Frozen):
    """How often models are right on the same images.

    Attributes:
        data: What the images are.
        classes: How many classes there are.
        images: Images that were read.
        skipped: The files that could not be read.
        models: The models, in the order that was asked.
        seconds: What all took, decoding and all models together.
        images_per_s: `images` over that.
        notes: What a user should know of it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    data: str
    classes: int
    images: int
    skipped: tuple[str, ...]
    models: tuple[ModelAccuracy, ...]
    seconds: float
    images_per_s: float
    notes: tuple[str, ...]
