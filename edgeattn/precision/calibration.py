"""Reads calibration data: samples that show how large a model's values get."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.base.memory import check_size
from edgeattn.precision.pixels import ASSUMED, Chosen
from edgeattn.runtimes.arrays import read_npy, read_npz
from edgeattn.runtimes.inputs import (
    NPY,
    check_shape,
    checked_numbers,
    drawn,
    image_suffixes,
    in_words,
    is_image,
    read_image,
    view_of,
)

#: The name of the source that is not a file.
RANDOM: Final = "random"

# Of a larger tree, such as a whole disk, it is not meant that everything is looked through.
_MOST_FILES: Final = 1_000_000


class Input(Protocol):
    """An input of a model, as a manifest or ONNX Runtime describes it, the batch first."""

    @property
    def name(self) -> str: ...  # noqa: D102 - what it says
    @property
    def shape(self) -> Sequence[int | str]: ...  # noqa: D102 - open sizes are no integers
    @property
    def dtype(self) -> str: ...  # noqa: D102 - NumPy's name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Data to calibrate with. Iterating reads it, a batch at a time, any number of times.

    Attributes:
        description: Its source, and how many samples there are.
        sha256: The hash of the data; '' if it is random.
        count: The number of batches.
        notes: What was assumed of it.
        read: Yields one array for each input, by name.
    """

    description: str
    sha256: str
    count: int
    notes: tuple[str, ...] = ()
    read: Callable[[], Iterator[dict[str, npt.NDArray[Any]]]] = field(repr=False)

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield one array for each input, by name."""
        return self.read()


def read_samples(
    source: str,
    inputs: Sequence[Input],
    *,
    limit: int,
    seed: int,
    pixels: Chosen = ASSUMED,
) -> Samples:
    """Find calibration data; it is read when it is iterated over.

    Args:
        source: `random`; a folder of images, or of .npy arrays that hold a sample each, folders in
            it included; an .npz file with an array for each input, samples first; or an .npy file,
            for a model of one input. Images are brought to what the input takes as
            `inputs.read_image` does.
        inputs: The model's inputs. If their batch is fixed and larger than 1, so many samples make
            a batch, and the first ones fill up the last one.
        limit: The largest number of samples to use; of more, so many are drawn.
        seed: Seed of that draw, and of random data.
        pixels: How photos are brought to the input.

    Returns:
        The samples.

    Raises:
        InputError: There is no such data, it does not fit the inputs, or it holds no finite
            numbers. For the files of a folder, this is raised when they are read.
    """
    if limit < 1:
        raise InputError(f"{limit} samples calibrate nothing.", mend="Use 1 at least.")
    batch = _batch(inputs)
    if source == RANDOM:
        found = _random(inputs, seed, rows=limit)
    else:
        found = (
            _folder(source, inputs, pixels) if Path(source).is_dir() else _archive(source, inputs)
        )
    notes = list(found.notes)
    if source == RANDOM and Path(source).exists():
        notes.append(f"Random data was drawn; for the folder of that name, give ./{source}")
    if not found.has_photos:
        pixels.refuse_unused(found.description)
    rows = np.arange(found.rows)
    if found.rows > limit:
        rows = np.sort(np.random.default_rng(seed).choice(found.rows, limit, replace=False))
    used = f"{len(rows)} of {found.rows}" if len(rows) < found.rows else str(len(rows))
    count = -(-len(rows) // batch)

    def read() -> Iterator[dict[str, npt.NDArray[Any]]]:
        for start in range(0, count * batch, batch):
            picked = [found.pick(int(rows[i % len(rows)])) for i in range(start, start + batch)]
            yield {
                value.name: np.stack([sample[value.name] for sample in picked]) for value in inputs
            }

    return Samples(
        description=f"{found.description}: {used} sample{'s' if len(rows) > 1 else ''}",
        sha256=found.sha256(rows),
        count=count,
        notes=tuple(notes),
        read=read,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """Rows of data: their number, the reader of one, the hash of some, what was assumed of them."""

    description: str
    rows: int
    pick: Callable[[int], Mapping[str, npt.NDArray[Any]]]
    sha256: Callable[[npt.NDArray[np.intp]], str]
    notes: tuple[str, ...] = ()
    has_photos: bool = False


def _batch(inputs: Sequence[Input]) -> int:
    """Return the batch that the inputs share."""
    fixed = set()
    for value in inputs:
        if not value.shape:
            raise InputError(f"Input {value.name} is a single number, and has no batch.")
        if isinstance(value.shape[0], int):
            fixed.add(value.shape[0])
    if len(fixed) > 1:
        raise InputError(
            f"The inputs have batches of {' and '.join(map(str, sorted(fixed)))},"
            " so that no samples can be made of them."
        )
    return fixed.pop() if fixed else 1


def _random(inputs: Sequence[Input], seed: int, *, rows: int) -> _Data:
    """Draw samples, as `inputs.drawn` does."""
    for value in inputs:
        if not all(isinstance(size, int) for size in value.shape[1:]):
            raise InputError(
                f"Input {value.name} has open dimensions:"
                f" {in_words([one if isinstance(one, int) else None for one in value.shape])}.",
                mend="Say its shape with --shape, or calibrate with arrays of the sizes that are"
                " to be used.",
            )
        # Drawn in float64, whatever they become.
        size_bytes = 8 * math.prod(map(int, value.shape[1:]))
        check_size(size_bytes, f"Input {value.name} of shape {in_words(value.shape)}")

    def pick(row: int) -> dict[str, npt.NDArray[Any]]:
        generator = np.random.default_rng((seed, row))
        sample = {}
        for value in inputs:
            sizes = [int(size) for size in value.shape[1:]]
            sample[value.name] = drawn(generator, sizes, value.dtype)
        return sample

    return _Data(description=f"random, seed {seed}", rows=rows, pick=pick, sha256=lambda _: "")


def _folder(source: str, inputs: Sequence[Input], pixels: Chosen) -> _Data:
    if len(inputs) != 1:
        raise InputError(
            f"The model takes {len(inputs)} inputs, and a folder holds data for one.",
            mend="Give an .npz file with an array for each.",
        )
    (value,) = inputs
    paths = sorted(files_below(Path(source), {NPY, *image_suffixes()}))
    if not paths:
        raise InputError(
            f"{source} holds no images and no .npy files.", mend="Name the folder that holds them."
        )
    has_photos = any(map(is_image, paths))
    view = view_of(value.shape, pixels.pixels, value.dtype) if has_photos else None

    def pick(row: int) -> dict[str, npt.NDArray[Any]]:
        path = paths[row]
        if view is not None and is_image(path):
            array = read_image(path, view)[0]
        else:
            array = read_npy(path)
            if array.ndim == len(value.shape) and array.shape[0] == 1:
                array = array[0]
        return {value.name: _fitted(str(path), array, value)}

    def sha256(rows: npt.NDArray[np.intp]) -> str:
        digest = hashlib.sha256()
        for row in rows:
            digest.update(bytes.fromhex(files.sha256(paths[row])))
        return digest.hexdigest()

    return _Data(
        description=f"folder {source}",
        rows=len(paths),
        pick=pick,
        sha256=sha256,
        notes=pixels.notes(value) if has_photos else (),
        has_photos=has_photos,
    )


def files_below(folder: Path, suffixes: Container[str]) -> Iterator[Path]:
    """Yield the files below a folder whose names end so."""

    def refuse(error: OSError) -> None:
        raise error

    seen = 0
    for place, _, names in os.walk(folder, onerror=refuse):
        seen += len(names) + 1
        if seen > _MOST_FILES:
            raise InputError(
                f"{folder} holds more than {_MOST_FILES:,} files.",
                mend="Name a folder that holds the data, and little else.",
            )
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in suffixes and path.is_file():
                yield path


def _archive(source: str, inputs: Sequence[Input]) -> _Data:
    """Read an .npz or .npy file."""
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"There is no file or folder {path}.",
            mend=f"Give a folder of images or arrays, an .npz or .npy file, or `{RANDOM}`.",
        )
    arrays = _arrays(path, inputs)
    lengths = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if 0 in lengths.values():
        raise InputError(f"{path} holds no samples.")
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise InputError(f"{path} holds different numbers of samples: {each}.")
    for value in inputs:
        array = arrays[value.name]
        check_shape(f"{path}, for {value.name},", array.shape, ("samples", *value.shape[1:]))
        _fitted(str(path), array[0], value)

    def pick(row: int) -> dict[str, npt.NDArray[Any]]:
        return {value.name: _fitted(str(path), arrays[value.name][row], value) for value in inputs}

    return _Data(
        description=f"file {source}",
        rows=next(iter(lengths.values())),
        pick=pick,
        sha256=lambda _rows: files.sha256(path),
    )


def _arrays(path: Path, inputs: Sequence[Input]) -> dict[str, npt.NDArray[Any]]:
    """Return the array of each input; a single array belongs to a single input."""
    names = [value.name for value in inputs]
    if path.suffix.lower() == NPY:
        found = {names[0] if len(names) == 1 else path.stem: read_npy(path)}
        if missing := [name for name in names if name not in found]:
            raise InputError(
                f"{path} holds one array, and none for {', '.join(missing)}.",
                mend="Give an .npz file with an array for each input.",
            )
        return found
    if path.suffix.lower() == ".npz":
        return read_npz(path, names)
    raise InputError(
        f"{path} is neither a folder nor an .npz or .npy file.",
        mend="Put images into a folder, and give that.",
    )


def _fitted(name: str, array: npt.NDArray[Any], value: Input) -> npt.NDArray[Any]:
    """Return a sample in an input's shape and type."""
    check_shape(name, array.shape, value.shape[1:])
    numbers = checked_numbers(name, array)
    if not np.can_cast(numbers.dtype, value.dtype, "same_kind"):
        raise InputError(
            f"{name} holds {numbers.dtype}, and input {value.name} takes {value.dtype}."
        )
    cast = numbers.astype(value.dtype)
    if cast.dtype.kind in "iu" and not np.array_equal(cast, numbers):
        raise InputError(f"{name} holds numbers that {value.dtype}, what the input takes, has not.")
    return cast
