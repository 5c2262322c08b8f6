"""What `check` says of files before TensorRT sees them, beside what a parser of NVIDIA's says.

    python benchmarks/check_false_alarms.py --work DIR [--models a,b,c]

The files: the models of `timm_models.py`, at opset 17, as torch writes them and lowered for
TensorRT; and files as others write them: old and new opsets, functions, half and double, quantised,
bodies of loops. The answers: `check`'s tables for the TensorRT-RTX that is installed, and its own
parser, which needs no GPU. Asked: what the parser refuses is a "no" or, where a source is missing,
"unknown"; what it takes is never a "no".

DIR keeps the graphs, without weights, and the parser's answers: the models take 20 minutes on two
cores, once.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from check_models import exported, form_of, parsed
from onnx import TensorProto, helper, numpy_helper
from timm_models import MODELS

from edgeattn.base.errors import InputError
from edgeattn.engine.libraries import load
from edgeattn.graph import shapes
from edgeattn.graph.reading import read
from edgeattn.support.answers import Answer
from edgeattn.support.tensorrt import Parser

sys.path.insert(0, str(Path(__file__).parent.parent))
from export_tests.foreign import net, old_end, value

_FORMS: Final = ("", ".lowered")


def main() -> int:
    """Print what differs, and end with 1 if a refusal is missed or an alarm is false."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    told: Counter[str] = Counter()
    for kind, path in _files(asked.work, asked.models.split(",")):
        told[f"{kind}: {_compared(path)}"] += 1
    print()
    for what, count in sorted(told.items()):
        print(f"{count:4} {what}")
    return 1 if any("MISSED" in one or "FALSE" in one for one in told) else 0


def _files(folder: Path, models: list[str]) -> Iterator[tuple[str, Path]]:
    for name in models:
        path = folder / "timm" / f"{name}.onnx"
        if why := exported(f"timm:{name}", path):
            print(f"{name}: not exported: {why}", flush=True)
            continue
        for form in _FORMS:
            yield f"timm{form}", form_of(path, form)
    place = folder / "foreign"
    place.mkdir(exist_ok=True)
    for name, write in _foreign().items():
        path = place / f"{name}.onnx"
        if not path.exists():
            write(path)
        yield "foreign", path


def _compared(path: Path) -> str:
    """Compare the two answers of a file, and print where they differ."""
    refused = parsed(path)
    answers = static_answers(path)
    verdicts = {answer.verdict for answer in answers.values()}
    said = next((one for one in ("no", "unknown") if one in verdicts), "yes")
    theirs = "refused" if refused else "taken"
    verdict = {
        ("refused", "yes"): "refused, and check says yes: MISSED",
        ("taken", "no"): "taken, and check says no: FALSE ALARM",
    }.get((theirs, said), f"{theirs}, and check says {said}")
    if "MISSED" in verdict or "FALSE" in verdict or said == "unknown":
        print(f"{path.stem}: {verdict}")
        for one in refused[:3]:
            print(f"    parser: {one['op']} {one['node']}: {one['why'][:200]}")
        wrong = {(n.partition("/")[0], a.reason) for n, a in answers.items() if a.verdict == said}
        for name, reason in sorted(wrong)[:5] if said != "yes" else ():
            print(f"    check: {name}: {reason}", flush=True)
    return verdict


def static_answers(path: Path) -> dict[str, Answer]:
    """Return what the tables say of a file's nodes, inputs and outputs, by name."""
    try:
        model = read(path).model
    except InputError as error:
        return {"file": Answer(verdict="no", reason=error.fact)}
    shapes.find(model)
    library = Parser(load("tensorrt-rtx").version, rtx=True)
    found = {f"{n.op_type}/{n.name}": library.takes(n) for n in model.graph.all_nodes()}
    ends = (*model.graph.inputs, *model.graph.outputs)
    return found | {f"value/{one.name}": library.takes_value(one) for one in ends}


