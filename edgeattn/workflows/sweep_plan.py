"""What a sweep has to do: its jobs, each with a key of all that decides its result.

A job is a model at one place, in one precision. Those of one export share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import edgeattn
from edgeattn.attention import registry
from edgeattn.base import files, importing
from edgeattn.base.errors import InputError
from edgeattn.base.versions import installed, version_of
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.visit import Guest
from edgeattn.lowering.target import check as check_target
from edgeattn.lowering.target import is_rtx_generation
from edgeattn.models.origins import files_of
from edgeattn.options.cast import RANDOM, CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest, check_labels
from edgeattn.options.precision import several
from edgeattn.options.profile import ProfileOptions
from edgeattn.options.sweep import STOCK, SweepOptions
from edgeattn.profiling.route import check_runtimes
from edgeattn.records.sweep import label_of, made_of
from edgeattn.runtimes.runner import cpu_name
from edgeattn.workflows.artifact import check_opset
from edgeattn.workflows.compare import Casting

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: What a device's engine can be predicted for.
_ENGINES: Final = ("tensorrt", "tensorrt-rtx")
# Distributions that decide what is found, beside those that decide an export.
_RUNNING: Final = ("tensorrt-rtx", "openvino")
# Options that tell rows apart, beside what a sweep goes through.
_OF_REQUEST: Final = ("model_args", "pretrained", "weights", "num_classes", "seed", "shapes")
_OF_EXPORT: Final = ("dynamic_batch", "simplify", "rules")
_OF_CAST: Final = ("half_io", "keep_fp32", "calibration", "samples", "gates")
_OF_PROFILE: Final = ("batch", "threads", "cuda_graph", "openvino_device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all models of a sweep have in common.

    Attributes:
        request: How they are built; its source and attentions do not count.
        attentions: The attentions, each with its own options.
        export: How they are exported; opset, target and TensorRT do not count.
        casts: How they are cast, by precision; None for fp32, and what the runtime does itself.
        profile: How they are profiled; device, hosts and runtime do not count.
    """

    request: ModelRequest
    attentions: Sequence[AttentionRequest]
    export: ExportOptions
    casts: Mapping[str, CastOptions | None]
    profile: ProfileOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where models run.

    Attributes:
        name: What it is called: a device, a host, or "" for this machine.
        how: Whether it is predicted for, measured on a host, or measured here.
        device: The device profile that is predicted for.
        power_mode: Its power mode; None for its usual one.
        runtime: What runs models there.
        target: What they are lowered for, if nothing else is asked.
        tensorrt: The version of TensorRT there, where other forms are taken for it.
        opset: The highest opset that it takes; None if that is not known.
    """

    name: str
    how: Literal["device", "host", "here"]
    device: DeviceProfile | None = None
    power_mode: str | None = None
    runtime: str
    target: str
    tensorrt: str | None = None
    opset: int | None = None

    @property
    def by(self) -> str:
        """What runs models there, either library of TensorRT being one."""
        return "tensorrt" if self.runtime in _ENGINES else self.runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A model as it is exported, once for all jobs that it serves.

    Attributes:
        key: The hash of all that decides the file.
        request: The model.
        options: How it is exported, in float32.
        files: The hash of each file of the user's that goes into it.
        asked: What else than its place, opset and target was asked, in words.
    """

    key: str
    request: ModelRequest
    options: ExportOptions
    files: Mapping[str, str]
    asked: str

    @property
    def attention(self) -> AttentionRequest | None:
        """The attention; None of the plain model."""
        return next(iter(self.request.attentions), None)

    @property
    def label(self) -> str:
        """What it is called."""
        one = self.attention
        return made_of(self.request.source, one.label if one else "", (one and one.at) or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model at one place, in one precision.

    Attributes:
        key: The hash of all that decides its result.
        exported: The model.
        precision: What it is in.
        cast: How the exported file is cast to that; None for as it is.
        place: Where it runs.
        plain: The key of the plain model's job there; None of that itself.
        asked: What was asked of how it is cast and run, in words.
    """

    key: str
    exported: Exported
    precision: str
    cast: CastOptions | None
    place: Place
    plain: str | None
    asked: str = ""

    @property
    def options(self) -> str:
        """What else was asked that decides its result, in words."""
        return ", ".join(filter(None, (self.exported.asked, self.asked)))

    @property
    def label(self) -> str:
        """What it is called: all that tells it from others."""
        exported, place = self.exported, self.place
        one, options = exported.attention, exported.options
        mode = f"@{place.power_mode}" if place.power_mode else ""
        return label_of(
            exported.request.source,
            one.label if one else "",
            (one.at or "") if one else "",
            options.opset,
            self.precision,
            options.target if options.lower else "",
            self.options,
            f"{place.runtime} on {place.name or 'this machine'}{mode}",
        )


def places_of(
    options: SweepOptions, profile: ProfileOptions, guests: Sequence[Guest]
) -> list[Place]:
    """Return where a sweep's models run.

    Args:
        options: The devices and runtimes.
        profile: How they are profiled.
        guests: The hosts.

    Raises:
        InputError: There is no such device, power mode or runtime, or they do not fit.
        MissingError: A runtime is not on a host, or not here.
    """
    for name in options.runtimes or (None,):
        if name != "openvino" or not guests:  # which need not be here to be there
            check_runtimes(replace(profile, runtime=name, device=None))
    asked = options.runtimes or (None,)
    found = [place for name in options.devices for place in _on_device(name, options.runtimes)]
    for guest in guests:
        for runtime in dict.fromkeys(guest.runtime(one) for one in asked):
            has_tensorrt = runtime == "tensorrt"
            found.append(
                Place(
                    name=str(guest.host.address),
                    how="host",
                    runtime=runtime,
                    target=runtime,
                    tensorrt=_older(guest.facts.tensorrt) if has_tensorrt else None,
                    opset=guest.facts.opset if has_tensorrt else None,
                )
            )
    if not found:
        for one in options.runtimes or ("onnxruntime",):
            check_runtimes(replace(profile, runtime=one, device=None))
            if one == "torch":
                raise InputError("torch runs no exported model.", mend="Leave torch out.")
            found.append(Place(name="", how="here", runtime=one, target=_target(one)))
    return found


def jobs_of(options: SweepOptions, common: Common, places: Sequence[Place]) -> list[Job]:
    """Return the jobs of a sweep, those of a plain model before those with an attention.

    Args:
        options: What it goes through.
        common: What all models have in common.
        places: Where they run.

    Raises:
        InputError: A list is empty, or holds what there is not.
    """
    if not options.models:
        raise InputError("No model is named.", mend="Add --model resnet50,mobilenetv2.")
    _check(options, common)
    variants = [None, *_variants(common.attentions, options.places)]
    expand = _Expansion(common)
    ways = [(place, expand.ways(place)) for place in places]
    found: dict[str, Job] = {}
    for source in options.models:
        for place, its in ways:
            for opset in options.opsets or (min(17, place.opset or 17),):
                for target in options.targets or (place.target,):
                    for job in expand.jobs(source, variants, place, its, opset, target):
                        found.setdefault(job.key, job)
    return list(found.values())


def _check(options: SweepOptions, common: Common) -> None:
    check_labels(common.attentions)
    for target in set(options.targets) - {STOCK}:
        check_target(target, common.export.rules)
    for opset in options.opsets:
        check_opset(opset)
    for one in filter(None, common.casts.values()):
        check_options(one)
    if options.places and not common.attentions:
        raise InputError("--at is given, and no attention.", mend="Add --attention NAME.")


def casts_of(
    precisions: Sequence[str], make: Callable[[str], CastOptions | None]
) -> dict[str, CastOptions | None]:
    """Return how models are cast to the precisions of a sweep.

    Raises:
        InputError: There is no such precision.
    """
    return {name: make(name) for name in several(",".join(precisions))}


class _Expansion:
    """Makes jobs; what several share is hashed once."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._exported: dict[tuple[Any, ...], Exported] = {}
        self._files: dict[Path, str] = {}
        self._imports: dict[Path, list[Path]] = {}

    def ways(self, place: Place) -> list[tuple[str, CastOptions | None, str, str]]:
        """Return the precisions of a place: how files are cast, a hash of all that, and words."""
        found = []
        for precision, how in Casting("", place.by, self._common.casts).ways.items():
            cast = how and replace(how, runtime=place.by)
            said = [precision, cast and asdict(cast), self._data(cast), self._where(place)]
            asked = _asked(cast, _OF_CAST) + _asked(self._common.profile, _OF_PROFILE)
            found.append((precision, cast, _digest(said), ", ".join(asked)))
        return found

    def jobs(
        self,
        source: str,
        variants: Sequence[AttentionRequest | None],
        place: Place,
        ways: Sequence[tuple[str, CastOptions | None, str, str]],
        opset: int,
        target: str,
    ) -> Iterator[Job]:
        """Yield the jobs of a model at a place, with each attention, in each precision."""
        exports = [
            self._export(source, number, variant, opset, target, place)
            for number, variant in enumerate(variants)
        ]
        for precision, cast, way, asked in ways:
            plain = None
            for exported in exports:
                key = hashlib.sha256(f"{exported.key}{way}".encode()).hexdigest()
                yield Job(
                    key=key,
                    exported=exported,
                    precision=precision,
                    cast=cast,
                    place=place,
                    plain=plain,
                    asked=asked,
                )
                plain = plain or key

    def _data(self, cast: CastOptions | None) -> Any:
        """Return what tells whether data to calibrate on is the same: of a folder, its listing."""
        if cast is None or cast.calibration in (None, RANDOM):
            return None
        path = Path(cast.calibration)
        if not path.is_dir():
            return self._file(path)
        found = [(one, one.stat()) for one in sorted(path.rglob("*")) if one.is_file()]
        return [(str(one), its.st_size, its.st_mtime_ns) for one, its in found]

    def _where(self, place: Place) -> Any:
        profile = self._common.profile
        said = [place.name, place.how, place.power_mode, place.runtime, place.tensorrt]
        if place.device is not None:
            said.append(place.device.model_dump_json())
        elif place.how == "here":
            said.append(cpu_name())
        how: list[Any] = [profile.threads, profile.batch, profile.cuda_graph]
        how.append(profile.openvino_device)
        if place.how != "device":
            how.append(profile.limit_s)
        return said, how, {name: version_of(name) for name in _RUNNING}

    def _export(
        self,
        source: str,
        number: int,
        variant: AttentionRequest | None,
        opset: int,
        target: str,
        place: Place,
    ) -> Exported:
        tensorrt = place.tensorrt if target == "tensorrt" else None
        name = (source, number, opset, target, tensorrt)
        if name not in self._exported:
            common = self._common
            request = replace(
                common.request, source=source, attentions=() if variant is None else (variant,)
            )
            lowered = {"target": target, "tensorrt": tensorrt}
            options = replace(
                common.export, opset=opset, **({"lower": False} if target == STOCK else lowered)
            )
            own = files_of(source) + [Path(one) for one in filter(None, [request.weights])]
            own += registry.sources(variant.name) if variant is not None else []
            own = [each for one in own for each in self._with_imports(one)]
            hashes = {str(path): self._file(path) for path in own}
            key = _digest([asdict(request), asdict(options), hashes, _program()])
            asked = _asked(request, _OF_REQUEST) + _asked(options, _OF_EXPORT)
            asked += [_in_words(variant.options)] if variant is not None else []
            self._exported[name] = Exported(
                key=key,
                request=request,
                options=options,
                files=hashes,
                asked=", ".join(filter(None, asked)),
            )
        return self._exported[name]

    def _with_imports(self, path: Path) -> list[Path]:
        if path not in self._imports:
            self._imports[path] = importing.with_imports(path) if path.suffix == ".py" else [path]
        return self._imports[path]

    def _file(self, path: Path) -> str:
        if path not in self._files:
            files.check_is_file(path)
            self._files[path] = files.sha256(path)
        return self._files[path]


def _asked(options: DataclassInstance | None, fields_of: Sequence[str]) -> list[str]:
    """Return in words which options are not the default ones."""
    if options is None:
        return []
    kind = type(options)
    default = kind(source="") if kind is ModelRequest else kind()
    said = []
    for name in fields_of:
        value = getattr(options, name)
        if value != getattr(default, name):
            said.append(f"{name.replace('_', ' ')} {_in_words(value)}".strip())
    return said


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "" if value else "no"
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return " ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, tuple) and all(isinstance(one, int) for one in value):
        return "x".join(map(str, value))
    return " ".join(map(_in_words, value)) if isinstance(value, tuple) else str(value)


def _variants(
    attentions: Sequence[AttentionRequest], places: Sequence[str]
) -> list[AttentionRequest]:
    """Return each attention at each of its places."""
    shared = [text for text in places if "=" not in text]
    labels = {one.label: [*shared] for one in attentions}
    labels |= {one.name: labels[one.label] for one in attentions}
    for text in (one for one in places if "=" in one):
        name, _, place = text.partition("=")
        if name not in labels or not place:
            raise InputError(
                f"--at {text!r} names no attention that is asked for, or no place.",
                mend="For example: --at se=block-end",
            )
        labels[name].append(place)
    return [replace(one, at=at) for one in attentions for at in labels[one.label] or (None,)]


def _on_device(text: str, runtimes: Sequence[str]) -> list[Place]:
    """Return a device that is predicted for, once for each runtime that it has.

    Raises:
        InputError: There is no such device or power mode, or none of the runtimes is its.
    """
    name, at, mode = ("", "", "") if Path(text).is_file() else text.rpartition("@")
    device = find(name if at else text)
    power_mode = device.at(mode if at else None).power_mode or None  # or there is none
    own: tuple[str, ...] = ("onnxruntime",) if device.kind == "cpu" else _ENGINES
    usual: str = "onnxruntime" if device.kind == "cpu" else device.runtimes[-1]
    asked: Sequence[str] = runtimes or (usual,)
    fit = [one for one in asked if one in own]
    if not fit:
        raise InputError(
            f"{' and '.join(runtimes)} {'is' if len(runtimes) == 1 else 'are'} not predicted for"
            f" {device.title}.",
            mend=f"There it is {' or '.join(own)}: leave --runtime out, or add one.",
        )
    return [
        Place(
            name=name if at else text,
            how="device",
            device=device,
            power_mode=power_mode,
            runtime=one,
            target=_target(one),
            tensorrt=_older(device.tensorrt) if one in _ENGINES else None,
        )
        for one in fit
    ]


def _target(runtime: str) -> str:
    """Return what models are lowered for that a runtime is to run."""
    return "tensorrt" if runtime in _ENGINES else runtime


def _older(tensorrt: str | None) -> str | None:
    """Return a version of TensorRT if other forms are taken for it than for the newest."""
    return None if is_rtx_generation(tensorrt) else tensorrt


@cache
def _program() -> list[Any]:
    """Return what of edgeattn and of the libraries decides a result."""
    home = Path(edgeattn.__file__).parent
    code = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        code.update(path.read_bytes())
    return [code.hexdigest(), installed()]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
