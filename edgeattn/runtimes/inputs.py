"""Real data for a model's inputs: NumPy arrays and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.errors import InputError, first_line
from edgeattn.base.files import opened
from edgeattn.options.shapes import whole_numbers
from edgeattn.records.pixels import IMAGENET, Pixels
from edgeattn.runtimes import runner
from edgeattn.runtimes.arrays import read_npy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NPY: Final = ".npy"
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")


def closed(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    """Return a shape with 1 for every dimension that is open."""
    return tuple(size if isinstance(size, int) else 1 for size in shape)


def read_input(
    path: Path,
    shape: Sequence[int | str | None],
    *,
    pixels: Pixels = IMAGENET,
    dtype: str = "float32",
) -> npt.NDArray[Any]:
    """Read data for a model's input.

    Args:
        path: An .npy file, or an image, which `read_image` reads.
        shape: The shape that the model takes; open dimensions are no integers.
        pixels: What an image is normalised by.
        dtype: NumPy's name of the type that the model takes.

    Returns:
        An array of that shape; whole numbers stay what they are, others become float32.

    Raises:
        InputError: The file cannot be read, is of another shape, or holds no finite numbers.
    """
    array = read_image(path, shape, pixels, dtype) if is_image(path) else read_npy(path)
    check_shape(str(path), array.shape, shape)
    return checked_numbers(str(path), array)


def is_image(path: Path) -> bool:
    """Return whether a file is read as an image, by its name."""
    return path.suffix.lower() != NPY


def image_suffixes() -> frozenset[str]:
    """Return what the names of photos end in."""
    from PIL import Image

    return frozenset(
        suffix for suffix, kind in Image.registered_extensions().items() if kind in _FORMATS
    )


def read_image(
    path: Path,
    shape: Sequence[int | str | None],
    pixels: Pixels = IMAGENET,
    dtype: str = "float32",
) -> npt.NDArray[Any]:
    """Read a photo.

    It is resized (bicubic, the whole of it, whatever its proportions) and read as red, green and
    blue, or as grey. For an input of whole numbers these are its values, 0...255; else they are
    brought to 0...1 and normalised, grey ones by what is for red.

    Args:
        path: The image.
        shape: The shape that the model takes; the first dimension may be open.
        pixels: What it is normalised by.
        dtype: NumPy's name of the type that the model takes.

    Returns:
        [N, C, H, W], every sample the same, float32 or uint8; N is 1 where it is open.

    Raises:
        InputError: The file cannot be read, or the shape is none of images.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if len(shape) != 4 or len(sizes) != 3 or sizes[0] not in (1, 3):
        raise InputError(
            f"An image does not fit an input of shape {in_words(shape)}.",
            mend="Give an .npy file of that shape; where height and width are open, edgeattn cast"
            " takes them by --shape.",
        )
    channels, height, width = sizes
    Image.init()
    # The others of Pillow's formats are no photos, and PostScript would be run.
    formats = tuple(name for name in _FORMATS if name in Image.OPEN)
    with opened(path) as stream:
        try:
            with Image.open(stream, formats=formats) as image:
                mode = image.mode
                resized = image.convert("RGB" if channels == 3 else "L").resize(
                    (width, height), Image.Resampling.BICUBIC
                )
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path} is neither an .npy file nor an image.",
                mend=f"What is read: {', '.join(formats)}.",
            ) from error
        except Exception as error:  # a broken image brings nearly any
            raise InputError(
                f"{path} cannot be read: {first_line(error).rstrip('.')}.",
                mend="Save it again, or leave it out.",
            ) from error
    if mode.startswith(("I", "F")):  # Pillow has cut off what is above 255
        raise InputError(
            f"{path} has more than 8 bits for each value.",
            mend="Save it with 8 bits, or as an .npy file of what the input takes.",
        )
    values = np.asarray(resized).reshape(height, width, channels)
    if not np.issubdtype(np.dtype(dtype), np.integer):
        mean, std = (np.array(one[:channels]) for one in (pixels.mean, pixels.std))
        values = ((values.astype(np.float32) / 255 - mean) / std).astype(np.float32)
    return np.repeat(values.transpose(2, 0, 1)[None], closed(shape)[0], axis=0)


def drawn(
    generator: np.random.Generator, shape: Sequence[int], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Draw an input: normal for floats, or whole numbers that `whole_numbers` gives."""
    import numpy as np

    whole = whole_numbers(np.dtype(dtype).name)
    array: npt.NDArray[Any] = runner.drawn(generator, shape, dtype, whole)
    return array


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
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        numbers = np.array(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype)
    if not np.isfinite(numbers).all():
        raise InputError(
            f"{name} holds values that are not finite, or not in float32: they would prove nothing."
        )
    return numbers


def in_words(shape: Sequence[int | str | None]) -> str:
    """Write a shape as `1x3x?x?`."""
    return "x".join("?" if size is None else str(size) for size in shape)
