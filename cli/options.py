"""What several commands take, and how it is read where the options alone do not say."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.model import AttentionRequest, ModelRequest, parse_pairs
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.photos import PHOTO_NAMES
from edgeattn.options.precision import named

from .groups import Asked, T

if TYPE_CHECKING:
    from edgeattn.devices.schema import DeviceProfile

_NAME_ONE: Final = "Add --device NAME. See: edgeattn devices list"

LOWERING: Final = ("target", "tensorrt", "forms", "rules")
#: Where nothing else names a device.
DESTINED: Final = ("target", "device", "jetpack", "dla", "tensorrt", "forms", "rules")
#: How forms are measured on a host.
TUNING: Final = ("tune_limit", "save_forms")

CASTING: Final = (
    "precision", "keep_fp32", "half_io", "calibration", *PHOTO_NAMES, "samples", "quantise_gates",
)  # fmt: skip

Modelling = Annotated[
    Asked[ModelRequest],
    ("attention", "attention_arg", "at", "model_arg", "pretrained", "weights",
     "trust_checkpoint", "num_classes", "seed", "shape"),
]  # fmt: skip
Lowering = Annotated[Asked[ExportOptions], LOWERING]
Destined = Annotated[Asked[ExportOptions], DESTINED]
Writing = Annotated[
    Asked[ExportOptions],
    ("opset", "dynamic_batch", "input_name", "output_name", "no_simplify", "simplify_timeout",
     "no_lower"),
]  # fmt: skip
#: The options of a model say the shapes and the seed of a cast that follows its export.
Casting = Annotated[Asked[CastOptions], CASTING]

Input = Annotated[Path, Flag("IN.onnx", "The file to read.")]
Output = Annotated[Path, Flag("--output -o OUT.onnx", "Where to write; a folder will do.")]
Model = Annotated[str, Flag("MODEL", "A model as `edgeattn export` takes.")]
Top = Annotated[int | None, Flag("--top N", "Show N sites only. [8]", min=1)]


def request_of(asked: Asked[ModelRequest], source: str) -> ModelRequest:
    """Read the request for a model from this source.

    Raises:
        InputError: An option cannot be read, or speaks of an attention that is not asked.
    """
    return asked.read(source=source, attentions=attentions_of(asked, asked.values["attention"]))


def attentions_of(
    asked: Asked[ModelRequest], names: Sequence[str] | None
) -> tuple[AttentionRequest, ...]:
    """Read attentions of these names, each with the options and the place that are its own.

    Raises:
        InputError: An option cannot be read, or speaks of an attention that is not asked.
    """
    options, places = asked.values["attention_arg"], asked.values["at"]
    return attention_requests(names or (), options or (), places or ())


def rules_of(asked: Asked[ExportOptions] | Asked[OptimizeOptions]) -> tuple[str, ...] | None:
    """Return the rules that are asked, or None if none are.

    Raises:
        InputError: They cannot be read, or name a rule that there is not.
    """
    if asked.values["rules"] is None:
        return None
    from edgeattn.lowering.target import RULES, check

    chosen, names = parse_rules(asked.values["rules"], RULES)
    check(asked.value("target"), names)
    return chosen


def for_device(
    asked: Asked[T], casting: Asked[CastOptions] | None = None
) -> tuple[Asked[T], dict[str, str], tuple[str, ...]]:
    """Take from the device that is named what is not given: target, opset, precision.

    Args:
        asked: How to export, or to optimize.
        casting: How an export is cast; None where the target alone is to be taken.

    Returns:
        How to export, what is taken for the cast, and a note on all that is taken, with the reason.

    Raises:
        InputError: There is no such device, or it never had that JetPack; or has no DLA, or none
            that is reached by its TensorRT; or what is given contradicts it.
    """
    given = asked.values
    name, dla = given["device"], given["dla"] or given["target"] == "dla"
    if name is None:
        for option in (one for one in ("jetpack", "dla") if given[one]):
            raise InputError(f"--{option} is of a device, and none is named.", mend=_NAME_ONE)
        return asked, {}, ()
    if given["dla"] and given["target"] not in (None, "dla"):
        raise InputError(
            f"--dla is for the target dla, and --target {given['target']} is given.",
            mend="Leave one of both out.",
        )
    from edgeattn.devices.choice import choice_of
    from edgeattn.devices.profile import find

    device = find(name)
    choice = choice_of(device, jetpack=given["jetpack"], tensorrt=given["tensorrt"], dla=dla)
    target, taken = given["target"] or choice.target, dict[str, Any]()
    if not given.get("no_lower"):
        taken |= {"target": choice.target} if given["target"] is None else {}
        if given["jetpack"] and target in ("tensorrt", "dla"):
            taken["tensorrt"] = choice.tensorrt
    # Other runtimes may be on a device with TensorRT too, which says nothing of opsets or types.
    if casting is not None and target in (choice.target, "portable"):
        taken |= {"opset": choice.opset} if given["opset"] is None else {}
        if casting.values["precision"] is None:
            taken["precision"] = choice.precision
    notes = [
        f"From {name}: {one} {taken[one]}, {choice.why[one]}."
        for one in ("target", "opset", "precision")
        if one in taken
    ]
    if dla:
        notes += _reached(device, choice.tensorrt)
    precision = {"precision": taken.pop("precision")} if "precision" in taken else {}
    return asked | Asked(asked.kind, taken), precision if choice.is_cast else {}, tuple(notes)


def _reached(device: DeviceProfile, tensorrt: str | None) -> list[str]:
    """Say so where it is not known whether a TensorRT reaches a device's DLA.

    Raises:
        InputError: It does not.
    """
    from edgeattn.engine.libraries import dotted
    from edgeattn.support.dla import dla_of

    assert device.compute_capability is not None
    answer = dla_of(dotted(device.compute_capability), device.dla_cores, tensorrt or "")
    if answer.verdict == "no":
        fact = f"The DLA of the {device.title} is not reached: {answer.reason}."
        raise InputError(fact, mend=answer.mend)
    unknown = f"Whether TensorRT {tensorrt} reaches that DLA is not known: {answer.reason}."
    return [unknown] if answer.verdict == "unknown" else []


def export_options(
    asked: Asked[ExportOptions],
    *,
    highest: int | None = None,
    cast: CastOptions | None = None,
    device: str | None = None,
    tensorrt: str | None = None,
) -> ExportOptions:
    """Read how to export.

    Args:
        asked: The options, those of lowering included.
        highest: The highest opset that is taken where it is to go, if none is asked.
        cast: How to cast.
        device: What it is for, where something else than these options says it.
        tensorrt: The version of TensorRT there, likewise.

    Raises:
        InputError: It is said how to lower, and not to.
    """
    said = {*DESTINED, "tune", *TUNING} - {"device", "jetpack", "dla"}  # which say more than how
    if asked.values["no_lower"] and (given := asked.given() & said):
        named = " and --".join(sorted(given)).replace("_", "-")
        say = "say" if len(given) > 1 else "says"
        raise InputError(f"--{named} {say} how to lower, and --no-lower forbids it.")
    usual: int = asked.value("opset")
    opset = asked.values["opset"] or min(usual, highest or usual)
    known = {"device": device, "tensorrt": tensorrt}
    there = {name: one for name, one in known.items() if one is not None}
    return asked.read(opset=opset, rules=rules_of(asked), cast=cast, **there)


def cast_options(asked: Asked[CastOptions], **known: object) -> CastOptions | None:
    """Read how to cast, None if no precision is asked.

    Raises:
        InputError: There is no such precision, or options of a cast are given without one.
    """
    precision = asked.values["precision"]
    if precision is not None and named(precision) != "fp32":
        return asked.read(**known)
    if asked.given() & {*CASTING} - {"precision"}:
        raise InputError(
            "Options of a cast are given, and no precision to cast to.",
            mend="Add --precision fp16 or --precision int8.",
        )
    return None


def only_of(precision: str) -> dict[str, object]:
    """Return the options of a cast, of several, that are not for this one: as not given."""
    alien = ("keep_fp32", "half_io") if precision == "int8" else ("quantise_gates",)
    return {"precision": precision, **dict.fromkeys(alien)}


def onnx_output(output: Path, name: str) -> Path:
    """Return the ONNX file to write: as asked, or of this name in the folder that is asked.

    Raises:
        InputError: `output` is neither an .onnx file nor a folder that exists.
    """
    path = output / name if output.is_dir() else output
    if path.suffix != ".onnx":
        better = output.with_suffix(".onnx") if output.stem.strip(".-") else "model.onnx"
        raise InputError(
            f"-o {output} is neither a folder that exists nor the name of an .onnx file.",
            mend=f"Write: -o {shlex.quote(str(better))}",
        )
    return path


def parse_rules(text: str, known: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read --rules: `+a,-b` changes the set of all rules, `a,b` is exactly those.

    Args:
        text: What was given.
        known: All rules, in order.

    Returns:
        The rules to apply in the order of `known`, and all names that the text has.

    Raises:
        InputError: Some names have a sign and others have none, or a name is empty.
    """
    parts = [part.strip() for part in text.split(",")]
    signs = {part[:1] in ("+", "-") for part in parts}
    names = tuple(part.lstrip("+-") for part in parts)
    if len(signs) > 1 or not all(names):
        raise InputError(
            f"--rules {text!r} cannot be read.",
            mend="Write +a,-b to add and leave out, or a,b for exactly those.",
        )
    if True in signs:
        dropped = {part[1:] for part in parts if part.startswith("-")}
        return tuple(rule for rule in known if rule not in dropped), names
    return tuple(rule for rule in known if rule in names), names


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that reproduces a run, as a shell reads it."""
    return shlex.join(["edgeattn", *arguments])


def attention_requests(
    names: Sequence[str], options: Iterable[str], places: Iterable[str]
) -> tuple[AttentionRequest, ...]:
    """Read --attention, --attention-arg and --at together.

    An option without a prefix goes to every attention that has it; a place without one goes to
    all; what has a prefix overrules what has none.

    Raises:
        InputError: They contradict each other, or name an attention or option that is not there.
    """
    pairs = parse_pairs(options, option="--attention-arg")
    places = tuple(places)
    if tuple(names) in ((), ("none",)):
        for option, given in (("--attention-arg", pairs), ("--at", places)):
            if given and names:
                raise InputError(
                    f"{option} is for an attention, and --attention none inserts none.",
                    mend=f"Name an attention in the place of none, or leave {option} out.",
                )
            if given:
                raise InputError(
                    f"{option} is given, and no attention.", mend="Add --attention NAME."
                )
        return ()
    if "none" in names:
        raise InputError("--attention none cannot stand beside another attention.")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--attention {name} is given twice.")
    options_by_name = _deal_options(names, pairs)
    place_by_name = _deal_places(names, places)
    return tuple(
        AttentionRequest(name=name, options=options_by_name[name], at=place_by_name.get(name))
        for name in names
    )


def _deal_options(names: Sequence[str], pairs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return each attention its options; a name that no attention knows is refused here."""
    from edgeattn.attention import registry

    specs = {name: registry.find(name) for name in names}
    shared: dict[str, dict[str, str]] = {name: {} for name in names}
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for key, value in pairs.items():
        prefix, dot, option = key.rpartition(".")
        candidates = [_named(prefix, names, f"--attention-arg {key}={value}")] if dot else names
        takers = [name for name in candidates if registry.takes(specs[name], option)]
        if not takers:
            raise _unknown_option(
                option,
                {
                    specs[name].name: [one.name for one in registry.options_of(specs[name])]
                    for name in candidates
                },
            )
        for name in takers:
            (own if dot else shared)[name][option] = value
    return {name: shared[name] | own[name] for name in names}


