"""`edgeattn inspect`: what an engine is, and how it differs from another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.flags import Flag
from edgeattn.report.grid import columns

from .differences import diff_document, print_diff
from .groups import grouped
from .kernels import bindings_in_words, kernel_document, print_kernels, print_sums, shape_of
from .screen import Screen
from .tables import print_engine, print_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from edgeattn.engine.inspect import Inspection, Row


class PointChoice(StrEnum):
    """The shapes of an optimisation profile."""

    MIN = "min"
    OPT = "opt"
    MAX = "max"


class Order(StrEnum):
    """How a table is sorted."""

    ENGINE = "engine"
    BYTES = "bytes"


@grouped
def inspect(
    *,
    engine: Annotated[
        Path,
        Flag(
            "ENGINE",
            "An engine, its manifest, the JSON of trtexec --exportLayerInfo, or a build log.",
        ),
    ],
    diff: Annotated[
        Path | None, Flag("--diff OTHER", "Compare with another, side by side.")
    ] = None,
    profile: Annotated[
        int | None, Flag("--profile N", "The optimisation profile. [0]", min=0)
    ] = None,
    point: Annotated[
        PointChoice | None, Flag("--point", "Which of its shapes the bytes are of. [opt]")
    ] = None,
    sort: Annotated[
        Order, Flag("--sort", "The order of the table; bytes: the most first.")
    ] = Order.ENGINE,
    top: Annotated[int | None, Flag("--top N", "Show N rows only.", min=1)] = None,
    screen: Screen,
) -> None:
    """Show what was built: kernels, bytes, precision; with --diff, what two engines fused.

    Reads the manifest beside the engine, so no GPU is needed. Ends with 1 if the engine is not the
    one that its manifest describes. With -v, names are whole, and equal kernels are listed too.
    """
    with screen.working() as stage:
        from edgeattn.engine.inspect import inspect as inspect_engine

        found = []
        for path in filter(None, (engine, diff)):
            stage(f"read {path}")
            found.append(
                inspect_engine(path, profile=profile, point=None if point is None else point.value)
            )
    if diff is None:
        _show(found[0], screen, top, by_bytes=sort is Order.BYTES)
    else:
        _show_diff(found[0], found[1], screen, top, by_bytes=sort is Order.BYTES)
    if any(one.faults for one in found):
        raise typer.Exit(CheckError.exit_code)


def _show(found: Inspection, screen: Screen, top: int | None, *, by_bytes: bool) -> None:
    rows = found.rows
    if by_bytes:
        rows = tuple(sorted(rows, key=lambda row: -(row.traffic_bytes or 0)))
    screen.show(
        _document(found, rows),
        lambda console: _report(console, found, rows, top=top, whole=screen.verbose),
    )


def _show_diff(
    a: Inspection, b: Inspection, screen: Screen, top: int | None, *, by_bytes: bool
) -> None:
    with screen.working() as stage:
        from edgeattn.engine.diff import diff

        stage("compare")
        for one in (a, b):
            if not one.rows:
                raise InputError(
                    f"{one.path} says nothing of its kernels: they cannot be compared."
                )
        groups = diff(a.rows, b.rows)
    if by_bytes:
        groups = tuple(sorted(groups, key=lambda group: -abs(group.delta_bytes or 0)))
    screen.show(
        diff_document(a, b, groups),
        lambda console: print_diff(console, a, b, groups, top=top, whole=screen.verbose),
    )


def _document(found: Inspection, rows: Sequence[Row]) -> dict[str, Any]:
    from edgeattn.engine.inspect import sums

    by_kind, by_precision = (
        [
            {"name": one.name, "kernels": one.kernels, "traffic_bytes": one.traffic_bytes}
            for one in sums(found.rows, key)
        ]
        for key in (_kind, _precision)
    )
    manifest, point = found.manifest, found.point
    return {
        "path": found.path,
        "faults": found.faults,
        "notes": found.notes,
        "kernels": len(found.rows),
        "traffic_bytes": found.traffic_bytes,
        "point": None if point is None else point.model_dump(exclude={"kernel_bytes"}),
        "by_kind": by_kind,
        "by_precision": by_precision,
        "bindings": [
            {
                "name": one.name,
                "is_input": one.is_input,
                "dtype": one.dtype,
                "shape": shape_of(found, one),
            }
            for one in found.bindings
        ],
        "sources": [{"path": one.path, "state": one.state} for one in found.sources],
        "table": [kernel_document(row) for row in rows],
        "manifest": None if manifest is None else manifest.model_dump(mode="json"),
    }


def _report(
    console: Console, found: Inspection, rows: Sequence[Row], *, top: int | None, whole: bool
) -> None:
    for fault in found.faults:
        console.print(fault, style="red", soft_wrap=True)
    manifest = found.manifest
    if manifest is None:
        console.print(f"{found.path}  {len(rows)} kernels", style="bold")
    else:
        print_engine(console, manifest)
        states = {"same": "unchanged", "changed": "changed since", "absent": "not here"}
        console.print(
            columns(("built from", f"{one.path} ({states[one.state]})") for one in found.sources)
        )
    console.print(columns(bindings_in_words(found)))
    console.print()
    print_kernels(console, found, rows, top=top, whole=whole)
    console.print()
    print_sums(console, found.rows, "kind", _kind)
    console.print()
    print_sums(console, found.rows, "precision", _precision)
    print_notes(console, found.notes)


def _kind(row: Row) -> str:
    return row.kernel.kind


def _precision(row: Row) -> str:
    return row.precision or "indices"
