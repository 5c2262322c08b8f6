"""ONNX's own conformance cases in OpenVINO: right, refused, or known to be computed otherwise.

What is computed otherwise is told by docs/limits.md; a version of OpenVINO that computes it right,
or that gets another wrong, is to be seen.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeattn.runtimes import runner
from export_tests.conformance import standard_cases

pytest.importorskip("openvino")

WRONG = re.compile(
    "attention_.*(local_window|bidirectional_window|qk_matmul_bias_[34]d_mask_causal)"
    "|bitshift_.*int(8|32)_(negative|overflow|shift)|dft|dynamicquantizelinear"
    "|(gru|lstm|simple_rnn)_batchwise|lstm_with_peepholes|maxpool_2d_ceil_output_size_reduce"
    "|nonmaxsuppression_iou_threshold_boundary|reduce_max_empty_set"
    "|resize_.*(antialias|exclude_outside|not_larger|not_smaller|downsample.*align_corners)"
    "|roialign_mode_max|spacetodepth_crd|_tile$|top_k_same_values"
    # Where all of a row is masked, it gives no 0.
    "|attention_.*(nan_robustness|mode3_zero|softmax_precision|structural_empty)_expanded"
)
# Drawn anew at each run.
RANDOM = re.compile("bernoulli|random|training_dropout")
REFUSED = re.compile("OpenVINO (cannot load|fails while it runs)")


def numeric_cases():
    return [
        case
        for case in standard_cases(RANDOM)
        if all(is_number(one) for data in case.data_sets for some in data for one in some)
    ]


def is_number(value):
    is_array = isinstance(value, np.ndarray | np.generic)
    return is_array and value.dtype.kind in "fiub" and "bfloat" not in value.dtype.name


def fault(case, folder):
    path = folder / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    names = [value.name for value in case.model.graph.input]
    model = {"path": str(path), "name": case.name, "limit_s": None, "runtime": "openvino"}
    for inputs, outputs in case.data_sets:
        feeds = dict(zip(names, map(np.asarray, inputs), strict=False))
        try:
            session = runner.opened({**model, "inputs": {"seed": 0, "draw": []}}, 1)
            got = session.run(feeds)
        except runner.Fault as error:
            is_told = REFUSED.match(error.fact) and "Exception from" not in error.fact
            return "refused" if is_told else f"refused: {error.fact}"
        for one, want in zip(got, outputs, strict=True):
            if one.shape != want.shape or one.dtype != want.dtype:
                return f"{one.dtype} {one.shape}, not {want.dtype} {want.shape}"
            if not np.allclose(one, want, rtol=1e-3, atol=1e-4, equal_nan=True):
                with np.errstate(all="ignore"):
                    error = np.nanmax(np.abs(one.astype(float) - want.astype(float)))
                return f"off by {error:.2g} of {np.nanmax(np.abs(want.astype(float))):.2g}"
    return ""


@pytest.mark.slow
def test_conformance(tmp_path):
    cases = numeric_cases()
    assert len(cases) > 1300
    faults = {case.name: fault(case, tmp_path) for case in cases}
    wrong = {name: said for name, said in faults.items() if said not in ("", "refused")}
    assert {name: said for name, said in wrong.items() if not WRONG.search(name)} == {}
    assert list(faults.values()).count("") > 1200
