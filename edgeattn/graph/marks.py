"""What an ONNX file was lowered for: marks in its metadata, which onnxsim and casts keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx_ir as ir

#: What a file was last lowered for.
TARGET: Final = "edgeattn.target"
#: Every target whose forms it may hold, in the order of lowering: where lowering found nothing to
#: rewrite there is none, and what it did not recognise as written for another target stays.
FORMS: Final = "edgeattn.forms"
#: The outputs (N, C) that it gives as maps (N, C, 1, 1), a line each.
MAPS: Final = "edgeattn.maps"


def mark(model: ir.Model, target: str, *, is_rewritten: bool) -> None:
    """Mark a model that was lowered, beside what it was marked with before.

    Args:
        model: The model.
        target: What it was lowered for.
        is_rewritten: Whether anything of it was.
    """
    before = forms_of(model)
    forms = dict.fromkeys([*before, target] if is_rewritten else before)
    model.metadata_props.update({TARGET: target, FORMS: " ".join(forms)})


def marks_of(model: ir.Model) -> dict[str, str]:
    """Return a model's marks, as its metadata has them."""
    return {key: one for key, one in model.metadata_props.items() if key in (TARGET, FORMS, MAPS)}


def target_of(model: ir.Model) -> str | None:
    """Return what a model was lowered for, None if for nothing."""
    return model.metadata_props.get(TARGET)


def forms_of(model: ir.Model) -> tuple[str, ...]:
    """Return the targets whose forms a model may hold."""
    return tuple(model.metadata_props.get(FORMS, "").split())


def mark_maps(model: ir.Model, names: Iterable[str]) -> None:
    """Mark the outputs (N, C) that a model gives as maps (N, C, 1, 1)."""
    model.metadata_props.pop(MAPS, None)
    if said := "\n".join(dict.fromkeys(names)):
        model.metadata_props[MAPS] = said


def maps_of(model: ir.Model) -> tuple[str, ...]:
    """Return the outputs (N, C) that a model gives as maps (N, C, 1, 1)."""
    return marked_maps(model.metadata_props)


def marked_maps(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the same of a model's metadata."""
    return tuple(filter(None, metadata.get(MAPS, "").split("\n")))
