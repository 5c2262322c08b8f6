"""Where a report goes: the files that profile, compare and report write."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.options.flags import flag

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.profiling.gate import Gate
    from edgeattn.records.layers import LayerInformation
    from edgeattn.records.trace import Trace
    from edgeattn.report.content import Report
    from edgeattn.report.history import History
    from edgeattn.report.sweep import Sweep

#: So many sites are shown by default: with the rest, a report fits one screen.
TOP: Final = 8
_FIGURES: Final = (".svg", ".png")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made, and is to be written.

    Attributes:
        report: The report.
        document: The same as JSON.
        information: For an engine, the layer information of the report's last row.
        gate: What a gate found, if one was asked for.
    """

    report: Report
    document: Any
    information: LayerInformation | None
    gate: Gate | None

    @property
    def trace(self) -> Trace:
        """Return the trace of the last row."""
        return self.report.rows[-1].trace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputChoice:
    """The files that are written."""

    output: Path | None = flag("--output -o FILE.json", "What --json prints, traces included.")
    report: Path | None = flag("--report FILE.html", "A page with pictures, whole in one file.")
    figure: tuple[str, ...] = flag(
        "--figure [PICTURE=]FILE.svg|png",
        "Pictures: icicle, kinds, hidden-cost, roofline or batches; without a name, all on one"
        " sheet."
        " May be given again.",
        default=(),
    )
    trace: Path | None = flag("--trace FILE.json", "A trace for Perfetto and chrome.")
    export_profile: Path | None = flag(
        "--export-profile FILE.json", "As trtexec --exportProfile writes it."
    )
    export_layer_info: Path | None = flag(
        "--export-layer-info FILE.json", "As trtexec --exportLayerInfo writes it."
    )
    export_times: Path | None = flag(
        "--export-times FILE.json", "As trtexec --exportTimes writes it."
    )
    summary: Path | None = flag(
        "--summary FILE.md", "A summary in Markdown, as in $GITHUB_STEP_SUMMARY."
    )
    junit: Path | None = flag("--junit FILE.xml", "The verdicts of --fail-above, as JUnit's.")

    def check(self, read: Iterable[Path] = ()) -> None:
        """Refuse files that cannot be written, before any work is done.

        Args:
            read: What is read, and may not be written over.

        Raises:
            InputError: A file cannot be written, has a wrong suffix, or is named twice.
        """
        paths = [path for path, _ in self._writers()]
        for path in paths:
            files.check_target(path)
        files.check_apart(paths, read)

    def check_without_traces(self, why: str, *, mend: str, besides: Sequence[str] = ()) -> None:
        """Refuse files that are made of traces.

        Args:
            why: Why there are none.
            mend: What to do instead.
            besides: What is written nevertheless, but for the page and the document.

        Raises:
            InputError: Some are asked for.
        """
        asked = [
            f"--{one.name.replace('_', '-')}"
            for one in dataclasses.fields(self)
            if getattr(self, one.name) and one.name not in {"output", "report", *besides}
        ]
        if asked:
            raise InputError(f"{' and '.join(asked)} is for traces, and {why}.", mend=mend)

    def check_runtime(self, runtime: Callable[[], str]) -> None:
        """Refuse a file that a runtime has not, before any work is done.

        Args:
            runtime: Returns the runtime by which the model is to be profiled.

        Raises:
            InputError: It has no layer information.
        """
        from edgeattn.report.trtexec_layers import check_runtime

        if self.export_layer_info is not None:
            check_runtime(runtime())

    def write(
        self,
        report: Report,
        document: Any,
        information: LayerInformation | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Write the files, all of them whole or none.

        Args:
            report: The report; trtexec's files are of its last row.
            document: What `--json` prints.
            information: For an engine, the layer information of the last row.
            gate: What a gate found, if one was asked for.
        """
        made = Made(report=report, document=document, information=information, gate=gate)
        _write_all((path, partial(writer, made)) for path, writer in self._writers())

    def write_history(self, found: History, document: Any) -> None:
        """Write the page and the document of a history, both whole or none."""
        writers: list[tuple[Path, Callable[[Path], Any]]] = []
        if self.output is not None:
            writers.append((self.output, partial(_write_json, document)))
        if self.report is not None:
            writers.append((self.report, partial(_write_history_page, found)))
        _write_all(writers)

    def _writers(self) -> Iterable[tuple[Path, Callable[[Made, Path], None]]]:
        """Yield each file that is asked, and what writes it."""
        if self.output is not None:
            yield self.output, _json(lambda made: made.document)
        if self.report is not None:
            yield self.report, _write_page
        for text in self.figure:
            picture, path = _figure(text)
            yield path, _drawn(picture)
        for asked, document in (
            (self.trace, _events),
            (self.export_profile, _profile),
            (self.export_layer_info, _layers),
            (self.export_times, _times),
        ):
            if asked is not None:
                yield asked, _json(document)
        if self.summary is not None:
            yield self.summary, _write_summary
        if self.junit is not None:
            yield self.junit, _write_junit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepChoice:
    """The files that are written of a sweep; summary and verdicts as of a report."""

    output: Path | None = flag("--output -o FILE.json", "What --json prints.")
    report: Path | None = flag("--report FILE.html", "A page with pictures, whole in one file.")
    export: tuple[Path, ...] = flag(
        "--export FILE.csv|parquet", "The rows, for other programs. May be given again.", default=()
    )
    summary: Path | None = None
    junit: Path | None = None

    def check(self, read: Iterable[Path] = (), written: Iterable[Path] = ()) -> None:
        """Refuse files that cannot be written, before any work is done.

        Args:
            read: What is read, and may not be written over.
            written: What else is written.

        Raises:
            InputError: A file cannot be written, has a wrong suffix, or is named twice.
            MissingError: What writes a file is not installed.
        """
        from edgeattn.report import sweep_export

        for path in self.export:
            sweep_export.check_target(path)
        asked = (self.output, self.report, *self.export, self.summary, self.junit)
        paths = [path for path in asked if path is not None]
        for path in paths:
            files.check_target(path)
        files.check_apart([*paths, *written], read)

    def write(self, found: Sweep, document: Any, gate: Gate | None = None) -> None:
        """Write the files, all of them whole or none.

        Args:
            found: The sweep.
            document: What `--json` prints.
            gate: What a gate found, if one was asked for.
        """
        from edgeattn.report import ci, sweep_export

        writers: list[tuple[Path, Callable[[Path], Any]]] = []
        if self.output is not None:
            writers.append((self.output, partial(_write_json, document)))
        if self.report is not None:
            writers.append((self.report, partial(_write_sweep_page, found)))
        writers += [(path, partial(sweep_export.write, found)) for path in self.export]
        if self.summary is not None:
            writers.append((self.summary, partial(_write_text, ci.sweep_summary(found, gate))))
        if self.junit is not None:
            assert gate is not None, "it is asked for with --junit"
            writers.append((self.junit, partial(_write_text, ci.junit(gate, suite=found.title))))
        _write_all(writers)


def _write_all(writers: Iterable[tuple[Path, Callable[[Path], Any]]]) -> None:
    """Write files, all of them whole or none."""
    absolute = [(files.absolute(path), write) for path, write in writers]
    with files.staged_in(path.parent for path, _ in absolute) as stagings:
        for path, write in absolute:
            write(stagings[path.parent] / path.name)


def _figure(text: str) -> tuple[str | None, Path]:
    from edgeattn.base.nearest import did_you_mean, nearest
    from edgeattn.report.figures import PICTURES

    picture, equals, name = text.rpartition("=")
    path = Path(name)
    if path.suffix not in _FIGURES:
        raise InputError(
            f"--figure {text!r} is neither an .svg nor a .png file.",
            mend="For example: --figure roofline=roofline.svg",
        )
    if equals and picture not in PICTURES:
        raise InputError(
            f"There is no picture {picture!r}; there are {', '.join(PICTURES)}.",
            mend=did_you_mean(nearest(picture, PICTURES, count=1)),
        )
    return picture if equals else None, path


def _drawn(picture: str | None) -> Callable[[Made, Path], None]:
    def write(made: Made, path: Path) -> None:
        from edgeattn.report.figures import draw

        draw(made.report, picture, path)

    return write


def _write_page(made: Made, path: Path) -> None:
    from edgeattn.report.html import render

    path.write_text(render(made.report), encoding="utf-8")


def _write_sweep_page(found: Sweep, path: Path) -> None:
    from edgeattn.report.sweep_page import render

    path.write_text(render(found), encoding="utf-8")


def _write_history_page(found: History, path: Path) -> None:
    from edgeattn.report.history_page import render

    path.write_text(render(found), encoding="utf-8")


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _write_summary(made: Made, path: Path) -> None:
    from edgeattn.report.ci import summary

    path.write_text(summary(made.report, made.gate), encoding="utf-8")


def _write_junit(made: Made, path: Path) -> None:
    from edgeattn.report.ci import junit

    assert made.gate is not None, "it is asked for with --junit"
    path.write_text(junit(made.gate, suite=made.report.title), encoding="utf-8")


def _json(document: Callable[[Made], Any]) -> Callable[[Made, Path], None]:
    return lambda made, path: _write_json(document(made), path)


def _write_json(document: Any, path: Path) -> None:
    path.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")


def _events(made: Made) -> Any:
    from edgeattn.report.perfetto import trace_events

    return trace_events(made.report)


def _profile(made: Made) -> Any:
    from edgeattn.report.trtexec import profile_json

    return profile_json(made.trace)


def _layers(made: Made) -> Any:
    from edgeattn.report.trtexec_layers import layer_info_json

    return layer_info_json(made.trace, made.information)


def _times(made: Made) -> Any:
    from edgeattn.report.trtexec import times_json

    return times_json(made.trace)


def print_history(console: Console, found: History) -> None:
    """Print latency by commit."""
    from edgeattn.report.history import lines

    for line in lines(found):
        console.print(line)


def print_report(console: Console, report: Report, *, top: int | None) -> None:
    """Print a report.

    Args:
        console: Where to.
        report: The report.
        top: How many sites are shown; None for all.
    """
    from edgeattn.report.table import lines

    for line in lines(report, top=top):
        console.print(line)


def print_sweep(console: Console, found: Sweep, *, top: int | None) -> None:
    """Print a sweep.

    Args:
        console: Where to.
        found: The sweep.
        top: How many rows of each device are shown; None for all.
    """
    from edgeattn.report.sweep_table import lines

    for line in lines(found, top=top):
        console.print(line)
