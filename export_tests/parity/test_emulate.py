"""The emulation rounds each half value, which ONNX Runtime's own run of a half file does not."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgeattn.graph.reading import read
from edgeattn.parity.emulate import write_emulated
from edgeattn.precision.half import prepare, to_half
from export_tests.precision.nets import write


def made(tmp_path, net, *, kept=(), half_io=False, **weights):
    path = write(tmp_path / "m.onnx", net, shape=(1, 4, 2, 2), weights=weights)
    model = read(path).model
    prepare(model)
    ir.save(to_half(model, kept, half_io=half_io).model, tmp_path / "half.onnx")
    return tmp_path / "half.onnx"


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kind = np.float16 if "16" in session.get_inputs()[0].type else np.float32
    (result,) = session.run(None, {"x": x.astype(kind)})
    return result


def drawn():
    return np.random.default_rng(0).normal(0, 1, (1, 4, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("half_io", [False, True])
def test_every_value_is_rounded(tmp_path, half_io):
    path = made(tmp_path, "a: Add(x k) -> a\ns: Sub(a k) -> y", half_io=half_io,
                k=np.array(300.1, np.float32))  # fmt: skip
    emulated = write_emulated(path, tmp_path / "emulated.onnx")
    onnx.checker.check_model(emulated, full_check=True)
    k = np.float16(300.1)
    want = (drawn().astype(np.float16) + k) - k
    have = run(emulated, drawn())
    assert have.dtype == (np.float16 if half_io else np.float32)
    np.testing.assert_array_equal(have, want)


def test_what_overflows_is_infinite(tmp_path):
    net = "a: Mul(x k) -> a\nd: Div(a k) -> y"
    emulated = write_emulated(
        made(tmp_path, net, k=np.array(60000, np.float32)), tmp_path / "emulated.onnx"
    )
    x = np.full((1, 4, 2, 2), 2, np.float32)
    assert np.isinf(run(emulated, x)).all()


def test_what_is_kept_is_not_rounded(tmp_path):
    path = made(tmp_path, "a: Add(x k) -> a\ns: Sub(a k) -> y", kept={"a", "s"},
                k=np.array(300.1, np.float32))  # fmt: skip
    emulated = write_emulated(path, tmp_path / "emulated.onnx")
    np.testing.assert_array_equal(run(emulated, drawn()), run(path, drawn()))
