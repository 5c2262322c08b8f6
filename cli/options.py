"""The options that say which model: declared once, and read into a request."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.lowering.target import RULES, TARGETS, check
from edgeattn.options.optimize import DEFAULT_TARGET

if TYPE_CHECKING:
    from edgeattn.options.cast import CastOptions
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.options.precision import Precision

Texts = list[str] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Everything about a model but its source."""

    attention: Annotated[
        Texts,
        typer.Option(
            "--attention",
            "-a",
            metavar="NAME",
            help="Attention to insert; may be given again. `none` is the plain model."
            " See: edgeattn list attentions.",
        ),
    ] = None
    attention_arg: Annotated[
        Texts,
        typer.Option(
            "--attention-arg",
            metavar="[NAME.]K=V",
            help="An option of the attention; with several, NAME says of which.",
        ),
    ] = None
    at: Annotated[
        Texts,
        typer.Option(
            "--at",
            metavar="[NAME=]PLACE",
            help="block-end, after-dw, conv2, stage-end, input, last, or a glob of module paths"
            " such as 'layer3.*.bn2'. By default, where its paper puts it.",
        ),
    ] = None
    model_arg: Annotated[
        Texts,
        typer.Option(
            "--model-arg", metavar="K=V", help="An argument of the model's constructor or factory."
        ),
    ] = None
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Fetch the published weights of the backbone.")
    ] = False
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FILE", help="Weights: safetensors, or a state dict of torch."
        ),
    ] = None
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", min=1, help="Outputs of the classifier.")
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of weights and inputs.")
    ] = 0
    shape: Annotated[
        Texts,
        typer.Option(
            "--shape",
            metavar="1x3x224x224",
            help="Shape of the input, the batch first; once per input.",
        ),
    ] = None

    def request(self, source: str) -> ModelRequest:
        """Read the options into a request for a model from this source.

        Raises:
            InputError: An option cannot be read, or speaks of an attention that is not asked.
        """
        from edgeattn.options.model import ModelRequest

        return ModelRequest(
            source=source,
            model_args=parse_pairs(self.model_arg or (), option="--model-arg"),
            pretrained=self.pretrained,
            weights=self.weights,
            num_classes=self.num_classes,
            seed=self.seed,
            attentions=attention_requests(
                self.attention or (), self.attention_arg or (), self.at or ()
            ),
            shapes=tuple(parse_shape(text) for text in self.shape or ()),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoweringChoice:
    """How a model is lowered."""

    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help=f"What to lower for: {' or '.join(TARGETS)}. [{DEFAULT_TARGET}]",
        ),
    ] = None
    rules: Annotated[
        str | None,
        typer.Option(
            "--rules",
            metavar="+A,-B",
            help="Rules to add to those that are used, or to leave out; without a sign, the only"
            " ones. See: edgeattn list rules.",
        ),
    ] = None

    def chosen_target(self) -> str:
        """Return the target, the default where none is asked."""
        return DEFAULT_TARGET if self.target is None else self.target

    def chosen_rules(self) -> tuple[str, ...] | None:
        """Return the rules that are asked, None where none are.

        Raises:
            InputError: They cannot be read, or name a rule that there is not.
        """
        if self.rules is None:
            return None
        chosen, named = parse_rules(self.rules, RULES)
        check(self.chosen_target(), named)
        return chosen


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """How a model is written as ONNX."""

    opset: Annotated[
        int | None,
        typer.Option("--opset", min=13, help="The opset: exactly this one, or none. [17]"),
    ] = None
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Leave the batch size open.")
    ] = False
    input_name: Annotated[
        Texts,
        typer.Option("--input-name", metavar="NAME", help="Name of an input; once per input."),
    ] = None
    output_name: Annotated[
        Texts,
        typer.Option("--output-name", metavar="NAME", help="Name of an output; once per output."),
    ] = None
    no_simplify: Annotated[bool, typer.Option("--no-simplify", help="Leave onnxsim out.")] = False
    simplify_timeout: Annotated[
        float,
        typer.Option("--simplify-timeout", metavar="S", min=1, help="Seconds that onnxsim gets."),
    ] = 300.0
    no_lower: Annotated[
        bool, typer.Option("--no-lower", help="Write the operators that torch wrote.")
    ] = False

    def options(self, lowering: LoweringChoice, *, highest: int | None = None) -> ExportOptions:
        """Read the options.

        Args:
            lowering: How it is lowered.
            highest: The highest opset that is taken where it is to go, where none is asked.

        Raises:
            InputError: It is said how to lower, and not to.
        """
        from edgeattn.options.export import ExportOptions

        if self.no_lower and lowering != LoweringChoice():
            raise InputError("--target and --rules say how to lower, and --no-lower forbids it.")
        usual = ExportOptions().opset
        return ExportOptions(
            opset=self.opset or min(usual, highest or usual),
            dynamic_batch=self.dynamic_batch,
            input_names=tuple(self.input_name or ()),
            output_names=tuple(self.output_name or ()),
            simplify=not self.no_simplify,
            simplify_timeout_s=self.simplify_timeout,
            lower=not self.no_lower,
            target=lowering.chosen_target(),
            rules=lowering.chosen_rules(),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CastChoice:
    """The precision that is asked, and how a model is cast to it."""

    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="P", help="fp32, fp16 or int8. [what the model is in]"),
    ] = None
    keep_fp32: Annotated[
        Texts,
        typer.Option(
            "--keep-fp32",
            metavar="GLOB",
            help="Nodes or modules to keep in float32, beside those that the audit finds.",
        ),
    ] = None
    half_io: Annotated[
        bool, typer.Option("--half-io", help="Make inputs and outputs float16 too.")
    ] = False
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="DATA",
            help="What int8 is calibrated on, and ranges are taken from: a folder of images or"
            " arrays, an .npz or .npy file, or the word random.",
        ),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", min=1, help="The most samples to take of it."),
    ] = None
    quantise_gates: Annotated[
        bool,
        typer.Option("--quantise-gates", help="Quantise gates and statistics too, for int8."),
    ] = False

    def asked(self) -> Precision | None:
        """Return the precision that is asked.

        Raises:
            InputError: There is none of that name.
        """
        if self.precision is None:
            return None
        from edgeattn.options.precision import named

        return named(self.precision)

    def options(self, *, seed: int) -> CastOptions | None:
        """Return what to cast to, None where no precision is asked.

        Raises:
            InputError: There is no such precision, or options of a cast are given without one.
        """
        if self.asked() in (None, "fp32"):
            given = dataclasses.replace(self, precision=None)
            if given != CastChoice():
                raise InputError(
                    "Options of a cast are given, and no precision to cast to.",
                    mend="Add --precision fp16 or --precision int8.",
                )
            return None
        from edgeattn.options.cast import CastOptions

        precision = self.asked()
        assert precision in ("fp16", "int8")
        return CastOptions(
            precision=precision,
            keep_fp32=tuple(self.keep_fp32 or ()),
            half_io=self.half_io,
            calibration=self.calibration,
            samples=self.samples,
            gates=self.quantise_gates,
            seed=seed,
        )


