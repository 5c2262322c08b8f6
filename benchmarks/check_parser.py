"""What a check says of a model without TensorRT, against what TensorRT-RTX's own parser says.

    python benchmarks/check_parser.py [FILE.onnx ...] [--all]

Asked are ONNX's conformance cases as they are, and again with all inputs but the first as
initializers, as exporters write them; or the files that are given. A false alarm is a model that is
said to be refused, and is not; a miss is one that is said to be taken, and is not.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir
import tensorrt_rtx
from onnx import numpy_helper

from edgeattn.base.versions import numbers
from edgeattn.support.answers import Answer, worst
from edgeattn.support.tensorrt import Parser

sys.path.insert(0, str(Path(__file__).parents[1]))
from export_tests.conformance import standard_cases  # it is beside this folder

_NOTHING: Final = re.compile("$^")


class _Quiet(tensorrt_rtx.ILogger):  # type: ignore[misc]  # the library has no types
    """A logger that says nothing."""

    def __init__(self) -> None:
        tensorrt_rtx.ILogger.__init__(self)

    def log(self, severity: object, message: str) -> None:
        """Drop a message."""


def main() -> int:
    """Print how often both agree, and end with 1 on a false alarm."""
    asking = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asking.add_argument("files", nargs="*", type=Path)
    asking.add_argument("--all", action="store_true", help="name what is unknown as well")
    asked = asking.parse_args()
    models = _files(asked.files) if asked.files else _cases()
    logger = _Quiet()
    builder = tensorrt_rtx.Builder(logger)
    static = Parser(".".join(map(str, numbers(tensorrt_rtx.__version__)[:2])), rtx=True)
    found: Counter[tuple[str, str]] = Counter()
    for name, model in models:
        answer = said(static, model)
        network = builder.create_network(0)
        theirs = tensorrt_rtx.OnnxParser(network, logger)
        is_taken = theirs.parse(model.SerializeToString())
        found[answer.verdict, "taken" if is_taken else "refused"] += 1
        reason = "" if is_taken else " ".join(_reason(theirs).split())[:160]
        if (answer.verdict, is_taken) in {("no", True), ("yes", False)}:
            kind = "false alarm" if is_taken else "miss"
            print(f"{kind:12} {name}: {answer.reason}{reason}", flush=True)
        elif asked.all and answer.verdict == "unknown":
            how = "taken" if is_taken else f"refused: {reason}"
            print(f"{'unknown':12} {name}: {answer.reason}; {how}", flush=True)
    print(f"\n{static.title}\n{'':10}{'taken':>8}{'refused':>9}")
    for verdict in ("yes", "unknown", "no"):
        print(f"{verdict:10}{found[verdict, 'taken']:8}{found[verdict, 'refused']:9}")
    return 1 if found["no", "taken"] else 0


def said(parser: Parser, proto: onnx.ModelProto) -> Answer:
    """Return the worst that a parser is said to answer of a model's values and nodes."""
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        proto = onnx.shape_inference.infer_shapes(proto)
    model = ir.serde.deserialize_model(proto)
    values = (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values())
    answers = [parser.takes_value(one) for one in values]
    answers += [parser.takes(node) for node in ir.traversal.RecursiveGraphIterator(model.graph)]
    return worst(answers)


def _files(paths: list[Path]) -> Iterator[tuple[str, onnx.ModelProto]]:
    for path in paths:
        yield path.name, onnx.load(path)


def _cases() -> Iterator[tuple[str, onnx.ModelProto]]:
    for case in standard_cases(_NOTHING):
        yield case.name, case.model
        constant = onnx.ModelProto()
        constant.CopyFrom(case.model)
        given = dict(zip((one.name for one in case.model.graph.input), _data(case), strict=False))
        for value in list(constant.graph.input)[1:]:
            array = given.get(value.name)
            if value.type.WhichOneof("value") == "tensor_type" and array is not None:
                tensor = _tensor(array, value)
                constant.graph.initializer.append(tensor)
                constant.graph.input.remove(value)
        if constant.graph.initializer:
            yield f"{case.name}, constant", constant


def _data(case: object) -> list[object]:
    sets = getattr(case, "data_sets", None) or [([], [])]
    return list(sets[0][0])


def _tensor(array: object, value: onnx.ValueInfoProto) -> onnx.TensorProto:
    if isinstance(array, onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(array)
    else:
        tensor = numpy_helper.from_array(array)
    tensor.name = value.name
    return tensor


def _reason(parser: object) -> str:
    return parser.get_error(0).desc() if parser.num_errors else "without a reason"


if __name__ == "__main__":
    sys.exit(main())
