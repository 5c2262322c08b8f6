"""Check: whether a model runs on a device, before anything is built for it or sent to it.

What runs it there is asked node by node: TensorRT and its DLA by tables of what each version
takes, TensorRT-RTX and ONNX Runtime themselves where they are installed here. Then memory,
precision and known traps.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx_ir as ir

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import installed, numbers
from edgeattn.devices.choice import Choice, choice_of
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine import apart
from edgeattn.engine.libraries import FEATURES, dotted, load
from edgeattn.graph import shapes as inference
from edgeattn.graph.marks import forms_of
from edgeattn.graph.nodes import is_standard
from edgeattn.graph.precision import precision_of
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import save
from edgeattn.hosts.visit import Guest
from edgeattn.legalise import take_up
from edgeattn.lowering.misfit import misfit
from edgeattn.options.check import CheckOptions
from edgeattn.options.precision import Precision
from edgeattn.profiling.sources.model import Located, bind, located
from edgeattn.records.check import About, Checked, DLAReport, Finding
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.runtimes.inputs import in_words
from edgeattn.runtimes.onnxruntime import open_session
from edgeattn.runtimes.runner import session_options
from edgeattn.support.answers import WORST_FIRST, Answer
from edgeattn.support.dla import DLA, dla_of, generation_of
from edgeattn.support.tensorrt import Parser
from edgeattn.support.traps import traps
from edgeattn.workflows import check_dla, check_on
from edgeattn.workflows.check_fit import (
    PREFIX,
    needed_memory,
    nodes_in,
    precision_findings,
    range_findings,
    typed_findings,
)
from edgeattn.workflows.check_on import There
from edgeattn.workflows.check_places import Places, operators, worst_verdict

#: What is asked where any TensorRT may be installed.
_NEWEST: Final = "11.1"
_RANGE: Final = "NVIDIA TensorRT documentation, Working with Dynamic Shapes"
_FIXED: Final = "NVIDIA TensorRT documentation, DLA Supported Layers and Restrictions"
_FALLBACK: Final = "With --gpu-fallback, what the DLA does not take runs on the GPU."
#: An option in what is to be done that is not of this command, and where it is one.
_OPTION: Final = re.compile(r"--(opset|target)\b")
_ELSEWHERE: Final = "--opset and --target: edgeattn optimize {file} -o OUT.onnx takes them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a model is checked for.

    Attributes:
        device: The device.
        choice: What suits it, of its JetPack.
        library: What runs a model there.
        version: Its version; "" if none is known.
        is_here: Whether that library is asked itself, on this machine.
    """

    device: DeviceProfile
    choice: Choice
    library: Literal["TensorRT", "TensorRT-RTX", "ONNX Runtime"]
    version: str
    is_here: bool = False

    @property
    def title(self) -> str:
        """The library with its version, for people."""
        return f"{self.library} {self.version}".strip()

    @property
    def is_typed(self) -> bool:
        """Whether it computes in the types of a file, whatever precision is asked."""
        until = FEATURES["weak typing"]["tensorrt"].until
        is_told = self.library == "TensorRT" and (not until or numbers(self.version) < until)
        return not is_told


def aim_of(options: CheckOptions) -> Aim:
    """Return what a model is checked for.

    Raises:
        InputError: None is named, or there is no such device, it never had that JetPack, or has no
            DLA, or a DLA is asked for float32.
    """
    if options.device is None:
        mend = "Add --device NAME, or --on HOST. See: edgeattn devices list"
        raise InputError("No device is named to check for.", mend=mend)
    device = find(options.device)
    choice = choice_of(device, jetpack=options.jetpack, tensorrt=options.tensorrt, dla=options.dla)
    if options.gpu_fallback and not options.dla:
        raise InputError("--gpu-fallback is for what a DLA cannot do.", mend="Add --dla.")
    if options.dla and options.precision == "fp32":
        raise InputError(
            "A DLA computes in fp16 and int8 only.", mend="Leave --precision out, or add fp16."
        )
    if device.kind == "cpu":
        version = _onnxruntime()
        return Aim(
            device=device,
            choice=choice,
            library="ONNX Runtime",
            version=version,
            is_here=bool(version),
        )
    if choice.tensorrt is None and "tensorrt-rtx" in device.runtimes:
        try:
            version = load("tensorrt-rtx").version
        except MissingError:
            pass
        else:
            return Aim(
                device=device,
                choice=choice,
                library="TensorRT-RTX",
                version=version,
                is_here=True,
            )
    return Aim(device=device, choice=choice, library="TensorRT", version=choice.tensorrt or _NEWEST)


