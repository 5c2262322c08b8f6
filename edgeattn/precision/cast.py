"""Cast: a float32 ONNX file is written in half precision or int8, and compared with what it was."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from edgeattn import files
from edgeattn.clock import Clock
from edgeattn.errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.manifest import Cast, CastRecord
    from edgeattn.precision.calibration import Samples
    from edgeattn.reading import Source

PRECISIONS: Final = ("fp16", "int8")
RANDOM: Final = "random"
# As many are used where nobody says how many.
_DRAWN: Final = 4
_READ: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class CastOptions:
    """How to cast.

    Attributes:
        precision: `fp16` or `int8`.
        half_io: Cast the inputs and outputs too; fp16 only.
        keep_fp32: Globs of node names and module paths that stay float32.
        calibration: What ranges are measured on: a folder, an .npz or .npy file, or `random`;
            None is random for fp16, and refused for int8.
        samples: How many samples are used at most; None for 4 random ones, or 128 of other data.
        seed: Seed of random samples.
        gates: Quantise gates and statistics too; int8 only.
        shapes: Shapes of the inputs, one each; needed only where dimensions other than the batch
            are open.
        min_sqnr_db: The smallest SQNR that passes; None for 40 dB in fp16, and none in int8.
    """

    precision: Literal["fp16", "int8"] = "fp16"
    half_io: bool = False
    keep_fp32: tuple[str, ...] = ()
    calibration: str | None = None
    samples: int | None = None
    seed: int = 0
    gates: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()
    min_sqnr_db: float | None = None


def cast(
    source: Path,
    options: CastOptions,
    destination: Path,
    *,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Cast:
    """Casts an ONNX file to `destination` and writes the manifest beside it.

    Args:
        source: The ONNX file to read.
        options: How to cast.
        destination: The ONNX file to write; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        The manifest.

    Raises:
        InputError: If the file cannot be read, run or cast, or the samples do not fit it.
        CheckError: If what would be written differs by more than it may; nothing is written then.
    """
    from edgeattn.export import check_destination, files_of

    check_options(options)
    clock = Clock(on_stage)
    with clock.stage("read"):
        from edgeattn.reading import read

        found = read(source)
        before = len(found.model.graph)
    destination = check_destination(destination)
    files.check_apart(files_of(destination), (found.path, *found.data))
    with files.staged(destination.parent) as staging:
        path = staging / destination.name
        record = _cast(found, path, options, clock, on_stage)
        with clock.stage("write"):
            manifest = _manifest(found, path, record, before, options, clock, command)
        text = manifest.model_dump_json(indent=2) + "\n"
        (staging / destination.with_suffix(".json").name).write_text(text, encoding="utf-8")
    return manifest


def cast_file(
    source: Path,
    destination: Path,
    options: CastOptions,
    *,
    gate: bool = True,
    on_stage: Callable[[str], None] = lambda _: None,
) -> CastRecord:
    """Casts an ONNX file, without a manifest beside it: a stage of export and of build.

    Args:
        source: The ONNX file to read.
        destination: The ONNX file to write, in a folder of the caller's own.
        options: How to cast.
        gate: Raise if it differs by more than it may.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: If the file cannot be read, run or cast, or the samples do not fit it.
        CheckError: If what was written differs by more than it may.
    """
    from edgeattn.reading import read

    check_options(options)
    return _cast(read(source), destination, options, Clock(on_stage), on_stage, gate=gate)


def cast_in_place(
    path: Path, options: CastOptions, *, on_stage: Callable[[str], None] = lambda _: None
) -> CastRecord:
    """Casts a file of the caller's own and puts the result in its place.

    Args:
        path: The file; nothing else in its folder may belong to it but `NAME.data`.
        options: How to cast. The two are compared, and any difference passes: the caller compares
            the result with what the file came from.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: If the file cannot be cast, or the samples do not fit it.
        CheckError: If ONNX Runtime does not run what was made.
    """
    # Beside the file's folder, not in it: what is there is to land.
    with tempfile.TemporaryDirectory(prefix="cast-", dir=path.parent.parent) as folder:
        made = Path(folder) / path.name
        record = cast_file(path, made, options, gate=False, on_stage=on_stage)
        Path(f"{path}.data").unlink(missing_ok=True)
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)
    return record


def check_options(options: CastOptions) -> None:
    """Refuses options that contradict each other, before anything is read.

    Raises:
        InputError: Says which.
    """
    if options.precision not in PRECISIONS:
        raise InputError(
            f"There is no precision {options.precision!r} to cast to;"
            f" there are {' and '.join(PRECISIONS)}."
        )
    if options.precision == "int8" and options.calibration is None:
        raise InputError(
            "int8 needs data to calibrate on, and none is given.",
            mend="Give --calibration FOLDER of images or arrays, or --calibration FILE.npz; with"
            " --calibration random the scales are those of noise.",
        )
    for name, given, precision in (
        ("--half-io", options.half_io, "fp16"),
        ("--quantise-gates", options.gates, "int8"),
    ):
        if given and options.precision != precision:
            raise InputError(f"{name} is for {precision} only.")


def _cast(
    found: Source,
    path: Path,
    options: CastOptions,
    clock: Clock,
    on_stage: Callable[[str], None],
    *,
    gate: bool = True,
) -> CastRecord:
    """Casts what was read into a file, and compares the two files."""
    with clock.stage("samples"):
        samples = _samples(found.model, options, seed=options.seed)
    to = _to_half if options.precision == "fp16" else _to_int8
    done = to(found, path, samples, options, clock, on_stage)
    with clock.stage("parity"):
        from edgeattn.parity import tolerance_of
        from edgeattn.precision.judge import Judge

        compared = samples
        if options.calibration in (None, RANDOM):  # others than those that it was made with
            compared = _samples(found.model, options, seed=options.seed + 1)
        tolerance = tolerance_of(options.precision, min_sqnr_db=options.min_sqnr_db)
        judge = Judge(found.path, compared)
        report = judge.judge(path, tolerance)
        if gate and not report.passed:
            raise judge.refusal(path, report, tolerance)
    from edgeattn.manifest import CastRecord

    return CastRecord(
        precision=options.precision, parity_on=compared.description, parity=report, **done
    )


def _samples(model: ir.Model, options: CastOptions, *, seed: int) -> Samples:
    from edgeattn.artifacts import describe
    from edgeattn.precision.calibration import read_samples

    inputs = describe(model.graph.inputs)
    if options.shapes:
        if len(options.shapes) != len(inputs):
            raise InputError(
                f"The model takes {len(inputs)} inputs, and {len(options.shapes)} shapes are"
                " given.",
                mend="Give --shape once for each.",
            )
        pairs = zip(inputs, options.shapes, strict=True)
        inputs = tuple(one.model_copy(update={"shape": shape}) for one, shape in pairs)
    limit = options.samples or (_DRAWN if options.calibration is None else _READ)
    return read_samples(options.calibration or RANDOM, inputs, limit=limit, seed=seed)


def _to_half(
    found: Source,
    path: Path,
    samples: Samples,
    options: CastOptions,
    clock: Clock,
    _on_stage: Callable[[str], None],
) -> dict[str, Any]:
    from edgeattn.manifest import KeptNode, LargestValue
    from edgeattn.precision.front import near_enough
    from edgeattn.precision.half import prepare
    from edgeattn.precision.keep import nodes_to_keep
    from edgeattn.precision.ranges import measure_ranges

    model = found.model
    with clock.stage("ranges"):
        prepare(model)
        ranges, _ = measure_ranges(model, samples)
    with clock.stage("cast"):
        kept = nodes_to_keep(model, ranges, patterns=options.keep_fp32)
        kept, halved = near_enough(found, kept, ranges, samples, path, options)
        names = {one.node for one in kept}
    made = {v.name: ranges[v.name] for n in model.graph if n.name not in names
            for v in n.outputs if v.name in ranges}  # fmt: skip
    largest = max(made.items(), key=lambda item: item[1].max_abs, default=None)
    lost = halved.lost_weights
    return {
        "audited_on": samples.description,
        "notes": (f"{lost} weights are too small for half, and became 0.",) if lost else (),
        "cast_nodes": halved.half,
        "added_nodes": halved.casts,
        "kept": tuple(KeptNode(**dataclasses.asdict(one)) for one in kept),
        "largest": None
        if largest is None
        else LargestValue(name=str(largest[0]), max_abs=largest[1].max_abs),
    }


def _to_int8(
    found: Source,
    path: Path,
    samples: Samples,
    options: CastOptions,
    clock: Clock,
    on_stage: Callable[[str], None],
) -> dict[str, Any]:
    import onnx_ir

    from edgeattn.manifest import KeptNode
    from edgeattn.precision.int8 import quantise

    if options.keep_fp32:
        raise InputError("--keep-fp32 is for fp16 only.", mend="int8 leaves gates and statistics.")
    operators = {str(node.name): node.op_type for node in found.model.graph}
    with clock.stage("quantise"):
        done = quantise(
            found.path,
            path,
            samples,
            gates=options.gates,
            on_progress=lambda run, runs: on_stage(f"calibrate {run}/{runs}"),
        )
    return {
        "audited_on": done.method,
        "cast_nodes": len(done.quantised),
        "added_nodes": len(onnx_ir.load(path).graph) - len(operators),
        "notes": (),
        "kept": tuple(
            KeptNode(node=name, op_type=operators.get(name, ""), reason=reason)
            for name, reason in done.left
        ),
        "largest": None,
    }


def _manifest(
    found: Source,
    path: Path,
    record: CastRecord,
    before: int,
    options: CastOptions,
    clock: Clock,
    command: str,
) -> Cast:
    import onnx_ir

    from edgeattn.artifacts import describe
    from edgeattn.manifest import Cast, Change
    from edgeattn.reading import opset_of
    from edgeattn.versions import versions

    model = onnx_ir.load(path)
    written = sorted(path.parent.iterdir())
    return Cast(
        **dict(record),
        onnx=path.name,
        sha256={file.name: files.sha256(file) for file in written},
        sources={str(file): files.sha256(file) for file in (found.path, *found.data)},
        size_bytes=sum(file.stat().st_size for file in written),
        opset=opset_of(model),
        ir_version=int(model.ir_version),
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        nodes=Change(before=before, after=len(model.graph)),
        options=dataclasses.asdict(options),
        versions=versions(),
        seconds=clock.seconds,
        command=command,
    )
