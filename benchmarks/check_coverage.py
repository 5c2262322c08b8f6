"""What each operator of attentions and backbones is answered for TensorRT and for DLAs.

    python benchmarks/check_coverage.py --work DIR [--unknown]

The models: the 24 attentions on a ResNet-18 and ten backbones, as torch writes them and as they are
lowered, at the opset that `export --device` takes for a JetPack. An operator's answer is the worst
that one of its nodes gets. Asked: an answer, with its source, for nine operators of ten.

DIR keeps the graphs, without weights: they take ten minutes on two cores, once.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import onnx_ir as ir
from check_models import FORMS, OPSET, exported, form_of

from edgeattn.attention.registry import ATTENTIONS
from edgeattn.graph import shapes
from edgeattn.support.answers import Answer, worst
from edgeattn.support.dla import DLA
from edgeattn.support.dla_values import is_folded, is_left_out
from edgeattn.support.tensorrt import Parser

_PUBLISHED: Final = frozenset({"bam", "da", "nonlocal", "sk", "stn"})
_BACKBONES: Final = {
    "resnet50": "resnet50",
    "mobilenetv2": "mobilenet_v2",
    "mobilenetv3": "timm:mobilenetv3_large_100",
    "efficientnet_b0": "timm:efficientnet_b0",
    "convnext_tiny": "timm:convnext_tiny",
    "regnety_008": "timm:regnety_008",
    "densenet121": "densenet121",
    "shufflenetv2": "shufflenetv2",
    "yolov8n": "ultralytics:yolov8n.yaml",
    "yolo11n": "ultralytics:yolo11n.yaml",
}
#: The opset of each TensorRT's JetPack.
_TENSORRT: Final = {
    "8.0": 13, "8.2": 13, "8.5": 17, "8.6": 17, "10.3": 17, "10.16": 17, "11.1": 17,
}  # fmt: skip
_DLAS: Final = {
    "Xavier 8.5": DLA("xavier", "8.5.2", "fp16"),
    "Orin 8.5": DLA("orin", "8.5.2", "fp16"),
    "Orin 8.6": DLA("orin", "8.6.2", "fp16"),
    "Orin 10.3": DLA("orin", "10.3", "fp16"),
}
_MOST_UNKNOWN: Final = 0.10
_MARKS: Final = {"yes": "yes", "no": "no", "unknown": "?"}


def main() -> int:
    """Print the table, and end with 1 if more is unknown than asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--unknown", action="store_true", help="list what is unknown, with reasons")
    asked = parser.parse_args()
    answers: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: defaultdict(list))
    for path in _models(asked.work):
        for form in FORMS:
            for opset in sorted({*_TENSORRT.values()}):
                for node in _read(path, form, opset):
                    for name, version_opset in _TENSORRT.items() if form != ".dla" else ():
                        if version_opset == opset:
                            answers[name][node.op_type].append(Parser(name).takes(node))
                    if form == ".lowered" or opset != OPSET or is_folded(node) or is_left_out(node):
                        continue
                    for name, dla in _DLAS.items():
                        answers[f"DLA {name}"][node.op_type].append(dla.takes(node))
    _print_table(answers)
    is_met = True
    for name, found in answers.items():
        is_met &= _print_sum(name, found, whole=asked.unknown)
    return 0 if is_met else 1


def _models(folder: Path) -> Iterator[Path]:
    for name in ATTENTIONS:
        at = () if name in _PUBLISHED else ("--at", "block-end")
        path = folder / "attentions" / f"{name}.onnx"
        if not (why := exported("resnet18", path, "--attention", name, *at, "--opset", "17", "13")):
            yield path
        else:
            print(f"{name}: not exported: {why}", flush=True)
    for name, source in _BACKBONES.items():
        path = folder / "backbones" / f"{name}.onnx"
        if not (why := exported(source, path, "--opset", "17", "13")):
            yield path
        else:
            print(f"{name}: not exported: {why}", flush=True)


def _read(path: Path, form: str, opset: int) -> Iterator[ir.Node]:
    """Yield the nodes of a form; at opset 17 where a model is not written at another."""
    found = form_of(path, form, opset)
    found = found if found.exists() else form_of(path, form)
    if found.exists():
        model = ir.load(found)
        shapes.find(model)
        yield from model.graph.all_nodes()


def _print_table(answers: Mapping[str, Mapping[str, list[Answer]]]) -> None:
    operators = sorted({op for found in answers.values() for op in found})
    print(f"{'operator':24}" + "".join(f"{name:>16}" for name in answers))
    for op in operators:
        cells = []
        for found in answers.values():
            verdicts = Counter(one.verdict for one in found.get(op, ()))
            said = worst(found[op]).verdict if op in found else ""
            part = f"{verdicts[said]}/{verdicts.total()}" if len(verdicts) > 1 and said else ""
            cells.append(f"{_MARKS.get(said, '')} {part}".strip())
        print(f"{op:24}" + "".join(f"{cell:>16}" for cell in cells))


def _print_sum(name: str, found: Mapping[str, list[Answer]], *, whole: bool) -> bool:
    """Print how much has an answer, and return whether that is enough."""
    verdicts = Counter(worst(ones).verdict for ones in found.values())
    nodes = Counter(one.verdict for ones in found.values() for one in ones)
    sourceless = [
        op
        for op, ones in found.items()
        if any(o.verdict != "unknown" and not o.source for o in ones)
    ]
    share = verdicts["unknown"] / verdicts.total()
    print(
        f"{name}: {verdicts.total()} operators: {verdicts['yes']} yes, {verdicts['no']} no,"
        f" {verdicts['unknown']} unknown ({share:.1%}); {nodes.total()} nodes, of which"
        f" {nodes['unknown'] / nodes.total():.1%} unknown"
        + (f"; without a source: {', '.join(sourceless)}" if sourceless else "")
    )
    if whole:
        for op, ones in sorted(found.items()):
            for reason, count in Counter(o.reason for o in ones if o.verdict == "unknown").items():
                print(f"    {op} ({count} of {len(ones)}): {reason}")
    return share <= _MOST_UNKNOWN and not sourceless


if __name__ == "__main__":
    sys.exit(main())
