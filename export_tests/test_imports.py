"""The design's rules 1 and 2: who may import what, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "timm", "onnxruntime", "onnxsim", "tensorrt", "tensorrt_rtx"}
LEAVES = {"edgeattn.errors", "edgeattn.manifest", "edgeattn.nearest", "edgeattn.versions",
          "edgeattn.graph.kinds", "edgeattn.profiling.trace"}  # fmt: skip
# What is drawn up of traces, whoever measured or predicted them.
OF_TRACES = {
    f"edgeattn/profiling/{name}.py"
    for name in ("trace", "samples", "owners", "marginal", "sums", "reconciliation", "ledger")
}
# torch code: nothing imports it before it needs torch itself.
TORCH_CODE = {"edgeattn/torchvision_ops.py"}


def sources(folder: str) -> list[str]:
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imports(path: str, *, at_once: bool = False) -> set[str]:
    """The modules that a file imports, anywhere in it or only when it is itself imported."""
    package = ["edgeattn", *Path(path).parts[:-1]] if path.startswith("cli") else []
    package = package or list(Path(path).parts[:-1])
    found = set()
    for node in statements(ast.parse((ROOT / path).read_text(encoding="utf-8")), at_once=at_once):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*home, *filter(None, [node.module])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def statements(node: ast.AST, *, at_once: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if at_once and (later or is_for_types(child)):
            continue
        yield child
        yield from statements(child, at_once=at_once)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def tops(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_imports_are_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "edgeattn" / "graph").mkdir(parents=True)
    (tmp_path / "edgeattn" / "graph" / "one.py").write_text(
        "import json\n"
        "from typing import TYPE_CHECKING\n"
        "from . import two\n"
        "from ..attention import se\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "try:\n    import timm.layers\nexcept ImportError:\n    pass\n"
        "def f():\n    import onnxruntime\n"
    )
    path = "edgeattn/graph/one.py"
    assert {"edgeattn.graph.two", "edgeattn.attention.se", "timm.layers"} <= imports(path)
    assert HEAVY & tops(imports(path)) == {"torch", "timm", "onnxruntime"}
    assert HEAVY & tops(imports(path, at_once=True)) == {"timm"}


@pytest.mark.parametrize("module", sorted(LEAVES))
def test_values_and_errors_know_nothing_of_ours(module):
    path = f"{module.replace('.', '/')}.py"
    ours = {name for name in imports(path) if name.startswith("edgeattn")}
    assert all(any(name.startswith(leaf) for leaf in LEAVES) for name in ours), ours


@pytest.mark.parametrize("path", [*sources("edgeattn"), *sources("profiles")])
def test_nothing_imports_the_command_line(path):
    assert not {name for name in imports(path) if name.startswith(("edgeattn.cli", "cli"))}


@pytest.mark.parametrize("path", sources("edgeattn/attention"))
def test_attention_knows_nothing_of_onnx_nor_of_models(path):
    assert not {name for name in tops(imports(path)) if name.startswith("onnx")}
    assert not {name for name in imports(path) if name.startswith("edgeattn.models")}


@pytest.mark.parametrize(
    "path",
    [*sources("edgeattn/graph"), *sources("edgeattn/legalise"), *sources("edgeattn/lowering")],
)
def test_what_rewrites_graphs_needs_neither_torch_nor_a_runtime(path):
    assert not tops(imports(path)) & (HEAVY - {"onnxsim"})


@pytest.mark.parametrize("path", [*sorted(OF_TRACES), *sources("edgeattn/report")])
def test_the_ledger_and_reports_take_traces_and_never_runtimes(path):
    ours = {name for name in imports(path) if name.startswith("edgeattn.profiling")}
    drawn_up = {Path(one).stem for one in OF_TRACES}
    assert {name.split(".")[2] for name in ours if name.count(".") > 1} <= drawn_up
    assert not tops(imports(path)) & (HEAVY | {"psutil"})


@pytest.mark.parametrize(
    "path",
    [
        *(path for path in sources("edgeattn") if Path(path).parent.name == "edgeattn"),
        *sources("cli"),
        *sources("edgeattn/graph"),
        *sources("edgeattn/legalise"),
    ],
)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    if path not in TORCH_CODE:
        assert not tops(imports(path, at_once=True)) & HEAVY
