"""The cast stage: what it writes, what it proves, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import CastOptions
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.precision.cast import cast_file, cast_in_place
from edgeattn.precision.judge import Judge
from edgeattn.records.manifest import Cast
from edgeattn.workflows.cast import cast
from export_tests.foreign import net, old_end
from export_tests.precision.nets import write
from export_tests.precision.test_keep import SIMAM

HALF = CastOptions()
INT8 = CastOptions(precision="int8", calibration="random", samples=4)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("options", [HALF, INT8], ids=["fp16", "int8"])
def test_what_is_written(tmp_path, options):
    source = net(tmp_path / "in.onnx")
    out = tmp_path / "out"
    out.mkdir()
    stages = []
    manifest = cast(source, options, out / "m.onnx", command="x y", on_stage=stages.append)
    assert left_in(out) == ["m.json", "m.onnx"]
    text = (out / "m.json").read_text()
    assert Cast.model_validate_json(text).model_dump_json() == manifest.model_dump_json()
    onnx.checker.check_model(out / "m.onnx", full_check=True)
    assert manifest.precision == options.precision
    assert manifest.sha256 == {"m.onnx": hashlib.sha256((out / "m.onnx").read_bytes()).hexdigest()}
    assert manifest.sources == {str(source): hashlib.sha256(source.read_bytes()).hexdigest()}
    assert manifest.nodes.before == 8
    assert manifest.nodes.after == len(onnx.load(out / "m.onnx").graph.node)
    assert manifest.cast_nodes > 0
    assert manifest.added_nodes == manifest.nodes.after - manifest.nodes.before
    assert "random, seed 0" in manifest.audited_on
    assert "random, seed 1" in manifest.parity_on
    assert manifest.parity.passed
    assert manifest.parity.precision == options.precision
    assert (manifest.command, manifest.schema_version) == ("x y", 1)
    assert {"read", "samples", "parity", "write"} <= set(stages)
    assert manifest.inputs[0].dtype == "float32"


@pytest.mark.parametrize("options", [HALF, INT8], ids=["fp16", "int8"])
def test_an_old_file_is_taken_up(tmp_path, options):
    source = net(tmp_path / "in.onnx", opset=8, extra=old_end())
    manifest = cast(source, options, tmp_path / "m.onnx")
    assert manifest.parity.passed
    assert manifest.opset == 13
    assert "in.onnx is of opset 8, and was taken up to 13." in manifest.notes
    assert not any("Clip" in one.node for one in manifest.kept)


def test_what_stays_is_named_with_its_reason(tmp_path):
    source = write(tmp_path / "in.onnx", SIMAM)
    record = cast_file(source, tmp_path / "out.onnx", HALF)
    kept = {one.node: one for one in record.kept}
    assert {"at/square", "at/sum", "at/gate"} <= set(kept)
    assert "at/mul" not in kept
    assert "squares" in kept["at/square"].reason
    assert kept["at/gate"].max_abs < 1.01
    assert record.largest.name in ("c", "o", "y")
    assert left_in(tmp_path) == ["in.onnx", "out.onnx"]


def test_an_open_batch_stays_open(tmp_path):
    source = net(tmp_path / "in.onnx", shape=("n", 3, 12, 12))
    manifest = cast(source, HALF, tmp_path / "out.onnx")
    assert manifest.inputs[0].shape == ("n", 3, 12, 12)
    assert {case.batch for case in manifest.parity.cases} == {4}


def test_real_data_is_used_for_both(tmp_path):
    source = net(tmp_path / "in.onnx")
    data = np.random.default_rng(3).normal(0, 2, (3, 3, 12, 12)).astype(np.float32)
    np.save(tmp_path / "data.npy", data)
    options = dataclasses.replace(HALF, calibration=str(tmp_path / "data.npy"))
    record = cast_file(source, tmp_path / "out.onnx", options)
    assert record.audited_on == record.parity_on
    assert "data.npy" in record.parity_on


def test_half_inputs_and_outputs(tmp_path):
    options = dataclasses.replace(HALF, half_io=True)
    manifest = cast(net(tmp_path / "in.onnx"), options, tmp_path / "out.onnx")
    assert [one.dtype for one in (*manifest.inputs, *manifest.outputs)] == ["float16"] * 2
    assert manifest.parity.passed


def test_weights_beside_the_file(tmp_path):
    source = net(tmp_path / "in.onnx", external="in.weights")
    manifest = cast(source, HALF, tmp_path / "out.onnx")
    assert len(manifest.sources) == 2
    assert left_in(tmp_path) == ["in.onnx", "in.weights", "out.json", "out.onnx"]


def test_in_place(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    path = net(home / "m.onnx", external="m.onnx.data")
    cast_in_place(path, HALF, None)
    assert left_in(home) == ["m.onnx"]
    assert left_in(tmp_path) == ["home"]
    types = {one.data_type for one in onnx.load(path).graph.initializer}
    assert types == {TensorProto.FLOAT16}


BAD_OPTIONS = {
    "int8 without data": ({"precision": "int8"}, "int8 needs data"),
    "a precision that there is not": ({"precision": "fp8"}, "no precision 'fp8'"),
    "half inputs of int8": ({"precision": "int8", "calibration": "random", "half_io": True},
                            "--half-io is for fp16"),
    "gates of fp16": ({"gates": True}, "--quantise-gates is for int8"),
    "no such data": ({"calibration": "nowhere"}, "nowhere"),
    "no such module": ({"keep_fp32": ("nowhere.*",)}, "'nowhere.*'"),
    "too many shapes": ({"shapes": ((1, 3, 12, 12), (1, 2))}, "2 shapes"),
    "another shape": ({"shapes": ((1, 3, 12),)}, "Invalid rank"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path, name):
    options, said = BAD_OPTIONS[name]
    source = net(tmp_path / "in.onnx")
    with pytest.raises(InputError, match=said):
        cast(source, CastOptions(**options), tmp_path / "out.onnx")
    assert left_in(tmp_path) == ["in.onnx"]


def test_what_is_read_is_not_replaced(tmp_path):
    source = net(tmp_path / "in.onnx")
    before = source.read_bytes()
    with pytest.raises(InputError, match="is what the model is read from"):
        cast(source, HALF, source)
    assert source.read_bytes() == before


@pytest.mark.parametrize("options", [HALF, INT8], ids=["fp16", "int8"])
def test_the_gate(tmp_path, options):
    source = net(tmp_path / "in.onnx")
    asked = dataclasses.replace(options, min_sqnr_db=150)
    with pytest.raises(CheckError, match="The cast model differs") as caught:
        cast(source, asked, tmp_path / "out.onnx")
    assert "the first module that differs is" in caught.value.fact
    assert caught.value.mend
    assert left_in(tmp_path) == ["in.onnx"]
    record = cast_file(source, tmp_path / "out.onnx", asked, gate=False)
    assert not record.parity.passed


def test_a_model_that_gives_nothing_but_nan_is_refused(tmp_path):
    source = write(tmp_path / "in.onnx", "z: Sub(x x) -> z\nd: Div(z z) -> y")
    with pytest.raises(InputError, match="only NaN or infinity"):
        cast(source, HALF, tmp_path / "out.onnx")


def test_nan_at_the_same_places_is_equal(tmp_path):
    source = write(tmp_path / "in.onnx", "l: Log(x) -> y")
    assert cast(source, HALF, tmp_path / "out.onnx").parity.passed


def amplifying(path):
    """The difference of two values that are nearly equal: rounding is all that half leaves."""
    generator = np.random.default_rng(0)
    weights = {
        "w1": generator.normal(0, 1, (4, 4, 1, 1)).astype(np.float32),
        "k": np.full((1, 4, 1, 1), 300, np.float32),
        "w2": generator.normal(0, 1, (4, 4, 1, 1)).astype(np.float32),
    }
    lines = [
        "front/c: Conv(x w1) -> c", "front/a: Add(c k) -> a", "front/s: Sub(a k) -> s",
        *(f"r{i}: Relu({'s' if i == 0 else f'r{i - 1}'}) -> r{i}" for i in range(12)),
        "last: Conv(r11 w2) -> y",
    ]  # fmt: skip
    return write(path, "\n".join(lines), weights=weights)


def test_the_front_stays_where_the_rest_amplifies_its_rounding(tmp_path):
    source = amplifying(tmp_path / "in.onnx")
    record = cast_file(source, tmp_path / "out.onnx", HALF)
    assert record.parity.passed
    kept = {one.node: one.reason for one in record.kept}
    assert kept["front/s"] == "what follows amplifies its rounding"
    assert "last" not in kept


class Twice:
    """Samples that are the same at each reading."""

    description = "two"

    def __iter__(self):
        return iter([{"x": np.full((1, 3, 12, 12), v, np.float32)} for v in (0.5, -1.0)])


def test_outputs_are_compared_over_all_samples_together(tmp_path):
    source = net(tmp_path / "in.onnx")
    other = net(tmp_path / "other.onnx", meta={"other": "file"})
    report = Judge(source, Twice()).judge(other, tolerance_of("fp16"))
    (output,) = report.outputs
    assert output.sqnr_db is None or output.sqnr_db > 120  # optimisations sum in another order
    assert report.passed
    assert len(report.cases) == 2


def test_int8_fails_on_nothing_but_nan():
    one = np.ones((1, 4), np.float32)
    assert measure("y", one, -one, tolerance_of("int8")).passed
    assert not measure("y", one, one * math.nan, tolerance_of("int8")).passed
