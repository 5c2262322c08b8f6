"""Imports a user's own Python file as its author does: alone, or as a part of its packages.

What a file is a part of is told without running it. It is in a package where `__init__.py` lies
beside it, or where it imports relatively; the package's own folder is then one to import from. So
is the nearest folder above that holds what the file imports absolutely and has not beside it:
`models/yolo.py` says `from models.common import …`, and is run from the folder above.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Final

_STDLIB: Final = Path(sysconfig.get_path("stdlib")).resolve()
_INSTALLED: Final = {"site-packages", "dist-packages"}

_folders: set[Path] = set()
"""Folders that were added to import from: what they hold may hide another's of the same name."""

_kept: list[str] = []
"""What was added to `sys.path`, the latest first: a forward() may import what lies there."""

_changed_ns: dict[str, int] = {}
"""When a file that was imported had been changed, by its module's name."""


def import_file(path: Path) -> ModuleType:
    """Import a file as it is now, inside `importable` only."""
    path = path.resolve()
    try:
        package = _package(path)
    except Exception:
        if any(_levels(path)):
            raise
        package = ""  # as `python path` would, which runs no package
    if path.stem == "__init__" and package:
        return sys.modules[package]
    name = f"{package}.{path.stem}" if package else f"_edgeattn_model_{_digest(path)}"
    changed_ns = path.stat().st_mtime_ns
    # A file is not run again as long as it is the same: it may register what it defines.
    if name not in sys.modules or _changed_ns.get(name, changed_ns) != changed_ns:
        module = _run(name, path)
        if package:
            setattr(sys.modules[package], path.stem, module)
    _changed_ns[name] = changed_ns
    return sys.modules[name]


@contextmanager
def importable(path: Path) -> Iterator[None]:
    """Let a file import what its author does, while it is read and when its model is run."""
    path = path.resolve()
    entries = list(dict.fromkeys([_package_root(path), path.parent, *_folders_above(path)]))
    _forget(_folders - set(entries))
    new = [entry for entry in entries if str(entry) not in sys.path or str(entry) in _kept]
    _folders.update(new)
    sys.path[:0] = map(str, entries)
    try:
        yield
    finally:
        for entry in entries:
            with suppress(ValueError):  # the user's code may have taken it away
                sys.path.remove(str(entry))
        for entry in reversed(new):
            _keep(str(entry))


def with_imports(path: Path) -> list[Path]:
    """Return a file, and the author's others that it imports, and those in turn.

    That is told without running them: what is imported by a name that is computed is not seen.
    Of a library, the file alone: its versions tell the others.
    """
    home, found, left = path.resolve().parent, dict[Path, None](), [path.resolve()]
    while left:
        one = left.pop()
        if one not in found:
            found[one] = None
            is_library = one.is_relative_to(_STDLIB) or _INSTALLED & {*one.parts}
            left += [] if is_library else _imported(one)
    # Named from where the file is, as it is: the same folder elsewhere is the same.
    return [path.parent / os.path.relpath(one, home) for one in found]


def _imported(path: Path) -> Iterator[Path]:
    """Yield the files that a file imports from its author's folders."""
    roots = list(dict.fromkeys([_package_root(path), path.parent, *_folders_above(path)]))
    for node in _imports(path):
        if isinstance(node, ast.Import):
            folders, names = roots, [one.name for one in node.names]
        else:
            folders = [path.parents[node.level - 1]] if node.level else roots
            names = [".".join(filter(None, [node.module, one.name])) for one in node.names]
        for folder, name in product(folders, names):
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                place = folder.joinpath(*parts[:count])
                for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                    if file.is_file():
                        yield file.resolve()


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]


def _run(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look their module up while it is imported
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(path: Path) -> str:
    """Import the package that a file is in, and return its name; "" if it is in none."""
    packages = path.parent.relative_to(root := _package_root(path)).parts
    if not packages:
        return ""
    package = ".".join([_top_package(root / packages[0]), *packages[1:]])
    importlib.import_module(package)
    return package


def _top_package(folder: Path) -> str:
    """Import the outermost package, and return its name.

    That is its folder's, unless a library has it: then one of its own, under which at least the
    relative imports of the package hold.
    """
    name = folder.name
    loaded = sys.modules.get(name)
    if loaded is not None and folder in map(Path, getattr(loaded, "__path__", ())):
        return name
    if loaded is not None or name in sys.stdlib_module_names or not name.isidentifier():
        name = f"_edgeattn_package_{_digest(folder)}"
    if name in sys.modules:
        return name
    if (init := folder / "__init__.py").is_file():
        _run(name, init)
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def _package_root(path: Path) -> Path:
    """Return the folder that the outermost package of a file lies in, or else its own."""
    root = path.parent
    while (root / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    highest = path.parents[min(max(_levels(path), default=0), len(path.parents) - 1)]
    return highest if root.is_relative_to(highest) else root


def _levels(path: Path) -> list[int]:
    """Return the number of dots of everything that a file imports from."""
    return [node.level for node in _imports(path) if isinstance(node, ast.ImportFrom)]


def _folders_above(path: Path) -> Iterator[Path]:
    """Yield the nearest folder above a file for each thing that it imports from there."""
    names: list[str] = []
    for node in _imports(path):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif not node.level:
            names.append(node.module or "")
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        if not (_is_known(name) or _holds(path.parent, name)):
            yield from [above for above in path.parents[1:-1] if _holds(above, name)][:1]


def _is_known(name: str) -> bool:
    """Return whether a module is Python's, or one of a library that is loaded already."""
    loaded = sys.modules.get(name)
    return name in sys.stdlib_module_names or (loaded is not None and _home(loaded) not in _folders)


def _holds(folder: Path, name: str) -> bool:
    """Return whether a folder has a module of this name that Python would take from there."""
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return True
    is_folder = (folder / name).is_dir()
    return is_folder and (name in sys.modules or importlib.util.find_spec(name) is None)


def _imports(path: Path) -> Sequence[ast.Import | ast.ImportFrom]:
    try:
        return _imports_of(path, path.stat().st_mtime_ns)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return []  # it is imported next, and says what is wrong


@lru_cache
def _imports_of(path: Path, _changed_ns: int) -> Sequence[ast.Import | ast.ImportFrom]:
    tree = ast.parse(path.read_bytes())
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def _home(module: ModuleType) -> Path | None:
    """Return the folder that a top-level module was imported from."""
    places = list(getattr(module, "__path__", None) or [getattr(module, "__file__", None)])
    return Path(places[0]).parent if places and isinstance(places[0], str) else None


def _forget(folders: set[Path]) -> None:
    """Forget the modules of other models: their `blocks.py` is not this one's."""
    gone = {
        name
        for name, module in list(sys.modules.items())
        if "." not in name and isinstance(module, ModuleType) and _home(module) in folders
    }
    for name in list(sys.modules):
        if name.partition(".")[0] in gone:
            del sys.modules[name]


def _keep(entry: str) -> None:
    """Leave a folder importable, behind everything installed, which it is not to hide from us.

    The latest folder stands before earlier ones, for its model is the one in use.
    """
    if entry in _kept:
        _kept.remove(entry)
        if entry in sys.path:
            sys.path.remove(entry)
    if entry in sys.path:  # not added here
        return
    earlier = [kept for kept in _kept if kept in sys.path]
    sys.path.insert(sys.path.index(earlier[0]) if earlier else len(sys.path), entry)
    _kept.insert(0, entry)
