"""Real data for a model's inputs: NumPy arrays and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    from PIL import Image

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
        pixels: How an image is brought to it.
        dtype: NumPy's name of the type that the model takes.

    Returns:
        An array of that shape; whole numbers stay what they are, others become float32.

    Raises:
        InputError: The file cannot be read, is of another shape, or holds no finite numbers.
    """
    if is_image(path):
        array = read_image(path, view_of(shape, pixels, dtype), closed(shape)[0])
    else:
        array = read_npy(path)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How an input takes photos.

    Attributes:
        channels: 3 for red, green and blue, or 1.
        height: Its height.
        width: Its width.
        is_last: Whether channels come last.
        dtype: NumPy's name of its type.
        pixels: How photos are brought to it.
    """

    channels: int
    height: int
    width: int
    is_last: bool
    dtype: str
    pixels: Pixels

    @property
    def look(self) -> tuple[object, ...]:
        """What decides its 8-bit values: views that share it share photos."""
        how = self.pixels
        border = how.border(self.channels) if how.fit == "letterbox" else ()
        size = (self.channels, self.height, self.width)
        return (*size, how.fit, how.resize, how.crop, how.filter, border)

    def numbers(self) -> dict[str, Any]:
        """Return how 8-bit values become the input's, as `runner.from_pixels` takes it."""
        import numpy as np

        how: dict[str, Any] = {"dtype": self.dtype, "is_last": self.is_last}
        if np.issubdtype(np.dtype(self.dtype), np.integer):
            return how | {"factor": None, "shift": None}
        mean, std = (
            (one * self.channels)[: self.channels] for one in (self.pixels.mean, self.pixels.std)
        )
        factor = [self.pixels.scale / one for one in std]
        return how | {"factor": factor, "shift": [m / s for m, s in zip(mean, std, strict=True)]}


def view_of(
    shape: Sequence[int | str | None], pixels: Pixels = IMAGENET, dtype: str = "float32"
) -> View:
    """Return how an input takes photos.

    Args:
        shape: Its shape; what is open is no integer.
        pixels: How they are brought to it.
        dtype: NumPy's name of its type.

    Raises:
        InputError: It is the shape of no images, or nothing says their size.
    """
    sizes = [size if isinstance(size, int) else None for size in shape[1:]]
    is_last = pixels.layout == "nhwc"
    if not pixels.layout and len(sizes) == 3:
        is_last = sizes[0] not in (1, 3) and sizes[2] in (1, 3)
    channels = sizes.pop(-1 if is_last else 0) if len(shape) == 4 else None
    if channels not in (1, 3):
        raise InputError(
            f"An image does not fit an input of shape {in_words(shape)}.",
            mend="Give an .npy file of that shape; where channels come last, --layout nhwc.",
        )
    height, width = pixels.size(*sizes)
    return View(
        channels=channels, height=height, width=width, is_last=is_last, dtype=dtype, pixels=pixels
    )


def read_image(path: Path, view: View, batch: int = 1) -> npt.NDArray[Any]:
    """Read a photo as `View` and `Pixels` say: as red, green and blue, or as grey.

    For an input of whole numbers these are its values, 0...255; grey ones are normalised by what is
    for red.

    Args:
        path: The image.
        view: How the input takes it.
        batch: How often it is to be there.

    Returns:
        [N, C, H, W], or [N, H, W, C], float32 or uint8.

    Raises:
        InputError: The file cannot be read.
    """
    import numpy as np

    (photo,) = read_photo(path, [view])
    how = view.numbers()
    how["dtype"] = "uint8" if how["factor"] is None else "float32"
    return np.repeat(runner.from_pixels(photo[None], **how), batch, axis=0)


def read_photo(path: Path, views: Sequence[View]) -> list[npt.NDArray[np.uint8]]:
    """Read a photo once for several inputs.

    Returns:
        For each, its values in 8 bits: [H, W, C].

    Raises:
        InputError: The file cannot be read.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    Image.init()
    # The others of Pillow's formats are no photos, and PostScript would be run.
    formats = tuple(name for name in _FORMATS if name in Image.OPEN)
    with opened(path) as stream:
        try:
            with Image.open(stream, formats=formats) as image:
                _check_depth(path, image.mode)
                found = [_brought(image, view) for view in views]
        except InputError:
            raise
        except Exception as error:  # a broken image brings nearly any
            # Where ultralytics is imported, it looks for one more library before it gives up.
            if any(isinstance(one, UnidentifiedImageError) for one in (error, error.__context__)):
                raise InputError(
                    f"{path} is neither an .npy file nor an image.",
                    mend=f"What is read: {', '.join(formats)}.",
                ) from error
            raise InputError(
                f"{path} cannot be read: {first_line(error).rstrip('.')}.",
                mend="Save it again, or leave it out.",
            ) from error
    return [
        np.asarray(one).reshape(view.height, view.width, view.channels)
        for one, view in zip(found, views, strict=True)
    ]


def _check_depth(path: Path, mode: str) -> None:
    """Refuse more than 8 bits, of which Pillow would cut off what is above 255."""
    if mode.startswith(("I", "F")):
        raise InputError(
            f"{path} has more than 8 bits for each value.",
            mend="Save it with 8 bits, or as an .npy file of what the input takes.",
        )


def _brought(image: Image.Image, view: View) -> Image.Image:
    """Return an image in the size of an input."""
    from PIL import Image

    how, size = view.pixels, (view.width, view.height)
    converted = image.convert("RGB" if view.channels == 3 else "L")
    high, wide = how.resized((image.height, image.width), view.height, view.width)
    if (wide, high) != converted.size:
        converted = converted.resize((wide, high), Image.Resampling[how.filter.upper()])
    if (wide, high) == size:
        return converted
    if how.fit != "letterbox":  # torchvision rounds so
        top, left = round((high - view.height) / 2), round((wide - view.width) / 2)
        return converted.crop((left, top, left + view.width, top + view.height))
    border = how.border(view.channels)
    canvas = Image.new(converted.mode, size, border if view.channels == 3 else border[0])
    canvas.paste(converted, ((view.width - wide) // 2, (view.height - high) // 2))
    return canvas


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
