"""Draws docs/export.svg, the picture in the README: what `edgeattn export` prints.

python docs/picture.py
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = ["edgeattn", "export", "resnet18", "--attention", "simam", "--opset", "13"]
COLUMNS = 96


def main() -> None:
    """Runs the command and draws what it printed."""
    from rich.console import Console
    from rich.text import Text

    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("edgeattn")), *COMMAND[1:]],
            cwd=folder,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)},
            capture_output=True,
            text=True,
            check=True,
        )
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ {' '.join(COMMAND)}", style="bold"))
    console.print(Text.from_ansi(done.stdout))
    target = Path(__file__).with_name("export.svg")
    target.write_text(console.export_svg(title="edgeattn export"), encoding="utf-8")


if __name__ == "__main__":
    main()
