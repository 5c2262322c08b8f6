"""What a check of a model for a device found, before anything ran."""

from __future__ import annotations

from typing import Literal, TypeAlias

from edgeattn.records.base import Frozen

SCHEMA_VERSION: Literal[1] = 1
Verdict: TypeAlias = Literal["yes", "no", "unknown"]
About: TypeAlias = Literal[
    "opset", "function", "operator", "type", "shape", "memory", "precision", "trap", "dla"
]


class Finding(Frozen):
    """Something of a model that will not run, may not, or runs badly.

    Attributes:
        about: What kind of thing it is.
        verdict: Whether the model runs there in spite of it: a trap has "yes".
        fact: What is so.
        mend: What to do about it; "" if nothing helps.
        source: Where that is said; "measured" with what measured it, where something did.
        op: The operator, if it is of one.
        nodes: The nodes.
        module: The torch module that caused them; "" for the root, or where it is of no module.
        site: The site of attention that they are in; "" outside of sites.
    """

    about: About
    verdict: Verdict
    fact: str
    mend: str = ""
    source: str = ""
    op: str = ""
    nodes: tuple[str, ...] = ()
    module: str = ""
    site: str = ""


class OperatorAnswer(Frozen):
    """Whether an operator is taken, over all nodes of it.

    Attributes:
        op: The operator; with its domain where that is not ONNX's own.
        count: How many nodes.
        verdict: The worst of them.
        reason: Why, of the worst.
        source: Where that is said.
    """

    op: str
    count: int
    verdict: Verdict
    reason: str
    source: str


class Side(Frozen):
    """Where the nodes of a module run.

    Attributes:
        module: The torch module; "" for the root.
        site: The site of attention that it is in, or is; "" outside of sites.
        dla: Nodes that run on the DLA.
        gpu: Nodes that fall back to the GPU.
        unknown: Nodes of which nothing sure is said.
        reasons: Why nodes do not run there, or may not, each with its operators and its source.
    """

    module: str
    site: str
    dla: int
    gpu: int
    unknown: int
    reasons: tuple[str, ...]


class Stretch(Frozen):
    """Nodes of one module that follow each other, in the order of the graph, on one side.

    Attributes:
        side: Where they run.
        module: The torch module; "" for the root.
        site: The site of attention that it is in, or is; "" outside of sites.
        nodes: How many.
        changes: Values that they are the first to take from the other side.
        possible: The same, where one of the two sides is unknown.
    """

    side: Literal["dla", "gpu", "unknown"]
    module: str
    site: str
    nodes: int
    changes: int = 0
    possible: int = 0


class DLAReport(Frozen):
    """What of a model runs on a DLA.

    Attributes:
        generation: Of the DLA: xavier or orin.
        precision: fp16 or int8.
        dla: Nodes that run there.
        gpu: Nodes that fall back.
        unknown: Nodes of which nothing sure is said.
        changes: How often values go from one to the other, at least and at most: as the unknown
            nodes are on the DLA, or not. Inputs and outputs of the model are none.
        loadables: Into how many parts the DLA's share falls, at least and at most.
        copied_bytes: What those values take, at least and at most.
        copies_us: What copying them costs, predicted: at least and at most; None if the device's
            bandwidth is not known.
        modules: By module, in the model's order.
        strip: The same along the graph.
    """

    generation: Literal["xavier", "orin"]
    precision: Literal["fp16", "int8"]
    dla: int
    gpu: int
    unknown: int
    changes: tuple[int, int]
    loadables: tuple[int, int]
    copied_bytes: tuple[int, int]
    copies_us: tuple[float, float] | None
    modules: tuple[Side, ...]
    strip: tuple[Stretch, ...] = ()


class NeededMemory(Frozen):
    """What a model takes of memory on the device, planned.

    Attributes:
        weights_bytes: Its weights, in the precision that it runs in.
        activations_bytes: The most that all values take at one time; None if a size is open.
        at: The node that runs then.
        device_bytes: What the device has.
    """

    weights_bytes: int
    activations_bytes: int | None
    at: str
    device_bytes: int | None


class Checked(Frozen):
    """Whether a model runs on a device.

    Attributes:
        model: The source of the model, or the path of the file.
        device: The device profile's name.
        title: The same for people.
        jetpack: The JetPack that it was checked for; "" if the device has none.
        library: What runs it there: TensorRT, TensorRT-RTX, ONNX Runtime.
        version: Its version; "" if any.
        opset: The opset of what was checked.
        precision: The precision that it is to run in.
        verdict: The worst of all findings.
        findings: What will not run, may not, or runs badly; the worst first.
        operators: Every operator's answer.
        memory: What it takes.
        dla: Where the nodes run, if a DLA is asked.
        host: The host that was asked; "" if none was.
        command: The command that made this.
        notes: What else a reader should know.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    artifact: Literal["check"] = "check"
    model: str
    device: str
    title: str
    jetpack: str
    library: str
    version: str
    opset: int
    precision: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    operators: tuple[OperatorAnswer, ...]
    memory: NeededMemory
    dla: DLAReport | None
    host: str
    command: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
