"""NumPy's files of arrays, of which none is trusted: nothing runs, and sizes are checked first."""

from __future__ import annotations

import errno
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.files import opened

if TYPE_CHECKING:
    import numpy.typing as npt

_MAGIC: Final = b"\x93NUMPY"
# An archive's arrays are held in memory, all at once.
_LARGEST_ARCHIVE_BYTES: Final = 2 * 1024**3


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Map the array of an .npy file into memory.

    Raises:
        InputError: It cannot be read, or holds no numbers.
    """
    import numpy as np

    with _opened(path, "array") as stream:
        if stream.read(2) == b"PK":
            raise InputError(f"{path} is an archive of arrays.", mend="Name it .npz.")
        stream.seek(0)
        _check(stream, path.stat().st_size, str(path))
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_npz(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read arrays of an .npz file.

    Args:
        path: The file.
        names: The arrays to read; where it holds one alone and one is asked, its name is free.

    Raises:
        InputError: It cannot be read, lacks an array, or one holds no numbers.
    """
    import numpy as np

    with _opened(path, "archive") as stream, zipfile.ZipFile(stream) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        if len(names) == len(members) == 1:
            members = dict(zip(names, members.values(), strict=True))
        if missing := [name for name in names if name not in members]:
            held = ", ".join(members) or "none"
            raise InputError(
                f"{path} holds no array for {', '.join(missing)}; it holds {held}.",
                mend="Name its arrays as the model names its inputs.",
            )
        if sum(members[name].file_size for name in names) > _LARGEST_ARCHIVE_BYTES:
            raise InputError(
                f"{path} holds more than {_LARGEST_ARCHIVE_BYTES // 1024**3} GiB.",
                mend="Give a folder of .npy files, a sample each, which are read one by one.",
            )
        found = {}
        for name in names:
            with archive.open(members[name]) as part:
                _check(part, members[name].file_size, f"{path}, in {name},")
            with archive.open(members[name]) as part:
                found[name] = np.lib.format.read_array(part, allow_pickle=False)
        return found


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[IO[bytes]]:
    """Open a file; what NumPy and zipfile raise is told in words that tempt nobody to trust it."""
    try:
        with opened(path) as stream:
            try:
                yield stream
            except OSError as error:  # zipfile seeks where nothing is
                if error.errno != errno.EINVAL:
                    raise
                raise zipfile.BadZipFile from error
    except InputError:
        raise
    except Exception as error:
        # A header is checked before its array is read: what is left is a fault of zip's own.
        reason = in_one_line(error) if isinstance(error, zipfile.BadZipFile) else "it is broken"
        raise InputError(
            f"{path} is no {kind} that NumPy reads: {reason}.",
            mend="Write one with numpy.savez: an array for each input, samples first."
            if kind == "archive"
            else "Write one with numpy.save.",
        ) from error


def _check(stream: IO[bytes], size_bytes: int, name: str) -> None:
    """Refuse an array whose header is none, holds no numbers, or declares more than there is."""
    import numpy as np

    formats = np.lib.format
    readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise InputError(
            f"{name} is no array that NumPy reads: it does not begin as an .npy file does.",
            mend="Write one with numpy.save.",
        )
    try:
        version = tuple(stream.read(2))
        shape, _, dtype = readers[version](stream)  # type: ignore[index]  # KeyError is meant
    except Exception as error:
        # NumPy's own words would advise to trust the file with allow_pickle.
        raise InputError(
            f"{name} is no array that NumPy reads: its header is broken.",
            mend="Write one with numpy.save.",
        ) from error
    if dtype.hasobject:
        raise InputError(
            f"{name} holds Python objects, pickled: reading them could run code, and is not done.",
            mend="Save an array of numbers, all of one size: array.astype(numpy.float32)",
        )
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise InputError(f"{name} declares the shape {shape}, which no array has.")
    declared, held = math.prod(shape) * dtype.itemsize, size_bytes - stream.tell()
    if declared > held:
        raise InputError(
            f"{name} is cut short: it declares {declared} bytes, and holds {held}.",
            mend="Write it again with numpy.save.",
        )
