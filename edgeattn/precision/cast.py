"""Cast: a float32 ONNX file is written in half precision or int8, and compared with what it was."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, Final

from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import describe
from edgeattn.legalise import take_up, taken_up
from edgeattn.options.cast import RANDOM, CastOptions, check_options
from edgeattn.options.shapes import check_type
from edgeattn.parity import tolerance_of
from edgeattn.precision.calibration import Samples, read_samples
from edgeattn.precision.front import near_enough
from edgeattn.precision.half import prepare
from edgeattn.precision.int8 import OLDEST_OPSET, quantise
from edgeattn.precision.judge import Judge
from edgeattn.precision.keep import nodes_to_keep
from edgeattn.precision.pixels import choose
from edgeattn.precision.ranges import measure_ranges
from edgeattn.records.manifest import CastRecord, KeptNode, LargestValue
from edgeattn.records.pixels import Pixels

# As many are used where nobody says how many.
_DRAWN: Final = 4
_READ: Final = 128


def cast_file(
    source: Path,
    destination: Path,
    options: CastOptions,
    *,
    gate: bool = True,
    pixels: Pixels | None = None,
) -> CastRecord:
    """Cast an ONNX file, without a manifest beside it: a stage of export and of build.

    Args:
        source: The ONNX file to read.
        destination: The ONNX file to write, in a folder of the caller's own.
        options: How to cast.
        gate: Raise if it differs by more than it may.
        pixels: What the model says that photos are normalised by.

    Raises:
        InputError: If the file cannot be read, run or cast, or the samples do not fit it.
        CheckError: If what was written differs by more than it may.
    """
    check_options(options)
    if options.data is not None:
        raise InputError(
            "The accuracy of a cast is not found while something else is made.",
            mend="Cast the file that was made: edgeattn cast FILE.onnx --data FOLDER",
        )
    clock = Clock(lambda _: None)
    return cast_source(read(source), destination, options, clock, gate=gate, pixels=pixels)


def cast_in_place(path: Path, options: CastOptions, pixels: Pixels | None) -> CastRecord:
    """Cast a file of the caller's own and put the result in its place.

    Args:
        path: The file; nothing else in its folder may belong to it but `NAME.data`.
        options: How to cast. The two are compared, and any difference passes: the caller compares
            the result with what the file came from.
        pixels: What the model says that photos are normalised by.

    Raises:
        InputError: If the file cannot be cast, or the samples do not fit it.
        CheckError: If ONNX Runtime does not run what was made.
    """
    # Beside the file's folder, not in it: what is there is to land.
    with tempfile.TemporaryDirectory(prefix="cast-", dir=path.parent.parent) as folder:
        made = Path(folder) / path.name
        record = cast_file(path, made, options, gate=False, pixels=pixels)
        Path(f"{path}.data").unlink(missing_ok=True)
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)
    return record


def cast_source(
    found: Source,
    path: Path,
    options: CastOptions,
    clock: Clock,
    *,
    gate: bool = True,
    pixels: Pixels | None = None,
) -> CastRecord:
    """Cast what was read into a file, and compare the two files."""
    source = found
    found = take_up(found, below=OLDEST_OPSET) if options.precision == "int8" else take_up(found)
    with clock.stage("samples"):
        samples = samples_of(found, options, pixels, seed=options.seed)
    to = _to_half if options.precision == "fp16" else _to_int8
    done = to(found, path, samples, options, clock)
    with clock.stage("parity"):
        compared = samples
        if options.calibration in (None, RANDOM):  # others than those that it was made with
            compared = samples_of(found, options, pixels, seed=options.seed + 1)
        tolerance = tolerance_of(options.precision, min_sqnr_db=options.min_sqnr_db)
        judge = Judge(found.path, compared)
        report = judge.judge(path, tolerance)
        if gate and not report.passed:
            raise judge.refusal(path, report)
        done["notes"] = (*done["notes"], *judge.notes(report))
    done["notes"] += taken_up(source, found)

    done["notes"] = (*samples.notes, *done["notes"])
    return CastRecord(
        precision=options.precision, parity_on=compared.description, parity=report, **done
    )


def samples_of(found: Source, options: CastOptions, own: Pixels | None, *, seed: int) -> Samples:
    """Find the samples that a cast of a file is made, or judged, with.

    Args:
        found: The file.
        options: Which samples, and the shapes that they are taken at.
        own: What the model says that photos are normalised by.
        seed: Seed of random samples.

    Raises:
        InputError: There are no such samples, or they or the shapes do not fit the model.
    """
    inputs = describe(found.model.graph.inputs)
    if not inputs:
        raise InputError("The model takes no inputs: what it gives is always the same.")
    for value in found.model.graph.inputs if not options.shapes else ():
        if value.shape is None:
            raise InputError(f"Input {value.name} says no shape.", mend="Say it with --shape.")
    if options.shapes:
        if len(options.shapes) != len(inputs):
            raise InputError(
                f"The model takes {len(inputs)} inputs, and {len(options.shapes)} shapes are"
                " given.",
                mend="Give --shape once for each.",
            )
        pairs = list(zip(inputs, options.shapes, strict=True))
        for one, shape in pairs:
            check_type(shape, one.name, one.dtype)
        inputs = tuple(one.model_copy(update={"shape": shape}) for one, shape in pairs)
    limit = options.samples or (_DRAWN if options.calibration is None else _READ)
    source = RANDOM if options.calibration is None else options.calibration
    pixels = choose(options.pixels, own=own, path=found.path, model=found.model)
    if options.data is not None:  # there are photos elsewhere
        pixels = dataclasses.replace(pixels, is_asked=False)
    return read_samples(source, inputs, limit=limit, seed=seed, pixels=pixels)


def _to_half(
    found: Source,
    path: Path,
    samples: Samples,
    options: CastOptions,
    clock: Clock,
) -> dict[str, Any]:
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
) -> dict[str, Any]:
    import onnx_ir

    if options.keep_fp32:
        raise InputError("--keep-fp32 is for fp16 only.", mend="int8 leaves gates and statistics.")
    operators = {str(node.name): node.op_type for node in found.model.graph}
    with clock.stage("quantise"):
        done = quantise(
            found.path,
            path,
            samples,
            gates=options.gates,
            runtime=options.runtime,
            on_progress=lambda run, runs: clock.tell(f"calibrate {run}/{runs}"),
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
