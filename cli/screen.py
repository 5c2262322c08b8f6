"""What the user sees: stages on stderr while work goes on, one result on stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import typer

from edgeattn.base import signals
from edgeattn.base.legible import legible, shortened
from edgeattn.base.rooms import LeftoverWarning
from edgeattn.options.flags import switch

from .app import BROKEN_PIPE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Wide enough for a table of sites where no terminal says how wide it is: a file, a pipe.
_WIDTH_OF_A_FILE: Final = 160

# How far a stage is: its number, and how many there are.
_COUNT: Final = re.compile(r"\b(\d+)/(\d+)\b")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """How much a command says, and in which form: the options that every command has."""

    json: bool = switch("--json", "One JSON document on stdout.")
    verbose: bool = switch("--verbose -v", "Stages, warnings, and tracebacks of faults.")
    quiet: bool = switch("--quiet -q", "No progress and no report.")

    @contextlib.contextmanager
    def working(self) -> Iterator[Callable[[str], None]]:
        """Wrap a command's work: libraries are kept quiet, and stdout is kept for the result.

        Yields:
            A function that says which stage begins.
        """
        with contextlib.ExitStack() as stack:
            if not self.verbose:
                stack.enter_context(_native_code_quiet())
            stack.enter_context(_warnings(shown=self.verbose))
            stack.enter_context(_stdout_reserved())
            show = stack.enter_context(self._stages())

            def stage(name: str) -> None:
                signals.check()  # a library may have swallowed a Ctrl-C
                show(shortened(legible(name)))

            yield stage

    def show(self, document: Any, report: Callable[[Console], None]) -> None:
        """Print the result on stdout.

        Args:
            document: What `--json` prints: a pydantic model, or anything that JSON can say.
            report: Prints the same for people.
        """
        if self.quiet and not self.json:
            return
        text = _to_json(document) + "\n" if self.json else _rendered(report)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read us has seen enough, as in `edgeattn list models | head`.
            raise typer.Exit(BROKEN_PIPE) from None

    @contextlib.contextmanager
    def _stages(self) -> Iterator[Callable[[str], None]]:
        if self.quiet or not (self.verbose or sys.stderr.isatty()):
            yield _say_nothing
        elif self.verbose:
            # Plain lines: warnings and logs would tear a moving one apart.
            yield lambda name: print(f"edgeattn: {name}", file=sys.stderr, flush=True)
        else:
            with _progress() as update:
                yield update


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show the stage that goes on, and a bar where it says how far it is, as in `build 3/16`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    # Seldom, because what is measured meanwhile has the same cores.
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("starting", total=None)

        def update(name: str) -> None:
            progress.update(task, description=name)
            if count := _COUNT.search(name):
                progress.update(task, completed=int(count[1]), total=int(count[2]))

        yield update


def _say_nothing(name: str) -> None:
    """Take the place of a progress display."""


def _rendered(report: Callable[[Console], None]) -> str:
    from rich.console import Console

    class Legible(Console):
        """Every text that is printed, and every cell of a table, comes through here."""

        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(shortened(legible(text)), **how)

    # Paths and shapes hold brackets and colons, which are no markup and no emoji.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_A_FILE
    console = Legible(file=sys.stdout, markup=False, emoji=False, highlight=False, width=width)
    with console.capture() as captured:
        report(console)
    return captured.get()


def _to_json(document: Any) -> str:
    to_json = getattr(document, "model_dump_json", None)  # pydantic, without importing it
    if to_json is not None:
        text: str = to_json(indent=2)
        return text
    # JSON has no NaN and no infinity: allow_nan=False makes writing one a fault that is seen.
    return json.dumps(document, indent=2, allow_nan=False)


@contextlib.contextmanager
def _warnings(*, shown: bool) -> Iterator[None]:
    """Keep libraries quiet unless they are to be shown; say what a killed run had left."""
    before = logging.root.manager.disable
    if not shown:
        logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            if not shown:
                warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=LeftoverWarning)
            show_others = warnings.showwarning

            def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
                if category is LeftoverWarning:
                    print(f"edgeattn: {message}", file=sys.stderr, flush=True)
                else:
                    show_others(message, category, *where)

            warnings.showwarning = show  # type: ignore[assignment]  # where it is, is handed on
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _native_code_quiet() -> Iterator[None]:
    """Keep what native code, and child processes, write to stderr from it; Python still writes.

    ONNX Runtime logs what it raises too, in colour.
    """
    sys.stderr.flush()
    if not _is_descriptor(sys.stderr, 2):
        yield
        return
    with contextlib.ExitStack() as stack:
        saved = os.dup(2)
        stack.callback(os.close, saved)
        encoding = sys.stderr.encoding
        own = os.fdopen(saved, "w", 1, encoding=encoding, errors="replace", closefd=False)
        stack.callback(own.flush)
        stack.enter_context(contextlib.redirect_stderr(own))
        stack.callback(os.dup2, saved, 2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield


@contextlib.contextmanager
def _stdout_reserved() -> Iterator[None]:
    """Send to stderr whatever libraries print, in Python, in C, or in child processes."""
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if _is_descriptor(sys.__stdout__, 1):
            saved = os.dup(1)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 1)
            os.dup2(2, 1)
        yield


def _is_descriptor(stream: Any, number: int) -> bool:
    """Return whether a stream writes to this file descriptor; a closed one does not."""
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False
