"""Real data for a parity check: NumPy arrays and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Mean and deviation of ImageNet's RGB values in 0...1, which most published weights expect.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


def closed(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    """Gives a shape with 1 for every dimension that is open."""
    return tuple(size if isinstance(size, int) else 1 for size in shape)


def read_input(path: Path, shape: Sequence[int | str | None]) -> npt.NDArray[Any]:
    """Reads data for a model's input.

    Args:
        path: An .npy file, or an image in any format that Pillow reads. An image is resized
            (bicubic, the whole of it, whatever its proportions), brought to 0...1 and normalised
            by ImageNet's mean and deviation; a grey one by those of red.
        shape: The shape that the model takes; open dimensions are no integers.

    Returns:
        An array of that shape; whole numbers stay what they are, others become float32.

    Raises:
        InputError: The file cannot be read, is of another shape, or holds no finite numbers.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    array = _read_npy(path) if path.suffix == ".npy" else _read_image(path, shape)
    fits = array.ndim == len(shape) and all(
        not isinstance(size, int) or size == have
        for size, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{path} holds the shape {_text(array.shape)}, not {_text(shape)}.")
    _check_numbers(path, array)
    return array.astype("float32") if array.dtype.kind == "f" else array


def _check_numbers(path: Path, array: npt.NDArray[Any]) -> None:
    """Refuses what is no data: texts, complex numbers; NaN, which would agree with any NaN."""
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {array.dtype}, which no input takes.")
    if not np.isfinite(array).all():
        raise InputError(f"{path} holds values that are not finite: they would prove nothing.")


def _read_npy(path: Path) -> npt.NDArray[Any]:
    import numpy as np

    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:  # EOFError: the file is empty
        raise InputError(f"{path} is no array that NumPy reads: {error}.") from error
    return array


def _read_image(path: Path, shape: Sequence[int | str | None]) -> npt.NDArray[np.float32]:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if len(shape) != 4 or len(sizes) != 3 or sizes[0] not in (1, 3):
        raise InputError(
            f"An image does not fit an input of shape {_text(shape)}.",
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


def _text(shape: Sequence[int | str | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)
