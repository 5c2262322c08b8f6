"""ONNX's own conformance cases."""

import re
import warnings

from onnx.backend.test.case.node import collect_testcases


def standard_cases(drawn: "re.Pattern[str]"):
    """Return the cases of the standard domain, but for those that are drawn anew at each run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of what the cases are about
        found = collect_testcases(None)
    assert len(found) > 1500
    return [
        case
        for case in found
        if case.model is not None
        and {one.domain for one in case.model.opset_import} == {""}
        and not drawn.search(case.name)
    ]
