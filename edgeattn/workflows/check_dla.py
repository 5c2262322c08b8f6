"""Which nodes of a model run on a DLA, which fall back to the GPU, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final, Literal

import onnx_ir as ir

from edgeattn.devices.schema import OperatingPoint
from edgeattn.graph.marks import target_of
from edgeattn.records.check import DLAReport, Finding, Side, Stretch, Verdict
from edgeattn.support.answers import Answer
from edgeattn.support.dla import DLA
from edgeattn.support.dla_unit import LOG_103, LOWER
from edgeattn.support.dla_values import is_folded, is_left_out
from edgeattn.support.stretches import MOST_LOADABLES, entries, stretches
from edgeattn.workflows.check_fit import stored_bytes
from edgeattn.workflows.check_places import Places, operator

#: What TensorRT gives a loadable for its weights unless it is told otherwise.
_WEIGHTS_BYTES: Final = 512 << 20
#: What is left where a model is lowered for a DLA already.
_REWRITE: Final = "It is lowered for a DLA already. Write it otherwise"
_LOWERED: Final = f"{_REWRITE}, or let it: --gpu-fallback"
_POOLS: Final = "NVIDIA TensorRT documentation, Customizing DLA Memory Pools"
_FAQ: Final = f"NVIDIA/Deep-Learning-Accelerator-SW, FAQ/README.md; {LOG_103}"
_GENERAL: Final = "NVIDIA TensorRT documentation, DLA Supported Layers and Restrictions"


def answers_of(dla: DLA, model: ir.Model) -> dict[ir.Node, Answer]:
    """Return whether a DLA takes each node of a model that runs anywhere.

    A branch or loop is one node; what TensorRT computes when it builds is none.
    """
    is_lowered = target_of(model) == "dla"
    found = {}
    for node in model.graph:
        if not (is_folded(node) or is_left_out(node)):
            answer = dla.takes(node)
            is_no_way_out = is_lowered and answer.mend == LOWER
            found[node] = replace(answer, mend=_LOWERED) if is_no_way_out else answer
    return found


def report_of(
    dla: DLA,
    graph: ir.Graph,
    answers: Mapping[ir.Node, Answer],
    places: Places,
    point: OperatingPoint,
    *,
    shuffles: float,
) -> DLAReport:
    """Return where the nodes of a graph run.

    A copy between the DLA and the GPU reads all of a value and writes it in the other's layout. It
    takes at least what that does at the memory's bandwidth, and at most what a shuffle reaches of
    it, and the smallest kernel's time each.

    Args:
        dla: The DLA.
        graph: The graph.
        answers: As `answers_of` has them.
        places: Where the nodes are.
        point: The device's operating point.
        shuffles: The part of the bandwidth that a shuffle reaches.
    """
    verdicts = {node: one.verdict for node, one in answers.items()}
    found = stretches(graph, verdicts, dla.element_bytes)
    least, most = (2 * count / (point.bandwidth_gbps * 1e3) for count in found.copied_bytes)
    sides = _sides(answers, places)
    return DLAReport(
        generation=dla.generation,
        precision=dla.precision,
        dla=sum(one.dla for one in sides),
        gpu=sum(one.gpu for one in sides),
        unknown=sum(one.unknown for one in sides),
        changes=found.changes,
        loadables=found.loadables,
        copied_bytes=found.copied_bytes,
        copies_us=(least, most / shuffles + found.changes[1] * point.kernel_floor_us),
        modules=sides,
        strip=tuple(_strip(graph, verdicts, places)),
    )


_SIDES: Final[Mapping[Verdict, Literal["dla", "gpu", "unknown"]]] = {
    "yes": "dla", "no": "gpu", "unknown": "unknown",
}  # fmt: skip


def _strip(
    graph: ir.Graph, verdicts: Mapping[ir.Node, Verdict], places: Places
) -> Iterator[Stretch]:
    """Yield nodes of one module that follow each other on one side."""
    changes = entries(graph, verdicts)

    def key(node: ir.Node) -> tuple[Literal["dla", "gpu", "unknown"], str, str]:
        module, site = places.of(str(node.name))
        return _SIDES[verdicts[node]], module, site

    for (side, module, site), group in groupby(verdicts, key):
        nodes = list(group)
        yield Stretch(
            side=side,
            module=module,
            site=site,
            nodes=len(nodes),
            changes=sum(changes.get(node, (0, 0))[0] for node in nodes),
            possible=sum(changes.get(node, (0, 0))[1] for node in nodes),
        )


def findings_of(
    dla: DLA,
    report: DLAReport,
    answers: Mapping[ir.Node, Answer],
    places: Places,
    *,
    gpu_fallback: bool,
) -> list[Finding]:
    """Return what keeps a model off a DLA, or makes it run badly there.

    Args:
        dla: The DLA.
        report: Where the nodes run.
        answers: Whether it takes each node.
        places: Where the nodes are.
        gpu_fallback: Whether what it does not take runs on the GPU, and is no failure.
    """
    is_lowered = any(one.mend == _LOWERED for one in answers.values())
    if gpu_fallback and is_lowered:
        answers = {
            node: replace(one, mend=f"{_REWRITE}.") if one.mend == _LOWERED else one
            for node, one in answers.items()
        }
    found = list(
        places.findings(
            "dla",
            answers,
            {
                "no": "falls back to the GPU" if gpu_fallback else "does not run on the DLA",
                "unknown": "may not run on the DLA",
            },
            {"no": "yes", "unknown": "yes"} if gpu_fallback else None,
        )
    )
    if report.loadables[0] > MOST_LOADABLES:
        found.append(
            Finding(
                about="dla",
                verdict="yes",
                fact=f"The DLA's share falls into {report.loadables[0]} parts at least, and a core"
                f" holds {MOST_LOADABLES} loadables: the rest runs on the GPU.",
                mend=""
                if is_lowered
                else "Lower it for the DLA, which leaves fewer: --target dla.",
                source=_GENERAL,
            )
        )
    if (dla.generation, dla.precision) == ("orin", "fp16"):
        found.append(
            Finding(
                about="precision",
                verdict="yes",
                fact="The DLA of an Orin is built for int8: others measured a ResNet-50 there at"
                " 1.3 ms in int8, and at 17.7 ms in fp16.",
                mend="Try int8 on the device: trtexec --useDLACore=0 --int8 --calib=FILE"
                if dla.version < (11,)
                else "Try int8 on the device: edgeattn cast --precision int8",
                source=_FAQ,
            )
        )
    read = [node.inputs for node, one in answers.items() if one.verdict != "no"]
    values = dict.fromkeys(value for inputs in read for value in inputs if value is not None)
    weights = sum(stored_bytes(value, dla.precision) for value in values)
    if weights > _WEIGHTS_BYTES:
        mib = 1 << ((weights - 1) >> 20).bit_length()  # a pool's size is a power of two
        found.append(
            Finding(
                about="memory",
                verdict="unknown",
                fact=f"The DLA's share has {weights / 2**20:.0f} MiB of weights, and a loadable"
                f" gets {_WEIGHTS_BYTES >> 20} MiB for them: parts of it may run on the GPU.",
                mend=f"Give it more: trtexec --memPoolSize=dlaGlobalDRAM:{mib}",
                source=_POOLS,
            )
        )
    return found


def _sides(answers: Mapping[ir.Node, Answer], places: Places) -> tuple[Side, ...]:
    """Return where the nodes of each module run, in the order of the modules."""
    each: dict[tuple[str, str], list[tuple[ir.Node, Answer]]] = {}
    for node, answer in answers.items():
        each.setdefault(places.of(str(node.name)), []).append((node, answer))
    sides = []
    for (module, site), found in each.items():
        verdicts = [answer.verdict for _, answer in found]
        reasons: dict[tuple[str, str], dict[str, None]] = {}
        for node, answer in found:
            if answer.verdict != "yes":
                operators = reasons.setdefault((answer.reason, answer.source), {})
                operators[operator(node)] = None
        sides.append(
            Side(
                module=module,
                site=site,
                dla=verdicts.count("yes"),
                gpu=verdicts.count("no"),
                unknown=verdicts.count("unknown"),
                reasons=tuple(
                    f"{', '.join(ops)}: {reason}" + (f" ({source})" if source else "")
                    for (reason, source), ops in reasons.items()
                ),
            )
        )
    return tuple(sides)
