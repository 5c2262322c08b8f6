"""The flags of a dataclass become a command's options, and the command gets the dataclass."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from edgeattn.cli.groups import Asked, grouped
from edgeattn.options.flags import Flag, flag, flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    width: int = flag("--width -w", "How wide.", default=dataclasses.MISSING, min=1)
    height: float | None = flag("--height", "How high.")
    depth: int = flag("--depth", "How deep. [7]", default=7, takes=int)
    colours: tuple[str, ...] = flag("--colour", "Any number.", default=())
    filled: bool = flag("--no-fill", "Only its edge.", default=True)
    dash: tuple[int, ...] = flag(
        "--dash", "On, off.", default=(), read=lambda texts: tuple(map(int, texts))
    )
    at: tuple[str, ...] = flags(
        Flag("--left", "From the left."),
        Flag("--top", "From the top."),
        default=(),
        read=lambda left, top: (*left, "|", *top),
    )
    unit: str = "mm"


def make(seen):
    app = typer.Typer()

    @app.command()
    @grouped
    def draw(
        name: Annotated[str, typer.Argument()],
        size: Size,
        *,
        loud: Annotated[bool, Flag("--loud -l", "With a bang.")] = False,
    ) -> None:
        """Draw it."""
        seen.append((name, size, loud))

    return app


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["box", "--width", "3"], ("box", Size(width=3), False)),
        (
            ["--width", "3", "--height", "4", "box", "--loud"],
            ("box", Size(width=3, height=4), True),
        ),
        (
            ["box", "-w1", "--depth", "2", "--colour", "red", "--colour", "blue", "--no-fill"],
            ("box", Size(width=1, depth=2, colours=("red", "blue"), filled=False), False),
        ),
        (
            ["box", "-w1", "--dash", "3", "--dash", "1", "--top", "a"],
            ("box", Size(width=1, dash=(3, 1), at=("|", "a")), False),
        ),
    ],
)
def test_the_command_gets_the_group(arguments, expected):
    seen = []
    result = CliRunner().invoke(make(seen), arguments)
    assert result.exit_code == 0, result.output
    assert seen == [expected]


@pytest.mark.parametrize("arguments", [["box"], ["box", "--width", "0"], ["--width", "3"]])
def test_what_the_options_demand_is_still_demanded(arguments):
    seen = []
    assert CliRunner().invoke(make(seen), arguments).exit_code == 2
    assert seen == []


def test_help_is_the_commands():
    assert "Draw it." in CliRunner().invoke(make([]), ["--help"]).output


def asked_of(arguments):
    app, seen = typer.Typer(), []

    @app.command()
    @grouped
    def draw(
        some: Annotated[Asked[Size], ("height", "dash")],
        rest: Annotated[Asked[Size], ("no_fill", "depth")],
    ) -> None:
        seen.append((some, rest))

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (found,) = seen
    return found


def test_what_is_asked_is_read_when_it_is_wanted():
    some, rest = asked_of(["--height", "2", "--dash", "x", "--depth", "7", "--no-fill"])
    assert set(some.values) == {"height", "dash"}
    assert some.given() == {"height", "dash"}
    assert rest.given() == {"depth", "no_fill"}
    assert some.value("height") == 2
    assert (some | rest).value("filled") is False
    read = (some | rest).read(width=1, dash=(), unit="m")
    assert read == Size(width=1, height=2, filled=False, unit="m")
    with pytest.raises(ValueError, match="x"):
        some.read(width=1)


def test_nothing_asked_is_every_default():
    some, rest = asked_of([])
    assert (some | rest).given() == set()
    assert (some | rest).read(width=1) == Size(width=1)
    assert rest.value("depth") == 7