def onnx_output(output: Path, onnx: Path) -> Path:
    """Return the ONNX file to write: as asked, or named as the one that is read, in a folder.

    Raises:
        InputError: `output` is neither an .onnx file nor a folder that exists.
    """
    path = output / onnx.name if output.is_dir() else output
    if path.suffix != ".onnx":
        raise InputError(
            f"-o {output} is neither a folder that exists nor the name of an .onnx file.",
            mend=f"Write: -o {shlex.quote(str(output.with_suffix('.onnx')))}",
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
    """The command that reproduces a run, as a shell reads it."""
    return shlex.join(["edgeattn", *arguments])


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape such as 1x3x224x224.

    Raises:
        InputError: It is no such thing.
    """
    sizes = text.lower().split("x")
    if len(sizes) < 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise InputError(
            f"--shape {text!r} is no shape.",
            mend="Write its sizes, the batch first, with x between: --shape 1x3x224x224",
        )
    return tuple(int(size) for size in sizes)


def parse_pairs(texts: Iterable[str], *, option: str) -> dict[str, str]:
    """Read K=V texts.

    Args:
        texts: What was given.
        option: The option that took them, for the message.

    Raises:
        InputError: A text has no key or no "=", or a key is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option} {text!r} is not K=V.", mend=f"For example: {option} k=3")
        if key in pairs:
            raise InputError(f"{option} gives {key} twice: {pairs[key]!r} and {value!r}.")
        pairs[key] = value
    return pairs


def attention_requests(
    names: Sequence[str], options: Iterable[str], places: Iterable[str]
) -> tuple[AttentionRequest, ...]:
    """Read --attention, --attention-arg and --at together.

    An option without a prefix goes to every attention that has it; a place without one goes to
    all; what has a prefix overrules what has none.

    Raises:
        InputError: They contradict each other, or name an attention or option that is not there.
    """
    from edgeattn.options.model import AttentionRequest

    pairs = parse_pairs(options, option="--attention-arg")
    places = tuple(places)
    if tuple(names) in ((), ("none",)):
        for option, given in (("--attention-arg", pairs), ("--at", places)):
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

    known = {
        name: [option.name for option in registry.options_of(registry.find(name))] for name in names
    }
    shared: dict[str, dict[str, str]] = {name: {} for name in names}
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for key, value in pairs.items():
        prefix, dot, option = key.rpartition(".")
        if dot:
            _check_prefix(prefix, names, f"--attention-arg {key}={value}")
            takers = [prefix]
        else:
            takers = [name for name in names if option in known[name]]
        if not takers or option not in known[takers[0]]:
            raise _unknown_option(option, {name: known[name] for name in takers or names})
        for name in takers:
            (own if dot else shared)[name][option] = value
    return {name: shared[name] | own[name] for name in names}


def _deal_places(names: Sequence[str], places: Iterable[str]) -> dict[str, str]:
    """Return each attention its place."""
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for text in places:
        prefix, equals, place = text.rpartition("=")
        if equals:
            _check_prefix(prefix, names, f"--at {text}")
        if not place:
            raise InputError(f"--at {text!r} names no place.", mend="For example: --at block-end")
        dealt, takers = (own, [prefix]) if equals else (shared, names)
        for name in takers:
            if name in dealt:
                raise InputError(f"--at gives {name} two places: {dealt[name]!r} and {place!r}.")
            dealt[name] = place
    return shared | own


def _check_prefix(prefix: str, names: Sequence[str], text: str) -> None:
    if prefix not in names:
        raise InputError(
            f"{text}: {prefix!r} is not among the attentions given ({', '.join(names)}).",
            mend=did_you_mean(nearest(prefix, names)),
        )


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
