"""Files of the user's that a model's source names, by how it is written; no torch is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: How a source of Ultralytics begins.
ULTRALYTICS: Final = "ultralytics:"
#: How its YAML files end.
YAML: Final = (".yaml", ".yml")


def files_of(source: str) -> list[Path]:
    """Return the files of the user's that a source names."""
    own = user_file(source)
    if source.endswith(".pt2"):
        return [Path(source)]
    return [path for path in (own and own[0], yolo_file(source)) if path is not None]


def user_file(source: str) -> tuple[Path, str] | None:
    """Split `path/to/file.py:factory`, the factory empty if there is none; None for others."""
    if source.endswith(".py"):
        return Path(source), ""
    path, _, factory = source.rpartition(":")
    return (Path(path), factory) if path.endswith(".py") else None


def yolo_file(source: str) -> Path | None:
    """Return the checkpoint or YAML file that a source of Ultralytics names, if it is one's own."""
    if not source.startswith(ULTRALYTICS):
        return None
    path = Path(source.removeprefix(ULTRALYTICS))
    path = path if path.suffix else path.with_suffix(YAML[0])
    # mine11n.yaml is mine11.yaml at the scale n.
    places = (path, path.with_name(re.sub(r"(\d)[nslmx]", r"\1", path.name, count=1)))
    return next((place for place in places if place.is_file()), None)
