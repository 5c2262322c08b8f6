"""Real data for a model's inputs: NumPy arrays and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Mean and deviation of ImageNet's RGB values in 0...1, which most published weights expect.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


def closed(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    """Return a shape with 1 for every dimension that is open."""
    return tuple(size if isinstance(size, int) else 1 for size in shape)


def read_input(path: Path, shape: Sequence[int | str | None]) -> npt.NDArray[Any]:
    """Read data for a model's input.

    Args:
        path: An .npy file, or an image, which `read_image` reads.
        shape: The shape that the model takes; open dimensions are no integers.

    Returns:
        An array of that shape; whole numbers stay what they are, others become float32.

    Raises:
        InputError: The file cannot be read, is of another shape, or holds no finite numbers.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    array = read_npy(path) if path.suffix == ".npy" else read_image(path, shape)
    check_shape(str(path), array.shape, shape)
    return checked_numbers(str(path), array)


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Map the array of an .npy file into memory.

    Raises:
        InputError: It is no array that NumPy reads without running code.
    """
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:  # EOFError: the file is empty
        raise InputError(f"{path} is no array that NumPy reads: {error}.") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays.", mend="Name it .npz.")
    return array


def read_image(path: Path, shape: Sequence[int | str | None]) -> npt.NDArray[np.float32]:
    """Read an image, in any format that Pillow reads.

    It is resized (bicubic, the whole of it, whatever its proportions), brought to 0...1 and
    normalised by ImageNet's mean and deviation; a grey one by those of red.

    Args:
        path: The image.
        shape: The shape that the model takes; the first dimension may be open.

    Returns:
        f32[N, C, H, W], every sample the same; N is 1 where it is open.

    Raises:
        InputError: The file cannot be read, or the shape is none of images.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if len(shape) != 4 or len(sizes) != 3 or sizes[0] not in (1, 3):
        raise InputError(
            f"An image does not fit an input of shape {in_words(shape)}.",
            mend="Give an .npy file of that shape.",
        )
    channels, height, width = sizes
    try:
        with Image.open(path) as image:
            pixels = image.convert("RGB" if channels == 3 else "L").resize(
                (width, height), Image.Resampling.BICUBIC
            )
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise InputError(f"{path} is neither an .npy file nor an image: {error}.") from error
    unit = np.asarray(pixels, dtype=np.float32).reshape(height, width, channels) / 255
    normal = (unit - np.array(_MEAN[:channels])) / np.array(_DEVIATION[:channels])
    batch = closed(shape)[0]
    return np.repeat(normal.transpose(2, 0, 1)[None], batch, axis=0).astype(np.float32)


def check_shape(name: str, have: Sequence[int], want: Sequence[int | str | None]) -> None:
    """Refuse data of another shape than the model takes.

    Raises:
        InputError: Names both shapes.
    """
    fits = len(have) == len(want) and all(
        not isinstance(size, int) or size == got for size, got in zip(want, have, strict=True)
    )
    if not fits:
        raise InputError(f"{name} holds the shape {in_words(have)}, not {in_words(want)}.")


def checked_numbers(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers as they are and others as float32, in memory.

    Raises:
        InputError: They are texts or complex numbers; or not finite, and would agree with any NaN.
    """
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds values of type {array.dtype}, which no input takes.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds values that are not finite: they would prove nothing.")
    return np.array(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype)


def in_words(shape: Sequence[int | str | None]) -> str:
    """Write a shape as `1x3x?x?`."""
    return "x".join("?" if size is None else str(size) for size in shape)