def _foreign() -> dict[str, Callable[[Path], Any]]:
    """Return what writes each file of others'."""
    found: dict[str, Callable[[Path], Any]] = {}
    for opset in (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 20, 21, 22, 23, 24):
        found[f"opset{opset}"] = lambda path, opset=opset: net(path, opset=opset)
    for opset in (7, 8, 9):
        found[f"old_end{opset}"] = lambda path, opset=opset: net(path, opset=opset, extra=old_end())
    for dtype in (np.float16, np.float64):
        name = np.dtype(dtype).name
        found[name] = lambda path, dtype=dtype: net(path, dtype=dtype)
    found["unnamed"] = lambda path: net(path, named=False)
    found["open_batch"] = lambda path: net(path, shape=("batch", 3, 12, 12))
    found["open_sizes"] = lambda path: net(path, shape=("batch", 3, "height", "width"))
    found["domain"] = lambda path: net(path, domains=("com.example",))
    own = helper.make_node("Gate", ["a"], ["y"], domain="com.example")
    found["custom"] = lambda path: net(path, domains=("com.example",), extra=[own])
    gate = helper.make_function(
        "com.example", "Gate", ["a"], ["y"],
        [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["y"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    found["function"] = lambda path: net(
        path, domains=("com.example",), extra=[own], functions=[gate]
    )
    for op, more in _ENDS.items():
        node = helper.make_node(op, ["a"], ["y"], **more)
        opset = 22 if op in {"Gelu", "Swish"} else 18 if op == "Mish" else 17
        found[f"end_{op}"] = lambda path, node=node, opset=opset: net(
            path, opset=opset, extra=[node]
        )
    for loop in ("If", "Loop"):
        found[loop.lower()] = lambda path, loop=loop: _with_body(path, loop)
    for kind in ("qdq", "qdq_default", "qoperator", "dynamic"):
        found[kind] = lambda path, kind=kind: _quantised(path, kind)
    return found


_ENDS: Final[dict[str, dict[str, Any]]] = {
    "Identity": {}, "Softplus": {}, "HardSwish": {}, "HardSigmoid": {}, "Elu": {}, "Selu": {},
    "Celu": {}, "ThresholdedRelu": {}, "Mish": {}, "Gelu": {}, "Reciprocal": {}, "Erf": {},
    "LogSoftmax": {"axis": 1}, "Hardmax": {"axis": 1}, "LpNormalization": {"axis": 1},
    "MeanVarianceNormalization": {}, "GlobalLpPool": {}, "LRN": {"size": 3},
    "DepthToSpace": {"blocksize": 2}, "SpaceToDepth": {"blocksize": 2}, "NonZero": {},
    "Det": {}, "Shape": {}, "Size": {}, "ReduceL2": {"axes": [1]}, "ReduceLogSumExp": {"axes": [1]},
    "ArgMax": {"axis": 1}, "Round": {}, "Sign": {}, "IsNaN": {}, "IsInf": {}, "Bernoulli": {},
    "RandomUniformLike": {}, "LpPool": {"kernel_shape": [2, 2]},
    "Transpose": {"perm": [0, 2, 3, 1]}, "Flatten": {}, "Cast": {"to": TensorProto.DOUBLE},
}  # fmt: skip


def _with_body(path: Path, op: str) -> None:
    """Write a file whose end stands in a branch or a loop."""
    made = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    if op == "If":
        bodies = [
            helper.make_graph([helper.make_node(one, ["a"], ["z"])], one, [], [made])
            for one in ("Relu", "Sigmoid")
        ]
        net(path, extra=[
            helper.make_node("ReduceMax", ["a"], ["most"], keepdims=0),
            helper.make_node("Constant", [], ["one"], value_float=1.0),
            helper.make_node("Greater", ["most", "one"], ["more"]),
            helper.make_node("If", ["more"], ["y"], then_branch=bodies[0], else_branch=bodies[1]),
        ])  # fmt: skip
        return
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["z"]), helper.make_node("Identity", ["c"], ["d"])], "b",
        [value("n", [], TensorProto.INT64), value("c", [], TensorProto.BOOL),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [value("d", [], TensorProto.BOOL), made],
    )  # fmt: skip
    net(path, extra=[
        helper.make_node("Constant", [], ["times"], value_int=3),
        helper.make_node("Constant", [], ["go"], value=numpy_helper.from_array(np.array([True]))),
        helper.make_node("Loop", ["times", "go", "a"], ["y"], body=body),
    ])  # fmt: skip


def _quantised(path: Path, kind: str) -> None:
    """Quantise a file with ONNX Runtime: for TensorRT, as it does by default, or otherwise."""
    from onnxruntime import quantization as q

    plain = path.with_name(f"{path.stem}.float.onnx")
    net(plain)
    model = onnx.load(plain)
    if kind == "dynamic":
        q.quantize_dynamic(model, path)
        return

    generator = np.random.default_rng(0)
    samples = [{"x": generator.normal(size=(1, 3, 12, 12)).astype(np.float32)}] * 2

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]  # it is untyped
        def get_next(self) -> dict[str, np.ndarray] | None:
            return samples.pop() if samples else None

    for_tensorrt = {
        "activation_type": q.QuantType.QInt8,
        "extra_options": {
            "ActivationSymmetric": True, "QuantizeBias": False, "DedicatedQDQPair": True,
            "AddQDQPairToWeight": True,
        },
    }  # fmt: skip
    form = q.QuantFormat.QOperator if kind == "qoperator" else q.QuantFormat.QDQ
    more = for_tensorrt if kind == "qdq" else {}
    q.quantize_static(model, path, Reader(), quant_format=form, **more)


if __name__ == "__main__":
    sys.exit(main())
