"""A file is judged by how far it is from itself, and no further; what is wrong still fails."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import CheckError, InputError
from edgeattn.parity import compare_files, references
from edgeattn.parity.check import must_agree
from edgeattn.parity.floor import nudged
from export_tests.foreign import value

SHAPE = (1, 3, 24, 24)


def written(path, nodes, tensors, *, inputs=None, outputs=None):
    graph = helper.make_graph(
        [helper.make_node(*node[:3], name=f"n{i}", **node[3]) for i, node in enumerate(nodes)],
        "g",
        inputs or [value("x", SHAPE)],
        outputs or [value("y", None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def detector(path, *, bias=-15.0, folded=False, weight=1.0, channel=slice(None)):
    """Two convolutions and a scale, folded or not, and a sigmoid that is shut."""
    generator = np.random.default_rng(0)
    first = generator.normal(0, 0.3, (8, 3, 3, 3)).astype("f4")
    scale = generator.uniform(0.5, 2, (8, 1, 1, 1)).astype("f4")
    last = generator.normal(0, 0.2, (1, 8, 3, 3)).astype("f4")
    tensors = {"w": first, "s": scale.reshape(1, 8, 1, 1), "l": last, "b": np.float32([bias])}
    nodes = [("Conv", ["x", "w"], ["c"], {}), ("Mul", ["c", "s"], ["m"], {})]
    if folded:
        tensors["w"] = first * scale
        tensors["w"][channel] *= np.float32(weight)
        del tensors["s"]
        nodes = [("Conv", ["x", "w"], ["m"], {})]
    nodes += [
        ("Relu", ["m"], ["r"], {}),
        ("Conv", ["r", "l", "b"], ["z"], {}),
        ("Sigmoid", ["z"], ["y"], {}),
    ]
    return written(path, nodes, tensors)


@pytest.fixture
def shut(tmp_path):
    return detector(tmp_path / "shut.onnx")


def test_a_detector_that_is_shut_is_judged_by_its_own_distance(shut, tmp_path):
    report, notes = must_agree(detector(tmp_path / "b.onnx", folded=True), shut)
    assert report.outputs[0].sqnr_db < report.min_sqnr_db == 80
    assert all(30 < case.rounding_floor_db < 80 for case in report.cases if not exact(case))
    assert any("rounding floor" in note for note in notes)
    assert "rounding floor" in compare_files(tmp_path / "b.onnx", shut).notes[-1]


def exact(case):
    return case.outputs[0].sqnr_db is None or case.outputs[0].sqnr_db >= 80


@pytest.mark.parametrize("factor", [1.002, 1.05, 0.0, -1.0])
def test_what_is_wrong_behind_the_sigmoid_still_fails(shut, tmp_path, factor):
    wrong = detector(tmp_path / "b.onnx", folded=True, weight=factor, channel=2)
    with pytest.raises(CheckError, match="first module that differs is m"):
        must_agree(wrong, shut)


def test_what_the_output_hides_shows_behind_it(shut, tmp_path, monkeypatch):
    wrong = detector(tmp_path / "b.onnx", folded=True, weight=1.0005, channel=2)
    with pytest.raises(CheckError, match="first module that differs is m"):
        must_agree(wrong, shut)
    monkeypatch.setattr(references, "differs_behind", lambda *_args, **_how: None)
    assert must_agree(wrong, shut)[0].passed


def test_below_the_lowest_floor_nothing_is_proven_and_that_is_said(tmp_path):
    dead = detector(tmp_path / "dead.onnx", bias=-19.0)
    with pytest.raises(CheckError, match="Nothing can be proven") as caught:
        must_agree(detector(tmp_path / "b.onnx", bias=-19.0, folded=True), dead)
    assert "--input" in caught.value.mend
    assert "report" not in caught.value.mend
    report = compare_files(tmp_path / "b.onnx", dead)
    assert not report.passed
    assert "Nothing can be proven" in report.notes[-1]


def test_data_that_fits_proves_it(tmp_path):
    dead = detector(tmp_path / "dead.onnx", bias=-19.0)
    other = detector(tmp_path / "b.onnx", bias=-19.0, folded=True)
    data = [np.random.default_rng(0).normal(0, 12, SHAPE).astype("f4")]
    report, notes = must_agree(other, dead, data=data)
    assert (report.passed, notes) == (True, [])
    with pytest.raises(InputError, match="takes"):
        must_agree(other, dead, data=[data[0][:, :2]])


def test_a_model_that_amplifies_nothing_gets_no_room(tmp_path):
    path = detector(tmp_path / "open.onnx", bias=0.0)
    assert must_agree(detector(tmp_path / "b.onnx", bias=0.0, folded=True), path)[0].passed
    wrong = detector(tmp_path / "b.onnx", bias=0.0, folded=True, weight=1.002, channel=2)
    with pytest.raises(CheckError, match="lowered model differs"):
        must_agree(wrong, path)


def quantised(path, *, ahead=()):
    """Integer kernels with optimisations on, float ones without: tens of decibels apart."""
    generator = np.random.default_rng(1)
    weight = generator.integers(-127, 127, (6, 3, 3, 3)).astype(np.int8)
    tensors = {
        "s": np.float32(0.03), "z": np.int8(0), "w": weight, "ws": np.float32(0.004),
        "os": np.float32(0.11), "two": np.float32(2), "half": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        *ahead,
        ("QuantizeLinear", ["i" if ahead else "x", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
        ("DequantizeLinear", ["w", "ws", "z"], ["dw"], {}),
        ("Conv", ["d", "dw"], ["c"], {}),
        ("QuantizeLinear", ["c", "os", "z"], ["cq"], {}),
        ("DequantizeLinear", ["cq", "os", "z"], ["y"], {}),
    ]
    return written(path, nodes, tensors)


def test_integer_kernels_are_compared_with_integer_kernels(tmp_path):
    path = quantised(tmp_path / "a.onnx")
    report, notes = must_agree(path, path)
    assert report.passed
    said = {case.reference_optimisations for case in report.cases}
    assert said == ({"off", "on"} if notes else {"off"})


def test_infinities_of_masks_are_equal_and_hide_nothing(tmp_path):
    mask = np.triu(np.full((24, 24), -np.inf, "f4"), 1)
    mask[3] = -np.inf  # a whole row
    for fill in (mask, np.where(np.isinf(mask), np.float32(-1e9), mask)):
        tensors = {"m": fill, "k": np.float32(3)}
        path = written(
            tmp_path / "a.onnx",
            [("Mul", ["x", "k"], ["v"], {}), ("Add", ["v", "m"], ["y"], {})],
            tensors,
        )
        report, _ = must_agree(path, path)
        assert (report.outputs[0].max_abs, report.outputs[0].cosine) == (0, pytest.approx(1))
        wrong = written(
            tmp_path / "b.onnx",
            [("Mul", ["x", "k"], ["v"], {}), ("Add", ["v", "m"], ["y"], {})],
            tensors | {"k": np.float32(3.003)},
        )
        with pytest.raises(CheckError, match="SQNR 60"):
            must_agree(wrong, path)


def test_whole_numbers_are_equal_or_as_far_as_the_file_is_from_itself(tmp_path):
    def classes(path, *, scale, weight=1.0):
        weights = np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1)).astype("f4")
        tensors = {"w": weights * np.float32(weight), "s": np.float32(scale)}
        nodes = [
            ("Conv", ["x", "w"], ["c"], {}),
            ("Mul", ["c", "s"], ["m"], {}),
            ("Floor", ["m"], ["f"], {}),
            ("Cast", ["f"], ["y"], {"to": TensorProto.INT64}),
        ]
        outputs = [value("y", None, TensorProto.INT64)]
        return written(path, nodes, tensors, outputs=outputs)

    path = classes(tmp_path / "a.onnx", scale=10)
    assert must_agree(path, path)[0].passed
    wrong = classes(tmp_path / "b.onnx", scale=10, weight=1.001)
    with pytest.raises(CheckError, match="output y"):
        must_agree(wrong, path)
    fine = classes(tmp_path / "a.onnx", scale=1e6)  # floors that every rounding moves
    other = classes(tmp_path / "b.onnx", scale=1e6 * (1 + 1e-7))
    report, notes = must_agree(other, fine)
    assert report.outputs[0].argmax_agreement < 1
    assert any("rounding floor" in note for note in notes)


def test_a_nudge_moves_floats_by_one_unit_and_nothing_else():
    floats = np.random.default_rng(0).normal(size=(50,)).astype("f4")
    ids = np.arange(5)
    moved = nudged([floats, ids, ids.astype("f4")], 0)
    assert (moved[0] != floats).all()
    assert np.abs(moved[0] - floats).max() <= np.spacing(np.abs(floats).max())
    assert {np.sign(x) for x in moved[0] - floats} == {-1, 1}
    assert np.array_equal(moved[1], ids)
    assert np.array_equal(moved[2], ids)
