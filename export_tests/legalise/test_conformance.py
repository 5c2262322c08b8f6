"""ONNX's own conformance cases, written at older opsets: right, or refused as they cannot be said.

A case is judged by its own data. Where ONNX Runtime computes something else than the case says, of
the model as it was, the same is right.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnxscript.optimizer import fold_constants_ir

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import name_nodes
from edgeattn.legalise import legalise
from edgeattn.lowering import pipeline as lowering
from export_tests.conformance import standard_cases

# What no older opset can say.
REASONS = re.compile(
    r" exists? from opset \d+\.| may not be |computed at run time\.|in training mode\."
    r"|inputs where|withdrawn in opset| before opset \d+\.$"
)
# Drawn anew at each run.
RANDOM = re.compile("bernoulli|training_dropout")


@pytest.fixture(scope="module")
def cases():
    return standard_cases(RANDOM)


def run(model, inputs):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [value.name for value in model.graph.input]
    arrays = [np.asarray(one) if isinstance(one, np.generic) else one for one in inputs]
    return session.run(None, dict(zip(names, arrays, strict=False)))


def agree(got, want):
    if isinstance(want, list):
        return len(got) == len(want) and all(map(agree, got, want))
    if got is None or want is None:
        return got is want
    got, want = np.asarray(got), np.asarray(want)
    if got.dtype.kind in "OUS":
        return np.array_equal(got.astype(str), want.astype(str))
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return False
    if got.dtype.kind in "fc":
        return np.allclose(got, want, rtol=1e-3, atol=1e-4, equal_nan=True)
    return np.array_equal(got, want)


def folded(model):
    """Folds constants; what onnxscript cannot fold (sequences) stays as it is."""
    found = model.clone()
    try:
        fold_constants_ir(found)
    except RuntimeError:
        return model
    return found


def written(case, opset):
    """Writes a case as `optimize` does: folded, lowered at its own opset, taken to another."""
    model = folded(ir.from_proto(case.model))
    name_nodes(model)
    legalise(model, max(model.opset_imports[""], opset))
    lowering.lower(model, target="tensorrt")
    legalise(model, opset)
    return ir.to_proto(model)


def fault(case, opset):
    """Returns what is wrong with a case at an opset; nothing where all is right."""
    try:
        model = written(case, opset)
    except InputError as error:
        reasons = error.fact.splitlines()[1:]
        unknown = [one for one in reasons if not REASONS.search(one)]
        return f"refused: {unknown or error.fact}" if unknown or not reasons else ""
    onnx.checker.check_model(model)
    for inputs, outputs in case.data_sets:
        try:
            got = run(model, inputs)
        except Exception as error:  # noqa: BLE001  # its own errors have no common base
            return "" if "NOT_IMPLEMENTED" in str(error) or not runs(case, inputs) else str(error)
        if not agree(got, outputs) and not (
            runs(case, inputs) and agree(got, run(case.model, inputs))
        ):
            return "wrong"
    return ""


def runs(case, inputs):
    try:
        run(case.model, inputs)
    except Exception:  # noqa: BLE001  # its own errors have no common base
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("opset", [13, 17])
def test_conformance(cases, opset):
    faults = {case.name: fault(case, opset) for case in cases}
    assert {name: said for name, said in faults.items() if said} == {}
