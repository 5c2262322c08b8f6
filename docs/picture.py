"""Draw the pictures of the pages: what commands print.

python docs/picture.py [NAME …]
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = 110
# What a table of sites takes.
WIDER = {"profile": 150}
# By the picture's name, commands that run in one folder; the last of them is shown.
PICTURES = {
    "export": ["edgeattn export resnet18 --attention simam --opset 13"],
    "diff": [
        "edgeattn export resnet18 --attention ulsam --no-lower -o stock.onnx",
        "edgeattn export resnet18 --attention ulsam -o lowered.onnx",
        "edgeattn build stock.onnx --device jetson --plan",
        "edgeattn build lowered.onnx --device jetson --plan",
        "edgeattn inspect stock.plan-sm86.engine --diff lowered.plan-sm86.engine",
    ],
    "profile": [
        "edgeattn export resnet50 --attention simam --at block-end --target onnxruntime",
        "edgeattn profile resnet50-simam.onnx --figure hidden-cost=flops.svg --top 6",
    ],
}


def main() -> None:
    """Run the commands and draw what the last of each picture printed; of those named, or all."""
    from rich.console import Console
    from rich.text import Text

    for name in sys.argv[1:] or PICTURES:
        commands = PICTURES[name]
        with tempfile.TemporaryDirectory() as folder:
            width = WIDER.get(name, COLUMNS)
            for command in commands:
                printed = run(command, folder, width)
            for figure in Path(folder).glob("*.svg"):
                shutil.copy(figure, Path(__file__).parent)
        console = Console(record=True, width=width, file=io.StringIO())
        console.print(Text(f"$ {commands[-1]}", style="bold"))
        console.print(Text.from_ansi(printed))
        target = Path(__file__).with_name(f"{name}.svg")
        title = " ".join(commands[-1].split()[:2])
        target.write_text(console.export_svg(title=title), encoding="utf-8")


def run(command: str, folder: str, width: int) -> str:
    """Run a command of edgeattn in a folder, and return what it printed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("edgeattn")), *shlex.split(command)[1:]],
        cwd=folder,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(width)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
