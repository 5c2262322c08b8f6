"""Whose fault it is that a job on a file fails: ONNX Runtime is asked whether it takes the file."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from edgeattn.base.errors import EdgeattnError, InputError, MissingError, first_line
from edgeattn.options.profile import Item
from edgeattn.runtimes.onnxruntime import Session, random_inputs
from edgeattn.runtimes.openvino import explained

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def blames_the_file(job: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Turn exceptions of a job on ONNX files into what is wrong with these, where that is so.

    The structure of a file is judged as it is read; whether its shapes and attributes fit each
    other, only where something fails over them. What ONNX Runtime neither loads nor runs is no
    model; all else stays what it is: a fault of ours.

    Args:
        job: Takes a path first, or items with one each.
    """

    @functools.wraps(job)
    def judged(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        try:
            return job(*args, **kwargs)
        except InputError as error:
            for path in _paths(args[0]):
                told = explained(error, path)
                if told is not error:
                    raise told from error
            raise
        except (EdgeattnError, OSError, ImportError):
            raise
        except MemoryError as error:
            raise MissingError(
                f"{_named(args[0])} asks for more memory than there is: {first_line(error)}.",
                mend="Give smaller shapes; if nobody meant such sizes, the file is broken.",
            ) from error
        except Exception:
            for path in _paths(args[0]):
                _try(path)
            raise

    return judged


def _paths(first: Any) -> list[Path]:
    if isinstance(first, Path):
        return [first]
    items: Sequence[Item] = first
    return [one.path for one in items if one.path.suffix == ".onnx"]


def _named(first: Any) -> str:
    return " or ".join(map(str, _paths(first)))


def _try(path: Path) -> None:
    """Load a file and run it once, where it says which shapes it takes.

    Raises:
        InputError: ONNX Runtime does not load it, or fails while it runs.
    """
    session = Session(path)
    arrays = None
    with contextlib.suppress(InputError):
        arrays = random_inputs(session, batch=1, seed=0)
    if arrays is not None:
        session.run(arrays)
