"""Images with labels: a folder for each class, or a list of files with the class of each."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.precision.calibration import files_below
from edgeattn.runtimes.inputs import image_suffixes

_FILES: Final = frozenset({"file", "path", "image", "filename", "img", "name"})
_LABELS: Final = frozenset({"label", "class", "target", "category"})
_LISTS: Final = (".csv", ".tsv", ".txt")
_LIST: Final = "A list has a line for each image, such as: cats/1.jpg,0"
_NAMES: Final = (
    "Say which is which: --classes FILE, with the name of each class in a line, in the model's"
    " order; or give a CSV of file and number."
)
_MOST_NAMES: Final = 1 << 22
_DIGITS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Images with labels.

    Attributes:
        description: Where they are from.
        paths: The images.
        labels: The class of each.
        names: What classes are called, by their number.
        notes: What was assumed of them.
    """

    description: str
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    names: Mapping[int, str]
    notes: tuple[str, ...] = ()

    def check_are_there(self) -> None:
        """Refuse images that are not there.

        Raises:
            InputError: Names the first, and says how many.
        """
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            more = f", nor {len(missing) - 1} more of its files" if len(missing) > 1 else ""
            raise InputError(
                f"{missing[0]}, of {self.description}, is not there{more}.",
                mend="Mend the list, whose files are counted from its folder; or leave them out:"
                " --skip-broken",
            )


def read_labelled(
    source: Path, classes: int, names: Sequence[str] = (), *, hints: Sequence[str] = ()
) -> Labelled:
    """Find images and their labels; no image is read.

    Args:
        source: A folder with one for each class, or a list (.csv, .tsv, .txt) of files, from its
            own folder on, and labels.
        classes: How many classes there are to the models.
        names: What they are called, in the models' order, where that is said.
        hints: What a model calls them, which counts if the data call them so too.

    Raises:
        InputError: There are no such images, or labels that the models do not have.
    """
    if names and len(names) != classes:
        raise InputError(
            f"{len(names)} classes are named, and the model has {classes}.",
            mend="Give as many names, in the model's order: --classes FILE",
        )
    if source.is_dir():
        found = _of_folders(source, classes, names, hints)
    elif source.suffix.lower() in _LISTS and source.is_file():
        found = _of_list(source, classes, names, hints)
    else:
        raise InputError(
            f"--data {source} is neither a folder nor a list ({', '.join(_LISTS)}) that is there.",
            mend="Give a folder with one for each class, or a CSV of file and label.",
        )
    if not found.paths:
        raise InputError(f"{source} holds no images.", mend="Name the folder that holds them.")
    return found


