"""A group's fields become a command's options, and the command gets the group."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from edgeattn.cli.groups import grouped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option("--width", min=1)]
    height: Annotated[int, typer.Option("--height")] = 2


def make(seen):
    app = typer.Typer()

    @app.command()
    @grouped
    def draw(name: Annotated[str, typer.Argument()], size: Size, *, loud: bool = False) -> None:
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
