"""Prints what lowering reaches: the tables of docs/measured.md, by table or all.

    python benchmarks/lowering.py plan --work DIR [--markdown] [--json FILE]

    plan         kernels and traffic of TensorRT-RTX plans above the plain model
    onnxruntime  hidden latency on ONNX Runtime: stock, lowered, portable, in interleaved rounds
    openvino     the same on OpenVINO
    shufflenet   what is left of ShuffleNetV2's shuffles, its plan, its latency
    never        models without attention: no more kernels, bytes and latency
    scale        seconds of lower() for ResNet-50, and by number of nodes up to 10,000
    exactness    every lowered file against its stock file in ONNX Runtime
    all          all of them

Files are kept in the folder of --work and made again only when what they are made from changes.
Latency is measured for what it is worth on this machine now: each row says what else the machine
did, and a row that was not quiet is not judged. The exit code is 1 where something asked is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from lowering_bare import never_table, shuffle_table
from lowering_cases import (
    ADDED,
    ATTENTIONS,
    BACKBONES,
    SHUFFLENET,
    WITHOUT_ATTENTION,
    Shelf,
    on_backbone,
)
from lowering_exact import exact_table
from lowering_hidden import TITLES, hidden_table
from lowering_plans import added_table, plan_table
from lowering_scale import SIZES, scale_tables
from lowering_table import Table
from rich.console import Console

_WIDTH_OF_A_FILE = 200


def main() -> int:
    """Print the tables that are asked for."""
    arguments = _arguments()
    warnings.simplefilter("ignore")  # torch's and timm's, on their own workings
    logging.disable(logging.WARNING)
    shelf = Shelf(arguments.work)
    makers = _makers(shelf, arguments)
    wanted = list(makers) if arguments.table == "all" else [arguments.table]
    tables: dict[str, list[Table]] = {}
    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, markup=False, highlight=False
    )
    for name in wanted:
        tables[name] = makers[name]()
        for table in tables[name]:
            if arguments.markdown:
                print(table.to_markdown())
            else:
                table.print(console)
    facts = _facts()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if arguments.json:
        document = {
            "versions": facts,
            "tables": {name: [table.to_json() for table in of] for name, of in tables.items()},
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(table.is_met for of in tables.values() for table in of) else 1


def _arguments() -> argparse.Namespace:
    text = __doc__ or ""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "table", choices=["plan", *TITLES, "shufflenet", "never", "scale", "exactness", "all"]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the files")
    parser.add_argument("--markdown", action="store_true", help="tables for a README")
    parser.add_argument("--json", type=Path, help="also write all values here")
    parser.add_argument("--backbones", type=_names(BACKBONES), default=BACKBONES)
    parser.add_argument("--attentions", type=_names((*ATTENTIONS, *ADDED)))
    parser.add_argument("--sizes", type=_integers, default=SIZES, help="of generated graphs")
    parser.add_argument("--rounds", type=int, default=100, help="at most, per row of latencies")
    parser.add_argument("--seconds", type=float, default=25.0, help="at most, per row of latencies")
    parser.add_argument(
        "--no-latency", action="store_true", help="leave it out of shufflenet and never"
    )
    return parser.parse_args()


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return names

    return parse


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _makers(shelf: Shelf, arguments: argparse.Namespace) -> dict[str, Callable[[], list[Table]]]:
    asked = arguments.attentions or (*ATTENTIONS, *ADDED)
    first, added = (tuple(a for a in asked if a in those) for those in (ATTENTIONS, ADDED))
    chosen = arguments.backbones, first
    limits = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    timed = {**limits, "is_timed": not arguments.no_latency}
    attended = [on_backbone(b, a) for b in arguments.backbones for a in asked]
    return {
        "plan": lambda: [
            *([plan_table(shelf, *chosen)] if first else []),
            *([added_table(shelf, arguments.backbones, added)] if added else []),
        ],
        "onnxruntime": lambda: [hidden_table(shelf, *chosen, runtime="onnxruntime", **limits)],
        "openvino": lambda: [hidden_table(shelf, *chosen, runtime="openvino", **limits)],
        "shufflenet": lambda: [shuffle_table(shelf, **timed)],
        "never": lambda: [never_table(shelf, WITHOUT_ATTENTION, **timed)],
        "scale": lambda: scale_tables(shelf, sizes=arguments.sizes),
        "exactness": lambda: [exact_table(shelf, [*attended, SHUFFLENET, *WITHOUT_ATTENTION])],
    }


def _facts() -> dict[str, str]:
    from edgeattn.base.versions import version_of, versions

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        **versions(),
        "tensorrt-rtx": version_of("tensorrt-rtx") or "not installed",
        "CPU": f"{len(models)} × {models[0]}" if models else platform.processor(),
    }


if __name__ == "__main__":
    sys.exit(main())
