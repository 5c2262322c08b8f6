"""The package: what is installed where, what an import costs, and what the README says."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgeattn as package

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxruntime",
    "onnx_ir",
    "onnxsim",
    "numpy",
    "PIL",
    "matplotlib",
    "jinja2",
    "psutil",
)


def modules():
    names = [found.name for found in pkgutil.walk_packages(package.__path__, "edgeattn.")]
    for inner in ("cli", "profiles"):
        home = importlib.import_module(f"edgeattn.{inner}")
        names += [f"edgeattn.{inner}"]
        names += [found.name for found in pkgutil.walk_packages(home.__path__, home.__name__ + ".")]
    return sorted(set(names))


def test_every_module_imports_and_says_what_it_is_for():
    found = {name: importlib.import_module(name).__doc__ for name in modules()}
    assert len(found) > 300
    assert all(found.values()), [name for name, said in found.items() if not said]


def test_every_folder_of_code_is_packaged():
    homes = {"edgeattn": ROOT / "edgeattn", "cli": ROOT / "cli", "profiles": ROOT / "profiles"}
    found = {"edgeattn.cli", "edgeattn.profiles"}
    for name, home in homes.items():
        for file in home.rglob("*.py"):
            inside = file.parent.relative_to(home).parts
            prefix = ("edgeattn",) if name == "edgeattn" else ("edgeattn", name)
            found.add(".".join((*prefix, *inside)))
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == found


def isolated(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code where neither the current folder nor PYTHONPATH is imported from."""
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd="/", check=False
    )


def test_no_top_level_package_but_ours_is_installed():
    code = (
        "import importlib.util as u\n"
        "print([n for n in ('cli', 'profiles', 'export_tests', 'benchmarks', 'edgeattn',"
        " 'edgeattn.cli', 'edgeattn.profiles') if u.find_spec(n)])"
    )
    run = isolated(code)
    assert run.stdout.strip() == "['edgeattn', 'edgeattn.cli', 'edgeattn.profiles']", run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        *(
            [*command.split(), "--help"]
            for command in (
                "export",
                "optimize",
                "cast",
                "build",
                "inspect",
                "profile",
                "compare",
                "report",
                "parity",
                "doctor",
                "list",
                "list models",
                "list attentions",
                "list rules",
                "devices",
                "devices list",
                "devices show",
                "devices calibrate",
            )
        ),
    ],
)
def test_help_needs_none_of_the_heavy_libraries(arguments):
    """Only what Typer itself imports; its newer releases import pydantic, and rich is ours."""
    code = (
        "import sys\n"
        f"for name in {(*HEAVY, 'rich')!r}: sys.modules[name] = None\n"
        f"sys.argv = ['edgeattn', *{arguments!r}]\n"
        "from edgeattn.cli.app import main\n"
        "main()\n"
    )
    run = isolated(code)
    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert run.stderr == ""


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, edgeattn\n"
        "edgeattn.base.errors if hasattr(edgeattn, 'errors') else None\n"
        f"print([n for n in {(*HEAVY, 'rich', 'typer', 'pydantic')!r} if n in sys.modules])"
    )
    run = isolated(code)
    assert run.stdout.strip() == "[]", run.stderr


def test_the_options_are_declared_without_the_command_line():
    code = (
        "import sys, pkgutil, importlib, edgeattn.options as o\n"
        "[importlib.import_module('edgeattn.options.' + m.name)"
        " for m in pkgutil.iter_modules(o.__path__)]\n"
        f"print([n for n in {(*HEAVY, 'rich', 'typer', 'pydantic')!r} if n in sys.modules])"
    )
    run = isolated(code)
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.parametrize("name", package.__all__)
def test_the_public_interface_is_there(name):
    assert getattr(package, name) is not None
    assert name in dir(package)


def test_what_is_not_public_is_refused_by_name():
    with pytest.raises(AttributeError, match="no_such_thing"):
        package.no_such_thing  # noqa: B018  # the access is the test


def test_versions_agree():
    version = SETTINGS["project"]["version"]
    assert importlib.metadata.version("edgeattn") == version
    assert package.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_readme_has_its_two_commands():
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert [block.strip() for block in blocks if "pip install" in block] == [
        "python -m pip install . && edgeattn export resnet50 --attention ulsam --opset 17",
        "python -m pip install -e '.[test]' && python -m pytest",
    ]


def test_ci_takes_its_commands_from_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -e" not in script
    assert "README.md" in script
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0


def test_the_entry_point_is_the_error_boundary():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="edgeattn")
    from edgeattn.cli.app import main

    assert script.load() is main
    assert shlex.split(README.split("&& ")[1].splitlines()[0])[0] == script.name
