"""edgeattn: what attention costs on edge devices, and how to make it cost less.

The public interface is imported when it is used, so that `import edgeattn` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgeattn.base.errors import CheckError, EdgeattnError, InputError, MissingError
    from edgeattn.engine.target import Target
    from edgeattn.engine.target import choose as choose_target
    from edgeattn.options.build import EngineOptions
    from edgeattn.options.cast import CastOptions
    from edgeattn.options.check import CheckOptions
    from edgeattn.options.evaluate import EvaluateOptions
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.options.optimize import OptimizeOptions
    from edgeattn.options.place import PlaceOptions
    from edgeattn.options.profile import Item as ProfileItem
    from edgeattn.options.profile import ProfileOptions
    from edgeattn.options.sweep import SweepOptions
    from edgeattn.parity import ParityReport, check_file, compare_files
    from edgeattn.profiling.attribution import Attribution, attribute
    from edgeattn.records.accuracy import Accuracy
    from edgeattn.records.check import Checked
    from edgeattn.records.engine import EngineManifest, read_manifest
    from edgeattn.records.manifest import Manifest
    from edgeattn.records.place import Placement
    from edgeattn.records.sweep import SweepRow
    from edgeattn.records.trace import Trace
    from edgeattn.workflows.build import BuildOptions
    from edgeattn.workflows.build import build as build_engine
    from edgeattn.workflows.cast import cast as cast_model
    from edgeattn.workflows.check import check as check_model
    from edgeattn.workflows.compare import compare as compare_models
    from edgeattn.workflows.evaluate import evaluate as evaluate_models
    from edgeattn.workflows.export import export as export_model
    from edgeattn.workflows.optimize import optimize as optimize_model
    from edgeattn.workflows.place import place as place_attention
    from edgeattn.workflows.profile import profile as profile_model
    from edgeattn.workflows.sweep import sweep as sweep_models
    from edgeattn.workflows.sweep_plan import Common as SweepCommon

    __version__: str

__all__ = [
    "Accuracy",
    "AttentionRequest",
    "Attribution",
    "BuildOptions",
    "CastOptions",
    "CheckError",
    "CheckOptions",
    "Checked",
    "EdgeattnError",
    "EngineManifest",
    "EngineOptions",
    "EvaluateOptions",
    "ExportOptions",
    "InputError",
    "Manifest",
    "MissingError",
    "ModelRequest",
    "OptimizeOptions",
    "ParityReport",
    "PlaceOptions",
    "Placement",
    "ProfileItem",
    "ProfileOptions",
    "SweepCommon",
    "SweepOptions",
    "SweepRow",
    "Target",
    "Trace",
    "__version__",
    "attribute",
    "build_engine",
    "cast_model",
    "check_file",
    "check_model",
    "choose_target",
    "compare_files",
    "compare_models",
    "evaluate_models",
    "export_model",
    "optimize_model",
    "place_attention",
    "profile_model",
    "read_manifest",
    "sweep_models",
]

# A function named `export` would be taken for the module of that name, hence `export_model`.
_HOMES: Final = {
    "Accuracy": ("edgeattn.records.accuracy", "Accuracy"),
    "AttentionRequest": ("edgeattn.options.model", "AttentionRequest"),
    "BuildOptions": ("edgeattn.workflows.build", "BuildOptions"),
    "CastOptions": ("edgeattn.options.cast", "CastOptions"),
    "CheckError": ("edgeattn.base.errors", "CheckError"),
    "CheckOptions": ("edgeattn.options.check", "CheckOptions"),
    "Checked": ("edgeattn.records.check", "Checked"),
    "EdgeattnError": ("edgeattn.base.errors", "EdgeattnError"),
    "EngineManifest": ("edgeattn.records.engine", "EngineManifest"),
    "EngineOptions": ("edgeattn.options.build", "EngineOptions"),
    "EvaluateOptions": ("edgeattn.options.evaluate", "EvaluateOptions"),
    "ExportOptions": ("edgeattn.options.export", "ExportOptions"),
    "InputError": ("edgeattn.base.errors", "InputError"),
    "Attribution": ("edgeattn.profiling.attribution", "Attribution"),
    "Manifest": ("edgeattn.records.manifest", "Manifest"),
    "MissingError": ("edgeattn.base.errors", "MissingError"),
    "ModelRequest": ("edgeattn.options.model", "ModelRequest"),
    "OptimizeOptions": ("edgeattn.options.optimize", "OptimizeOptions"),
    "ParityReport": ("edgeattn.parity", "ParityReport"),
    "PlaceOptions": ("edgeattn.options.place", "PlaceOptions"),
    "Placement": ("edgeattn.records.place", "Placement"),
    "ProfileItem": ("edgeattn.options.profile", "Item"),
    "ProfileOptions": ("edgeattn.options.profile", "ProfileOptions"),
    "SweepCommon": ("edgeattn.workflows.sweep_plan", "Common"),
    "SweepOptions": ("edgeattn.options.sweep", "SweepOptions"),
    "SweepRow": ("edgeattn.records.sweep", "SweepRow"),
    "Target": ("edgeattn.engine.target", "Target"),
    "Trace": ("edgeattn.records.trace", "Trace"),
    "build_engine": ("edgeattn.workflows.build", "build"),
    "cast_model": ("edgeattn.workflows.cast", "cast"),
    "check_file": ("edgeattn.parity", "check_file"),
    "check_model": ("edgeattn.workflows.check", "check"),
    "choose_target": ("edgeattn.engine.target", "choose"),
    "compare_files": ("edgeattn.parity", "compare_files"),
    "compare_models": ("edgeattn.workflows.compare", "compare"),
    "evaluate_models": ("edgeattn.workflows.evaluate", "evaluate"),
    "export_model": ("edgeattn.workflows.export", "export"),
    "attribute": ("edgeattn.profiling.attribution", "attribute"),
    "optimize_model": ("edgeattn.workflows.optimize", "optimize"),
    "place_attention": ("edgeattn.workflows.place", "place"),
    "profile_model": ("edgeattn.workflows.profile", "profile"),
    "sweep_models": ("edgeattn.workflows.sweep", "sweep"),
    "read_manifest": ("edgeattn.records.engine", "read_manifest"),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from edgeattn.base.versions import own_version

        return own_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeattn' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
