"""edgeattn: what attention costs on edge devices, and how to make it cost less.

The public interface is imported when it is used, so that `import edgeattn` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgeattn.build import BuildOptions
    from edgeattn.build import build as build_engine
    from edgeattn.compare import compare as compare_models
    from edgeattn.engine.build import EngineOptions
    from edgeattn.engine.manifest import EngineManifest, read_manifest
    from edgeattn.engine.target import Target
    from edgeattn.engine.target import choose as choose_target
    from edgeattn.errors import CheckError, EdgeattnError, InputError, MissingError
    from edgeattn.export import ExportOptions
    from edgeattn.export import export as export_model
    from edgeattn.manifest import Manifest
    from edgeattn.models.source import AttentionRequest, ModelRequest
    from edgeattn.optimize import OptimizeOptions
    from edgeattn.optimize import optimize as optimize_model
    from edgeattn.parity import ParityReport, check_file, compare_files
    from edgeattn.precision.cast import CastOptions
    from edgeattn.precision.cast import cast as cast_model
    from edgeattn.profile import profile as profile_model
    from edgeattn.profiling.ledger import Ledger
    from edgeattn.profiling.ledger import ledger as ledger_of
    from edgeattn.profiling.options import Item as ProfileItem
    from edgeattn.profiling.options import ProfileOptions
    from edgeattn.profiling.trace import Trace

    __version__: str

__all__ = [
    "AttentionRequest",
    "BuildOptions",
    "CastOptions",
    "CheckError",
    "EdgeattnError",
    "EngineManifest",
    "EngineOptions",
    "ExportOptions",
    "InputError",
    "Ledger",
    "Manifest",
    "MissingError",
    "ModelRequest",
    "OptimizeOptions",
    "ParityReport",
    "ProfileItem",
    "ProfileOptions",
    "Target",
    "Trace",
    "__version__",
    "build_engine",
    "cast_model",
    "check_file",
    "choose_target",
    "compare_files",
    "compare_models",
    "export_model",
    "ledger_of",
    "optimize_model",
    "profile_model",
    "read_manifest",
]

# `edgeattn.export` and its like are modules: a function of the same name would be replaced by its
# module on the first import of that module, hence `export_model`.
_HOMES: Final = {
    "AttentionRequest": ("edgeattn.models.source", "AttentionRequest"),
    "BuildOptions": ("edgeattn.build", "BuildOptions"),
    "CastOptions": ("edgeattn.precision.cast", "CastOptions"),
    "CheckError": ("edgeattn.errors", "CheckError"),
    "EdgeattnError": ("edgeattn.errors", "EdgeattnError"),
    "EngineManifest": ("edgeattn.engine.manifest", "EngineManifest"),
    "EngineOptions": ("edgeattn.engine.build", "EngineOptions"),
    "ExportOptions": ("edgeattn.export", "ExportOptions"),
    "InputError": ("edgeattn.errors", "InputError"),
    "Ledger": ("edgeattn.profiling.ledger", "Ledger"),
    "Manifest": ("edgeattn.manifest", "Manifest"),
    "MissingError": ("edgeattn.errors", "MissingError"),
    "ModelRequest": ("edgeattn.models.source", "ModelRequest"),
    "OptimizeOptions": ("edgeattn.optimize", "OptimizeOptions"),
    "ParityReport": ("edgeattn.parity", "ParityReport"),
    "ProfileItem": ("edgeattn.profiling.options", "Item"),
    "ProfileOptions": ("edgeattn.profiling.options", "ProfileOptions"),
    "Target": ("edgeattn.engine.target", "Target"),
    "Trace": ("edgeattn.profiling.trace", "Trace"),
    "build_engine": ("edgeattn.build", "build"),
    "cast_model": ("edgeattn.precision.cast", "cast"),
    "check_file": ("edgeattn.parity", "check_file"),
    "choose_target": ("edgeattn.engine.target", "choose"),
    "compare_files": ("edgeattn.parity", "compare_files"),
    "compare_models": ("edgeattn.compare", "compare"),
    "export_model": ("edgeattn.export", "export"),
    "ledger_of": ("edgeattn.profiling.ledger", "ledger"),
    "optimize_model": ("edgeattn.optimize", "optimize"),
    "profile_model": ("edgeattn.profile", "profile"),
    "read_manifest": ("edgeattn.engine.manifest", "read_manifest"),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from edgeattn.versions import own_version

        return own_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeattn' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