def _onnxruntime() -> str:
    """Return the version of the ONNX Runtime that is here; "" if none is."""
    try:
        import onnxruntime
    except ImportError:
        return ""
    return str(onnxruntime.__version__)


@blames_the_file
def check(
    source: Path,
    options: CheckOptions,
    *,
    guest: Guest | None = None,
    name: str = "",
    is_cast_later: bool = False,
    notes: Sequence[str] = (),
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Checked:
    """Check whether an ONNX file runs on a device.

    Args:
        source: The file.
        options: What it is checked for; with a host, as `check_on.there` has it.
        guest: The host that is asked; None to ask none.
        name: What the model is called; "" for the file's path.
        is_cast_later: Whether the file is to be cast to the precision that it is checked in.
        notes: What else a reader should know.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        What was found; its `verdict` is for the caller to judge.

    Raises:
        InputError: The file cannot be read, or an option does not fit it or the device.
        MissingError: Memory or space on the host ran out.
    """
    aim = aim_of(options)
    if aim.library == "TensorRT-RTX":
        apart.start()  # it loads the library meanwhile
    on_stage("read")
    found = read(source)
    model = found.model
    own = precision_of(model)
    is_as_it_is = aim.is_typed and own == "fp32" and not is_cast_later
    precision = _precision(found, own, options, "fp32" if is_as_it_is else aim.choice.precision)
    findings = [] if aim.library == "ONNX Runtime" else list(_open_sizes(found, options))
    refusals = _refusals(found, aim, on_stage)
    _bind(found, options)
    host = _host(found, options, guest, on_stage)
    refusals = refusals if host is None else _refused_there(host)
    on_stage("operators")
    answers, more = _asked(found, aim, refusals)
    findings += more
    sites = _sites(found)
    places = Places(sites.site_of)
    remarks = [*notes, *sites.notes, *_any_version(aim)]
    findings += places.findings(
        "operator",
        answers,
        {"no": f"is not taken by {aim.title}", "unknown": f"may not be taken by {aim.title}"},
    )
    on_stage("precision")
    findings += precision_findings(
        found,
        own,
        precision,
        aim.device,
        library=aim.library,
        version=aim.version,
        is_told=not aim.is_typed,
    )
    if is_as_it_is:
        findings += typed_findings(found, options.precision, aim.choice.precision, aim.title)
    if precision == "fp16" and own == "fp32":
        over, said = range_findings(found, model, options)
        findings += over
        remarks += said
    elif options.calibration is not None:
        remarks.append("The calibration is of no use here: ranges are measured for fp16 alone.")
    report = None
    if aim.library != "ONNX Runtime":
        on_stage("traps")
        findings += traps(
            model,
            tensorrt=aim.version,
            precision=precision,
            on_dla=options.dla,
            rtx=aim.library == "TensorRT-RTX",
        )
    if options.dla:
        on_stage("dla")
        report, more = _on_dla(model, aim, precision, options, places, host)
        findings += more
        remarks += [] if host is None else host.notes
        if report is not None and report.gpu and not options.gpu_fallback:
            remarks.append(_FALLBACK)
    on_stage("memory")
    memory, more = needed_memory(model, precision, aim.device)
    findings += more
    placed = [one for each in findings for one in _placed(each, places)]
    if name in ("", str(source)):  # and not exported for this
        remarks += _advice(found, options, aim, placed)
    placed.sort(key=lambda one: WORST_FIRST.index(one.verdict))
    return Checked(
        model=name or str(source),
        device=aim.device.name,
        title=aim.device.title,
        jetpack=aim.choice.jetpack,
        library=aim.library,
        version=aim.version,
        opset=found.opset,
        precision="bf16" if nodes_in(model, ir.DataType.BFLOAT16) else precision,
        verdict=worst_verdict(one.verdict for one in placed),
        findings=tuple(placed),
        operators=operators(answers),
        memory=memory,
        dla=report,
        host="" if host is None else host.answers.title,
        command=command,
        versions=installed(),
        notes=tuple(dict.fromkeys(remarks)),
    )


def _advice(
    found: Source, options: CheckOptions, aim: Aim, findings: Sequence[Finding]
) -> Iterator[str]:
    """Yield what else there is to say of a file: what it was lowered for, and how to do it anew."""
    runtime = "onnxruntime" if aim.library == "ONNX Runtime" else "tensorrt"
    again = misfit(found.path, forms_of(found.model), "dla" if options.dla else runtime)
    if again:
        yield again
    if any(_OPTION.search(one.mend) for one in findings):
        yield _ELSEWHERE.format(file=shlex.quote(str(found.path)))


def _any_version(aim: Aim) -> Iterator[str]:
    """Say which version is asked where any may be installed."""
    if aim.library != "ONNX Runtime" and aim.choice.tensorrt is None:
        yield f"No TensorRT is named, and {aim.title} is asked. Another: --tensorrt 10.3"


def _bind(found: Source, options: CheckOptions) -> None:
    """Give a model the sizes that it is checked for, and find those of all values."""
    if options.shapes:
        bind(found.model, found.path, 1, options.shapes)
    else:
        inference.bind_batch(found.model, 1)
    inference.find(found.model)


def _host(
    found: Source, options: CheckOptions, guest: Guest | None, on_stage: Callable[[str], None]
) -> There | None:
    """Ask the host, if one is to be asked."""
    if guest is None:
        return None
    with _as_named(found) as file:
        return check_on.ask(file, found.model, options, guest, on_stage)


def _placed(found: Finding, places: Places) -> Iterator[Finding]:
    """Yield a finding by module and site, unless it is so already."""
    if found.module or found.site:
        yield found
    else:
        yield from places.apart(found)


def _precision(found: Source, own: Precision, options: CheckOptions, suits: Precision) -> Precision:
    """Return what a file is to run in; one in float32 in what suits, unless one is asked.

    Raises:
        InputError: It is in another precision already than the one that is asked.
    """
    asked = options.precision
    if own != "fp32" and asked not in (None, own):
        raise InputError(
            f"{found.path} is in {own} already, and --precision says {asked}.",
            mend="Give the float32 file that it was made from, or leave --precision out.",
        )
    return own if own != "fp32" else asked or suits


def _sites(found: Source) -> Located:
    """Find the sites of a file; those that are recognised are so from opset 11 on."""
    taken = take_up(found)
    if taken.model is not found.model:
        inference.find(taken.model)
    return located(found.path, taken.model)


# ---- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """What a library that is here, or a host, refuses of a file.

    Attributes:
        source: What says so.
        nodes: The reason, by the node's name.
        others: What it says of no node of the file's.
    """

    source: str
    nodes: Mapping[str, str]
    others: tuple[Answer, ...] = ()


def _refusals(found: Source, aim: Aim, on_stage: Callable[[str], None]) -> _Refused | None:
    """Ask the library that is here; None if none is."""
    if not aim.is_here:
        return None
    on_stage(f"ask {aim.title}")
    source = _here(aim)
    names = {str(node.name): node for node in found.model.graph.all_nodes()}
    nodes: dict[str, str] = {}
    others = []
    try:
        with _as_named(found) as file:
            if aim.library == "TensorRT-RTX":
                for one in apart.refusals(file, load("tensorrt-rtx")):
                    if one.node in names:
                        nodes[one.node] = one.reason.rstrip(".")
                    else:
                        what = f"{one.node} ({one.op_type}): " if one.op_type else ""
                        reason = f"{what}{one.reason.rstrip('.')}"
                        others.append(Answer(verdict="no", reason=reason, source=source))
            else:
                open_session(file, session_options(threads=1, optimise=False, arena=False))
    except InputError as error:  # it crashed, or ONNX Runtime has no kernel
        reason = PREFIX.sub("", error.fact).rstrip(".")
        nodes = {name: reason for name, node in names.items() if _is_named(node, reason)}
        if not nodes:
            others = [Answer(verdict="no", reason=reason, source=source, mend=error.mend)]
    return _Refused(source=source, nodes=nodes, others=tuple(others))


def _refused_there(host: There) -> _Refused:
    refusal = host.answers.refusal
    others = () if refusal is None or host.answers.parsed else (refusal,)
    return _Refused(source=host.source, nodes=host.refused, others=others)


def _is_named(node: ir.Node, reason: str) -> bool:
    """Return whether ONNX Runtime speaks of a node: by its name, or of its operator."""
    return f"name '{node.name}'" in reason or (
        not is_standard(node) and f"{node.domain}:{node.op_type}(" in reason
    )


@contextlib.contextmanager
def _as_named(found: Source) -> Iterator[Path]:
    """Yield a file whose nodes are named as in the model that was read."""
    if found.is_as_written:
        yield found.path
        return
    with files.scratch() as folder:
        copy = folder / found.path.name
        save(found.model, copy, external=True)
        yield copy


def _asked(
    found: Source, aim: Aim, refused: _Refused | None
) -> tuple[dict[ir.Node, Answer], list[Finding]]:
    """Return whether each node is taken, and what was found besides.

    What a library or a host says of a file that it takes overrules the tables; of one that it
    refuses, it may have looked at no more than the nodes that it names.
    """
    nodes = list(found.model.graph.all_nodes())
    answers: dict[ir.Node, Answer] = {}
    findings: list[Finding] = []
    if aim.library == "ONNX Runtime":
        unknown = Answer(
            verdict="unknown",
            reason="no ONNX Runtime is installed here to ask",
            mend="pip install onnxruntime, and ask again.",
        )
        answers = dict.fromkeys(nodes, unknown)
    else:
        parser = Parser(aim.version, rtx=aim.library == "TensorRT-RTX")
        answers = {node: parser.takes(node) for node in nodes}
        findings = [*_interface(found, parser), *_whole(found, parser)]
    if refused is None:
        return answers, findings
    source = refused.source
    if not refused.nodes and not refused.others:
        taken = dict.fromkeys(nodes, Answer(verdict="yes", source=source))
        # To parse an operator of a newer opset is not yet to read it right, and what was asked has
        # no functions any more.
        return taken, [one for one in findings if one.about in {"opset", "function"}]
    if aim.library == "ONNX Runtime":
        answers = dict.fromkeys(nodes, Answer(verdict="yes", source=source))
    for node in nodes:
        if (reason := refused.nodes.get(str(node.name))) is not None:
            mend = answers[node].mend if answers[node].verdict == "no" else ""
            answers[node] = Answer(verdict="no", reason=reason, source=source, mend=mend)
    for one in refused.others:
        findings.append(_finding("operator", one, f"{aim.title} refuses it: {one.reason}."))
    return answers, findings


def _here(aim: Aim) -> str:
    return f"measured: {aim.title}, on this machine"


def _whole(found: Source, parser: Parser) -> Iterator[Finding]:
    """Yield what of a file is not taken that is of no node and no value."""
    for opset in (parser.is_known(), parser.takes_opset(found.opset)):
        if opset.verdict != "yes":
            yield _finding("opset", opset, _sentence(opset.reason))
    functions = parser.takes_functions(found.functions)
    if found.functions and functions.verdict != "yes":
        yield _finding("function", functions, _sentence(functions.reason))


def _interface(found: Source, parser: Parser) -> Iterator[Finding]:
    """Yield what of a model's inputs and outputs is not taken."""
    graph = found.model.graph
    for kind, values in (("Input", graph.inputs), ("Output", graph.outputs)):
        for value in values:
            answer = parser.takes_value(value)
            if answer.verdict != "yes":
                yield _finding("type", answer, f"{kind} {value.name}: {answer.reason}.")


def _finding(about: About, answer: Answer, fact: str) -> Finding:
    return Finding(
        about=about,
        verdict=answer.verdict,
        fact=fact,
        mend=answer.mend,
        source=answer.source,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _shapes(found: Source) -> str:
    """Return the options that give all inputs a shape; what is open, but for the batch, is N."""
    shapes: list[list[int | str]] = []
    for value in found.model.graph.inputs:
        sizes = list(value.shape or ())
        shapes.append([one if isinstance(one, int) else "N" for one in sizes])
        if sizes and not isinstance(sizes[0], int):
            shapes[-1][0] = 1
    return " ".join(f"--shape {'x'.join(map(str, one))}" for one in shapes)


def _open_sizes(found: Source, options: CheckOptions) -> Iterator[Finding]:
    """Yield what follows of open sizes of inputs, where TensorRT is to run the model."""
    for value in found.model.graph.inputs:
        if value.shape is None or value.shape.is_static():
            continue
        sizes = [one if isinstance(one, int) else None for one in value.shape]
        shape = in_words(sizes)
        fixed = "x".join("N" if one is None else str(one) for one in sizes)
        open_ = f"Input {value.name} has open sizes ({shape})"
        if options.dla:
            yield Finding(
                about="shape",
                verdict="yes",
                fact=f"{open_}, and a DLA takes no range of them: min, opt and max of the profile"
                " must be equal.",
                mend=f"Export with fixed sizes, or build for one: --shapes={value.name}:{fixed}",
                source=_FIXED,
            )
        else:
            yield Finding(
                about="shape",
                verdict="yes",
                fact=f"{open_}: an engine is built for a range of them.",
                mend="Say the smallest, usual and largest when you build:"
                f" --minShapes={value.name}:{fixed} --optShapes=… --maxShapes=…",
                source=_RANGE,
            )
        if None in sizes[1:] and not options.shapes:
            yield Finding(
                about="shape",
                verdict="unknown",
                fact=f"{open_} besides the batch: what hangs on them, as memory, is not known.",
                mend=f"Say which it is checked at: {_shapes(found)}",
            )


# ---- the DLA ------------------------------------------------------------------------------------


def _on_dla(
    model: ir.Model,
    aim: Aim,
    precision: Precision,
    options: CheckOptions,
    places: Places,
    host: There | None,
) -> tuple[DLAReport | None, list[Finding]]:
    """Return where nodes run that a DLA is asked for, and what keeps them off it."""
    capability = dotted(aim.device.compute_capability or ())
    reached = dla_of(capability, aim.device.dla_cores, aim.version, aim.device.name)
    findings: list[Finding] = []
    if reached.verdict != "yes" and not (host and host.answers.placed):
        findings.append(_finding("dla", reached, _sentence(reached.reason)))
    if host is not None and host.is_parsed and (refusal := host.answers.refusal) is not None:
        fact = f"{host.answers.title} builds no engine of it: {refusal.reason}"
        findings.append(_finding("dla", refusal, _sentence(fact)))
    generation = generation_of(capability)
    if generation is None or reached.verdict == "no":
        return None, findings
    dla = DLA(generation, aim.version, "int8" if precision == "int8" else "fp16")
    answers = check_dla.answers_of(dla, model)
    if host is not None:
        answers = host.placed(answers)
    report = check_dla.report_of(
        dla,
        model.graph,
        answers,
        places,
        aim.device.at(),
        shuffles=aim.device.efficiency.of_bandwidth("shuffle"),
    )
    if host is not None and (loadables := host.answers.loadables) is not None:
        report = report.model_copy(update={"loadables": (loadables, loadables)})
    more = check_dla.findings_of(dla, report, answers, places, gpu_fallback=options.gpu_fallback)
    return report, [*findings, *more]
