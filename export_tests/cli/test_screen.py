"""What is printed of names shows them as they are, and does nothing else."""

from __future__ import annotations

import pytest

from edgeattn.cli.screen import Screen
from edgeattn.report.grid import table


@pytest.mark.parametrize("cell", ["\x1b[31mred", "\u202egnp", ":smile:", "[bold]x[/bold]"])
def test_what_is_printed(capsys, cell):
    rows = table("name")
    rows.add_row(cell)

    def report(console):
        console.print(cell)
        console.print(rows)

    Screen().show({}, report)
    shown = cell.encode("unicode_escape").decode()
    assert capsys.readouterr().out.split() == [shown, "name", shown]
    Screen(json=True).show({"name": cell}, report)
    assert "name" in capsys.readouterr().out


def test_a_stage_is_shown_likewise(capsys):
    with Screen(verbose=True).working() as stage:
        stage("export \x1b[2J")
    assert capsys.readouterr().err == "edgeattn: export \\x1b[2J\n"
