"""How results look on a terminal: the tables that more than one command prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from edgeattn.base.legible import in_ranges
from edgeattn.report.grid import columns, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.parity import ParityReport
    from edgeattn.records.engine import EngineManifest
    from edgeattn.records.lowering import NearMiss, Rewrite, Trial
    from edgeattn.records.manifest import Cast, Manifest, Optimised, OwnLine, OwnLines

_LONGEST_CODE: Final = 60

M = TypeVar("M", "Manifest", "Optimised", "Cast")


def size(count_bytes: int) -> str:
    """Write a size in bytes as people read it: 97.5 MiB."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count_bytes >= 1024**power:
            return f"{count_bytes / 1024**power:.1f} {unit}"
    return f"{count_bytes} bytes"


def located(manifest: M, path: Path) -> M:
    """Return a manifest with the file's whole path: on disk, it names the file beside it."""
    return manifest.model_copy(update={"onnx": str(path)})


def print_made(
    console: Console,
    path: str,
    made: Manifest | Optimised | Cast | EngineManifest,
    facts: dict[str, str],
) -> None:
    """Print the file that was made, its size, facts of it, and what its stages took."""
    console.print(f"{path}  {size(made.size_bytes)}", style="bold")
    seconds = ", ".join(f"{name} {s:.1f}" for name, s in made.seconds.items())
    console.print(columns((facts | {"seconds": seconds}).items()))


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print what a user should know of a result, below it."""
    for note in notes:
        console.print(f"note: {note}")


def lowering_in_a_line(rewrites: Sequence[Rewrite], near_misses: Sequence[NearMiss]) -> str:
    """Sum up what lowering did."""
    sites = len({rewrite.site for rewrite in rewrites})
    return f"{len(rewrites)} rewrites at {sites} sites, {len(near_misses)} near misses"


def print_lowering(
    console: Console, rewrites: Sequence[Rewrite], near_misses: Sequence[NearMiss]
) -> None:
    """Print how often each rule of lowering rewrote something, and at how many sites."""
    if rewrites:
        rows = table("rule", "rewrites", "sites", "nodes")
        for rule in dict.fromkeys(rewrite.rule for rewrite in rewrites):
            of_rule = [rewrite for rewrite in rewrites if rewrite.rule == rule]
            before = sum(len(rewrite.nodes_before) for rewrite in of_rule)
            after = sum(len(rewrite.nodes_after) for rewrite in of_rule)
            sites = {rewrite.site for rewrite in of_rule}
            rows.add_row(rule, str(len(of_rule)), str(len(sites)), f"{before} → {after}")
        console.print(rows)
    console.print(lowering_in_a_line(rewrites, near_misses))


def print_rewrites(console: Console, rewrites: Sequence[Rewrite]) -> None:
    """Print every rewrite of lowering: its rule, its site, its nodes before and after."""
    rows = table("rule", "site", "nodes before", "nodes after")
    for rewrite in rewrites:
        before, after = "\n".join(rewrite.nodes_before), "\n".join(rewrite.nodes_after)
        rows.add_row(rewrite.rule, rewrite.site, before, after)
    console.print(rows if rewrites else "no rewrites")


def print_near_misses(console: Console, near_misses: Sequence[NearMiss]) -> None:
    """Print what lowering nearly rewrote, and why it did not."""
    rows = table("nearly", "site", "reason")
    for miss in near_misses:
        rows.add_row(miss.rule, miss.site, miss.reason)
    console.print(rows if near_misses else "no near misses")


def print_lines(console: Console, found: Sequence[OwnLines]) -> None:
    """Print what became of the lines of authors' own attentions, and what nearly would have."""
    for attention in dict.fromkeys(one.attention for one in found):
        groups = [one for one in found if one.attention == attention]
        home = groups[0].lines[0].file
        console.print(f"{attention} by line of {home}, as torch wrote it, and what is left of it")
        rows = table("line", "code", "MACs", "traffic, MB", "nodes", "lowered by")
        nearly = []
        for group in groups:
            made = (f"→ {len(group.nodes)}", ", ".join(group.rules))
            places = [_place_of(line, home) for line in group.lines]
            for place, line in zip(places, group.lines, strict=True):
                code = line.code
                code = code if len(code) <= _LONGEST_CODE else f"{code[: _LONGEST_CODE - 1]}…"
                figures = (f"{line.macs:,}", f"{line.traffic_bytes / 1e6:.3g}", str(line.nodes))
                if len(places) == 1:
                    rows.add_row(place, code, *figures[:2], f"{line.nodes} {made[0]}", made[1])
                else:
                    rows.add_row(place, code, *figures)
                nearly += [f"nearly, line {place}: {one}" for one in line.near_misses]
            if len(places) > 1:
                together = in_ranges([line.line for line in group.lines])
                rows.add_row(together, "", "", "", *made)
        console.print(rows)
        for one in nearly:
            console.print(one)


