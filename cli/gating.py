"""Gates on the command line: read before any work is done, judged behind it, ended with last."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer

from edgeattn.base.errors import CheckError, InputError
from edgeattn.base.legible import legible, shortened
from edgeattn.options.gate import GateOptions

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.profiling.gate import Gate, Limit
    from edgeattn.records.trace import SavedRow
    from edgeattn.report.content import Report
    from edgeattn.report.sweep import Sweep

    from .reporting import OutputChoice, SweepChoice


@dataclasses.dataclass(frozen=True, slots=True)
class Gating:
    """A gate that is asked for, with what it needs.

    Attributes:
        limit: The limit.
        baseline: What was saved before; None to compare with what is run.
        is_strict: Whether not to be able to tell counts as to fail.
        saved: The file that was saved before, if one is given.
    """

    limit: Limit
    baseline: Sequence[SavedRow] | None
    is_strict: bool
    saved: Path | None = None

    @classmethod
    def of(
        cls,
        options: GateOptions,
        out: OutputChoice | SweepChoice,
        *,
        is_compared: bool,
        is_sweep: bool = False,
    ) -> Gating | None:
        """Read a gate, before any work is done; None if none is asked.

        Args:
            options: The gate.
            out: What is written.
            is_compared: Whether a model is run beside others that it is compared with.
            is_sweep: Whether it is of a sweep, and so is what was saved.

        Raises:
            InputError: It cannot be read, there is nothing to compare with, or verdicts are to be
                written and there are none.
        """
        if options.fail_above is None:
            if out.junit is not None:
                raise InputError(
                    "--junit is of verdicts, and there is no limit.", mend="Add --fail-above 3%"
                )
            return None
        from edgeattn.profiling.gate import Limit
        from edgeattn.records.store import read_rows
        from edgeattn.report.saved import read_saved

        limit, path = Limit.parse(options.fail_above), options.baseline
        if path is not None and not limit.is_of_two:
            raise InputError(
                f"--fail-above {limit} is a limit in all, and --baseline is compared with.",
                mend=f"Leave --baseline out, or write --fail-above +{limit.value:g}ms",
            )
        if limit.is_of_two and path is None and not is_compared:
            other = "--attention NAME, --baseline SWEEP.db"
            other = other if is_sweep else "--against FILE, --baseline SAVED.json"
            raise InputError(
                f"--fail-above {limit} is of what a model takes above another, and there is none.",
                mend=f"Add {other}, or a limit in all: --fail-above 8ms",
            )
        baseline = None if path is None or is_sweep else read_saved([path])
        if path is not None and is_sweep:
            read_rows(path)  # or it is none of a sweep's
        return cls(limit, baseline, options.cannot_tell == "fail", path)

    def precision(self) -> dict[str, float | None]:
        """Return how long rounds go on for this, as options of a profile have it."""
        if self.limit.unit == "%" and self.baseline is None:
            value = abs(self.limit.value)
            return {"precise_to": min(1.0, value / 3 or 1.0), "clear_of": self.limit.value}
        return {"precise_to": 1e-6}  # what is compared later is measured for as long as it may be

    def judge(self, report: Report, document: dict[str, Any]) -> Gate:
        """Judge a report, and put what was found into its document.

        Raises:
            InputError: Nothing is compared with anything.
        """
        from edgeattn.workflows.gate import gate

        found = gate(report, self.limit, baseline=self.baseline, is_strict=self.is_strict)
        return self._told(found, document)

    def judge_sweep(
        self,
        found: Sweep,
        paths: Sequence[Path],
        document: dict[str, Any],
        *,
        errors: Mapping[str, str] = MappingProxyType({}),
    ) -> Gate:
        """Judge the rows of a sweep likewise; `errors` says which jobs failed, and why.

        Raises:
            InputError: Nothing is compared with anything, and nothing failed.
        """
        from edgeattn.workflows.sweep_gate import gate

        judged = gate(
            found.rows,
            paths,
            self.limit,
            baseline=self.saved,
            is_strict=self.is_strict,
            errors=errors,
        )
        return self._told(judged, document)

    def _told(self, found: Gate, document: dict[str, Any]) -> Gate:
        document["gate"] = {
            "limit": str(found.limit),
            "verdict": found.verdict,
            "fails": found.fails,
            "checks": [
                {
                    "model": one.model,
                    "against": one.against,
                    "value": one.found.value,
                    "interval": one.found.interval,
                    "unit": found.limit.unit.removeprefix("+"),
                    "verdict": one.verdict,
                    "note": one.note,
                }
                for one in found.checks
            ],
            "not_in_baseline": found.new,
        }
        return found


def print_gate(console: Console, gate: Gate | None) -> None:
    """Print what a gate found of each model, below a report; nothing of none."""
    if gate is None:
        return
    from rich.text import Text

    styles = {"passed": "green", "failed": "bold red", "cannot tell": "bold yellow"}
    console.print()
    for one in gate.checks:
        line = shortened(legible(f"{one.model}: {gate.said(one)}"))
        console.print(Text.assemble((f"{one.verdict}  ", styles[one.verdict]), line))
    for note in dict.fromkeys(one.note for one in gate.checks if one.note):
        console.print(f"note: {note}")
    for name in gate.new:
        console.print(f"note: {name} is not in the baseline.")


def end_with_gate(gate: Gate | None) -> None:
    """End with 1 if a gate fails; say so where it cannot tell."""
    if gate is None:
        return
    from edgeattn.report.ci import LONGER

    if gate.verdict == "cannot tell":
        counts = "fail" if gate.is_strict else "pass"
        text = f"The limit of {gate.limit} lies in an interval: {LONGER}. It counts as: {counts}."
        print(f"warning: {text}", file=sys.stderr)
    if gate.fails:
        raise typer.Exit(CheckError.exit_code)
