"""Heavy libraries are imported where they are used; import-linter checks the order of layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {
    "matplotlib", "onnxruntime", "onnxscript", "onnxsim", "tensorrt", "tensorrt_rtx", "timm",
    "torch", "torchvision",
}  # fmt: skip
# torch code: nothing imports it before it needs torch itself.
TORCH_CODE = (
    "edgeattn/attention/",
    "edgeattn/models/",
    "edgeattn/base/torchvision_ops.py",
    "edgeattn/parity/randomise.py",
    "edgeattn/parity/rounding.py",
    "edgeattn/profiling/measure/torch/",
    "edgeattn/report/plots/",  # what draws figures, by matplotlib
)


def heavy(text: str) -> set[str]:
    """The heavy libraries that a source imports when it is itself imported."""
    found = set()
    for node in at_once(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found} & HEAVY


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_once(child)


def test_imports_are_seen():
    text = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "try:\n    import timm.layers\nexcept ImportError:\n    pass\n"
        "def f():\n    import onnxruntime\n"
    )
    assert heavy(text) == {"timm"}


def test_heavy_libraries_are_imported_where_they_are_used():
    paths = sorted(path for top in ("edgeattn", "cli") for path in (ROOT / top).rglob("*.py"))
    assert len(paths) > 300
    found = {
        name: said
        for path in paths
        if not (name := str(path.relative_to(ROOT))).startswith(TORCH_CODE)
        and (said := heavy(path.read_text(encoding="utf-8")))
    }
    assert not found, "import these inside the function that uses them, or add to TORCH_CODE"