def _place_of(line: OwnLine, home: str) -> str:
    return str(line.line) if line.file == home else f"{Path(line.file).name}:{line.line}"


def print_trials(console: Console, trials: Sequence[Trial]) -> None:
    """Print what the tournament tried, with its figures."""
    rows = table("kind", "family", "tried", "instead of", "figures", "")
    for trial in trials:
        figures = ", ".join(f"{name} {value:,.10g}" for name, value in trial.figures.items())
        verdict = "taken" if trial.is_taken else ""
        rows.add_row(trial.kind, trial.family, trial.form, trial.instead_of, figures, verdict)
    console.print(rows)


def print_parity(console: Console, report: ParityReport) -> None:
    """Print how each output differs from its reference, at worst, and whether that passes."""
    outputs = table("output", "max abs", "max rel", "SQNR dB", "cosine", "argmax", "")
    for output in report.outputs:
        outputs.add_row(
            output.name,
            f"{output.max_abs:.3g}",
            f"{output.max_rel:.3g}",
            "exact" if output.sqnr_db is None else f"{output.sqnr_db:.1f}",
            f"{output.cosine:.9f}",
            f"{output.argmax_agreement:.2%}",
            "" if output.passed else "differs",
            style=None if output.passed else "red",
        )
    console.print(outputs)
    verdict = "passed" if report.passed else "failed"
    bounds = [
        text
        for bound, text in (
            (report.max_rel_tolerance, f"relative error at most {report.max_rel_tolerance:g}"),
            (report.min_sqnr_db, f"SQNR at least {report.min_sqnr_db:g} dB"),
        )
        if math.isfinite(bound)
    ]
    console.print(
        f"parity {verdict} ({report.precision}: {', '.join(bounds) or 'no bound was asked'};"
        f" at worst over {len(report.cases)} runs)",
        style="green" if report.passed else "red",
    )
    if report.first_difference is not None:
        console.print(f"the first that differs: {report.first_difference}")


def print_engine(console: Console, manifest: EngineManifest) -> None:
    """Print what an engine is, and what was built in which precision."""
    precision = manifest.precision
    built = ", ".join(f"{count} {name}" for name, count in precision.built.items() if count)
    facts = {
        "runtime": f"{manifest.runtime} {manifest.runtime_version}",
        "built for": f"compute capability {manifest.compute_capability}"
        + (f" ({manifest.device})" if manifest.device and not manifest.not_for else ""),
        "built on": manifest.machine.title if manifest.machine else "",
        "because": manifest.runtime_reason,
        "NOT FOR": manifest.not_for or "",
        "kernels": "not said" if manifest.kernels is None else f"{manifest.kernels}: {built}",
        "precision": f"{precision.asked} asked, "
        + (
            "what was built is not said"
            if manifest.kernels is None
            else f"{len(precision.mismatches)} kernels differ"
        )
        + (f", {precision.kept} nodes kept in fp32" if precision.kept else ""),
        "traffic": "not said"
        if manifest.traffic_bytes is None
        else f"{manifest.traffic_bytes / 1e6:.1f} MB",
        "weights": "not said" if manifest.weights_bytes is None else size(manifest.weights_bytes),
        "activations": "not said"
        if manifest.activation_bytes is None
        else size(manifest.activation_bytes),
    }
    facts = {name: fact for name, fact in facts.items() if fact}
    print_made(console, manifest.engine, manifest, facts)
    if manifest.points:
        console.print()
        rows = table("profile", "shapes", "traffic, MB")
        for point in manifest.points:
            shapes = ", ".join(f"{n}:{'x'.join(map(str, s))}" for n, s in point.shapes.items())
            moved = point.traffic_bytes
            traffic = "not said" if moved is None else f"{moved / 1e6:.1f}"
            rows.add_row(f"{point.profile} {point.point}", shapes, traffic)
        console.print(rows)
    if precision.mismatches:
        console.print()
        rows = table("built in", "kernel", "ONNX nodes")
        for one in precision.mismatches:
            rows.add_row(one.built, one.kernel, ", ".join(one.nodes))
        console.print(rows)
