"""The commands, in the order in which help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeattn.base.versions import own_version

from . import (
    build,
    cast,
    check,
    compare,
    devices,
    doctor,
    evaluate,
    export,
    inspect,
    optimize,
    parity,
)
from . import list as listing
from . import place as placing
from . import profile as profiling
from . import report as reporting
from . import sweep as sweeping

app = typer.Typer(
    name="edgeattn",
    help=(
        "Export attention-augmented CNNs for edge devices, and prove them equal.\n\n"
        "Exit codes: 0 done; 1 a check failed; 2 a usage or input error; 3 something needed is"
        " not here; 70 a fault of ours."
    ),
    rich_markup_mode=None,  # plain help costs a third of what rich's costs
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(export.export)
app.command()(optimize.optimize)
app.command()(cast.cast)
app.command()(check.check)
app.command()(build.build)
app.command()(inspect.inspect)
app.command()(profiling.profile)
app.command()(compare.compare)
app.command()(sweeping.sweep)
app.command()(placing.place)
app.command()(reporting.report)
app.command()(parity.parity)
app.command()(evaluate.evaluate)
app.add_typer(listing.app)
app.add_typer(devices.app)
app.command()(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        print(own_version())
        raise typer.Exit


@app.callback()
def edgeattn(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command; --version acts as it is read."""