def _deal_places(names: Sequence[str], places: Iterable[str]) -> dict[str, str]:
    """Return each attention its place."""
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for text in places:
        prefix, equals, place = text.rpartition("=")
        name = _named(prefix, names, f"--at {text}") if equals else ""
        if not place:
            raise InputError(f"--at {text!r} names no place.", mend="For example: --at block-end")
        dealt, takers = (own, [name]) if equals else (shared, names)
        for name in takers:
            if name in dealt:
                raise InputError(f"--at gives {name} two places: {dealt[name]!r} and {place!r}.")
            dealt[name] = place
    return shared | own


def _named(prefix: str, names: Sequence[str], text: str) -> str:
    """Return the attention that a prefix says: by its name, or that of one's own in its file."""
    labels = {AttentionRequest(name=name).label: name for name in names}
    found = prefix if prefix in names else labels.get(prefix)
    if found is None:
        raise InputError(
            f"{text}: {prefix!r} is not among the attentions given ({', '.join(labels)}).",
            mend=did_you_mean(nearest(prefix, labels)),
        )
    return found


def _unknown_option(option: str, known: Mapping[str, Sequence[str]]) -> InputError:
    every = [name for options in known.values() for name in options]
    told = [
        f"{name} takes {', '.join(options) if options else 'no options'}."
        for name, options in known.items()
    ]
    return InputError(
        f"No attention given has an option {option!r}.",
        mend=" ".join(filter(None, [did_you_mean(nearest(option, every)), *told])),
    )
