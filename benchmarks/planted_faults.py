"""Whether the tests see faults: each of a table is planted alone, and its package's tests run.

    python benchmarks/planted_faults.py [-o faults.json] [--only NAME] [--ref COMMIT] [--jobs N]

The faults stand in planted_faults.toml, without the modules that they are in, so that they outlive
a move. Each is planted in a copy of the working tree, or of a commit with its own tests, and the
default tests of its package run there, up to the first that fails. Examples that tests draw are the
same each time. Prints which faults are caught, by which test, and which are missed.

Ends with 2 where a fault's text does not stand in edgeattn/ exactly once. Where a package's tests
fail without a fault, nothing is planted in it, and it ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_PYTEST: Final = ("pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--hypothesis-seed=0")
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_LONGEST_S: Final = 3600
_ENVIRONMENT: Final = ".venv"
# Maps the packages to the copy around an environment, as an editable installation does.
_FINDER: Final = """
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

ROOT = next(folder.parent for folder in Path(__file__).parents if folder.name == {environment!r})
FOLDERS = {{name: str(ROOT / place) for name, place in {places!r}.items()}}

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        folder = FOLDERS.get(name)
        return folder and spec_from_file_location(
            name, folder + "/__init__.py", submodule_search_locations=[folder]
        )

sys.meta_path.insert(0, Finder)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: `new` in the place of `old`, which the tests of `package` are to see."""

    name: str
    package: str
    old: str
    new: str

    def module(self, root: Path) -> Path:
        """Return the module that holds the old text.

        Raises:
            ValueError: The text does not stand in edgeattn/ exactly once.
        """
        paths = sorted((root / "edgeattn").rglob("*.py"))
        held = [path for path in paths for _ in range(path.read_text("utf-8").count(self.old))]
        if len(held) != 1:
            raise ValueError(f"{self.name}: this stands {len(held)} times, not once:\n{self.old}")
        return held[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run of a package's tests.

    Attributes:
        package: The package.
        fault: What was planted; "" for nothing.
        failed: The first test that failed; "" where all passed.
        seconds: How long they ran.
    """

    package: str
    fault: str
    failed: str
    seconds: float


def copy_repository(root: Path, ref: str | None, python: str) -> None:
    """Copy the working tree, or a commit, with an environment that imports edgeattn from it.

    Args:
        root: The folder to make.
        ref: The commit; None for the working tree.
        python: An interpreter that has what the tests need.
    """
    root.mkdir()
    if ref is None:
        for name in _output("git", "ls-files", "-coz", "--exclude-standard").split("\0"):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, root / name)
    else:
        _output("git", "archive", f"--output={root / 'ref.tar'}", ref)
        shutil.unpack_archive(root / "ref.tar", root, filter="data")
    _output(python, "-m", "venv", "--without-pip", str(root / _ENVIRONMENT))
    paths = _output(python, "-P", "-c", "import sys; print(*sys.path, sep='\\n')")
    site = _output(_python(root), "-c", "import sysconfig as s; print(s.get_path('purelib'))")
    Path(site, "planted.pth").write_text(f"import planted\n{paths}\n", "utf-8")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    places = project["tool"]["setuptools"]["package-dir"]
    finder = _FINDER.format(environment=_ENVIRONMENT, places=places)
    Path(site, "planted.py").write_text(finder, "utf-8")


def run_tests(root: Path, package: str, fault: str = "") -> Result:
    """Run the default tests of a package in a copy, up to the first that fails."""
    tests = ("-m", *_PYTEST, f"export_tests/{package}")
    settings = {**os.environ, "TMPDIR": str(root.parent)}
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [_python(root), *tests], cwd=root, env=settings, capture_output=True, text=True,
            timeout=_LONGEST_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        failed = f"no end within {_LONGEST_S} s"
    else:
        found = _FAILED.search(done.stdout)
        failed = "" if found is None else found[1]
        if bool(failed) != bool(done.returncode):
            raise RuntimeError(f"{package} {fault}:\n{done.stdout[-3000:]}{done.stderr}")
    seconds = round(time.perf_counter() - began, 1)
    return Result(package=package, fault=fault, failed=failed, seconds=seconds)


def plant(root: Path, fault: Fault) -> Result:
    """Run tests in another copy, with a fault.

    Args:
        root: A copy; what was compiled of it is taken along.
        fault: The fault.
    """
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        other = Path(folder, "planted")
        left = shutil.ignore_patterns(".hypothesis")
        shutil.copytree(root, other, symlinks=True, ignore=left)
        module = fault.module(other)
        module.write_text(module.read_text("utf-8").replace(fault.old, fault.new), "utf-8")
        return run_tests(other, fault.package, fault.name)


def _python(root: Path) -> str:
    return str(root / _ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python")


def _output(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def main() -> int:
    """Plant the faults one at a time, and say which are caught."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, help="write the results there, as JSON")
    parser.add_argument("--only", action="append", metavar="NAME", help="a fault, or a package")
    parser.add_argument("--ref", help="a commit to plant in, instead of the working tree")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs there are at once")
    parser.add_argument("--python", default=sys.executable, help="has what the tests need")
    asked = parser.parse_args()
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    faults = [
        Fault(name=name, package=package, old=old, new=new)
        for package, named in table.items()
        for name, (old, new) in named.items()
        if not asked.only or {name, package} & set(asked.only)
    ]
    packages = list(dict.fromkeys(fault.package for fault in faults))
    results: list[Result] = []

    def tell(result: Result) -> None:
        what = f"caught by {result.failed}" if result.failed else "missed"
        said = what if result.fault else result.failed or "passes"
        print(f"{result.package:10}{result.fault:28}{result.seconds:6.0f} s  {said}", flush=True)
        results.append(result)
        if asked.output is not None:
            told = json.dumps([asdict(one) for one in results], indent=1)
            asked.output.write_text(f"{told}\n", "utf-8")

    with (
        tempfile.TemporaryDirectory(prefix="edgeattn-faults-") as scratch,
        ThreadPoolExecutor(asked.jobs) as pool,
    ):
        root = Path(scratch, "copy")
        copy_repository(root, asked.ref, asked.python)
        try:
            for fault in faults:
                fault.module(root)
        except ValueError as error:
            parser.error(str(error))
        for result in pool.map(partial(run_tests, root), packages):
            tell(result)
        failing = {one.package for one in results if one.failed}
        faults = [fault for fault in faults if fault.package not in failing]
        for result in pool.map(partial(plant, root), faults):
            tell(result)
    caught = [one.package for one in results if one.fault and one.failed]
    all_of = [fault.package for fault in faults]
    each = (f"{one} {caught.count(one)} of {all_of.count(one)}" for one in dict.fromkeys(all_of))
    print(f"{len(caught)} of {len(faults)} faults are caught: {', '.join(each)}.")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