def names_in(path: Path) -> tuple[str, ...]:
    """Read the names of classes, one a line.

    Raises:
        InputError: The file cannot be read, is empty, or has a name twice.
    """
    lines = documents.read_text(path).splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        twice = next((one for one in names if names.count(one) > 1), "")
        raise InputError(
            f"{path} names {f'{twice} twice' if twice else 'no classes'}.",
            mend="It has the name of each class in a line, in the model's order.",
        )
    return names


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the classes' names that Ultralytics writes into a file; () of others."""
    said = metadata.get("names", "")[:_MOST_NAMES]
    try:
        names = ast.literal_eval(said)
        return tuple(str(names[k]) for k in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return ()


def _of_folders(source: Path, classes: int, names: Sequence[str], hints: Sequence[str]) -> Labelled:
    suffixes = image_suffixes()
    folders = sorted(
        one.name for one in source.iterdir() if one.is_dir() and not one.name.startswith(".")
    )
    if not folders:
        has_some = next(iter(files_below(source, suffixes)), None) is not None
        held = "images, and no folders of classes" if has_some else "no images"
        raise InputError(
            f"{source} holds {held}.",
            mend="Give a folder with one for each class, or a CSV of file and label.",
        )
    names = _taken(names, hints, folders)
    label_of, notes = _numbered(folders, classes, names, f"{source} has folders for")
    paths, labels = [], []
    for name in folders:
        inside = sorted(files_below(source / name, suffixes))
        paths += inside
        labels += [label_of[name]] * len(inside)
    return Labelled(
        description=f"folder {source}",
        paths=tuple(paths),
        labels=tuple(labels),
        names={label: name for name, label in label_of.items()},
        notes=notes,
    )


def _taken(names: Sequence[str], hints: Sequence[str], found: Iterable[str]) -> Sequence[str]:
    """Return what classes are called: as is said, or as is hinted, if that fits what is found."""
    return names or (hints if set(found) <= set(hints) else ())


def _numbered(
    found: Sequence[str], classes: int, names: Sequence[str], what: str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the number of each class by its name, and what was assumed.

    Args:
        found: The names that the data have, sorted.
        classes: How many classes the models have.
        names: What these are called, where that is known.
        what: What names them, for errors.

    Raises:
        InputError: Nothing says which class of the models' one is.
    """
    known = {name: number for number, name in enumerate(names)}
    if not names and len(found) == classes:
        known = {name: number for number, name in enumerate(found)}
        numbers = [number for one in found if (number := _whole(one)) is not None]
        if len(numbers) == classes and numbers != sorted(numbers):
            note = (
                "Classes are called by numbers, and are counted in the order of their text, as"
                " torchvision's ImageFolder does: 10 comes before 2. If the model has them in the"
                " order of the numbers, name them so: --classes FILE"
            )
            return known, (note,)
    elif not names and all((_whole(one) or 0) in range(classes) for one in found):
        known = {name: number for name in found if (number := _whole(name)) is not None}
    missing = [name for name in found if name not in known]
    if not missing:
        return known, ()
    count = f"{len(found)} class{'es' if len(found) > 1 else ''}"
    if not names:
        raise InputError(f"{what} {count}, and the model has {classes}.", mend=_NAMES)
    raise InputError(
        f"{what} {count}, and {missing[0]!r} is none of the model's.",
        mend=" ".join(filter(None, (did_you_mean(nearest(missing[0], names)), _NAMES))),
    )


def _of_list(source: Path, classes: int, names: Sequence[str], hints: Sequence[str]) -> Labelled:
    rows = _rows(source)
    numbers = {text: number for _, _, text in rows if (number := _whole(text)) is not None}
    texts = {text for _, _, text in rows}
    if len(numbers) == len(texts):
        label_of, notes = numbers, tuple[str, ...]()
        for line, _, text in rows:
            if numbers[text] not in range(classes):
                raise InputError(
                    f"{source}, line {line}: there is no class {text}; the model has {classes},"
                    f" counted from 0 to {classes - 1}.",
                    mend="Count classes from 0, as the model does.",
                )
    else:
        names = _taken(names, hints, texts)
        label_of, notes = _numbered(sorted(texts), classes, names, f"{source} names")
    by_number = {number: name for name, number in label_of.items()}
    return Labelled(
        description=f"list {source}",
        paths=tuple(source.parent / name for _, name, _ in rows),
        labels=tuple(label_of[text] for _, _, text in rows),
        names=dict(enumerate(names or hints)) or by_number,
        notes=notes,
    )


def _whole(text: str) -> int | None:
    """Return a whole number; None if it is none, or no class has it."""
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) < _DIGITS else None


def _rows(source: Path) -> list[tuple[int, str, str]]:
    """Return the line, the file and the label of each row of a list.

    Raises:
        InputError: A row has no two of them.
    """
    lines = documents.read_text(source).splitlines()
    first = next((line for line in lines if line.strip()), "")
    mark = next((one for one in "\t;," if one in first), None)
    split: Iterable[list[str]] = (
        (line.rsplit(maxsplit=1) for line in lines)
        if mark is None
        else csv.reader(lines, delimiter=mark)
    )
    try:
        return _read(source, split)
    except csv.Error as error:
        raise InputError(f"{source} cannot be read as a list: {error}.", mend=_LIST) from error


def _read(source: Path, split: Iterable[list[str]]) -> list[tuple[int, str, str]]:
    places, rows = (0, 1), list[tuple[int, str, str]]()
    for number, cells in enumerate(split, start=1):
        row = [cell.strip() for cell in cells]
        if not any(row):
            continue
        heads = [cell.lower() for cell in row]
        if not rows and _LABELS.intersection(heads):
            label = next(k for k, head in enumerate(heads) if head in _LABELS)
            file = next((k for k, head in enumerate(heads) if head in _FILES), int(not label))
            places = file, label
            continue
        if len(row) <= max(places) or not all(row[place] for place in places):
            raise InputError(f"{source}, line {number} has no file and label.", mend=_LIST)
        rows.append((number, row[places[0]], row[places[1]]))
    return rows
