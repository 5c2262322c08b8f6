"""The trace: what a model's run took, measured by a runtime or predicted for a device.

Every source is brought into these values: ONNX Runtime's profiler, TensorRT's, torch, trtexec's
files, and the predictions. What is derived from them (owners, sites, ratios) is an attribution.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from edgeattn.records.kinds import Kind
from edgeattn.records.layers import LayerInformation
from edgeattn.records.work import Work

SCHEMA_VERSION: Literal[1] = 1

#: An enqueue that takes more of the GPU's compute than this holds the GPU up, says trtexec.
MOST_ENQUEUE: Final = 0.8
Evidence = Literal["measured", "predicted"]
Runtime = Literal["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "torch"]

#: What runtimes are called.
RUNTIMES: Final[dict[Runtime, str]] = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
    "torch": "torch",
}

#: The kinds in the order of a table, and what each is called there.
KIND_TITLES: Final[dict[Kind, str]] = {
    "matmul": "convolution and matmul",
    "reduction": "reduction",
    "pointwise": "pointwise and gate",
    "shuffle": "shuffle and layout copy",
    "pooling": "pooling",
    "normalisation": "normalisation",
    "other": "other",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Latency(_Frozen):
    """End-to-end latency, in ms.

    Attributes:
        p50: The median; of a prediction, the figure that is predicted.
        cv: Standard deviation over mean, of all samples.
        samples: Each run that was timed, in order; none of a prediction.
    """

    p50: float
    p90: float | None = None
    p99: float | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    cv: float | None = None
    samples: tuple[float, ...] = ()


class Kernel(_Frozen):
    """One launch of a GPU, one node of ONNX Runtime's optimised graph, or one torch module.

    Attributes:
        name: Its name in the engine, the optimised graph, or the module tree.
        op: The runtime's own kind: Conv, kgen, CaskConvolution.
        kind: Ours.
        time_us: What it takes.
        interval_us: Of a prediction, between what bounds.
        traffic_bytes: Bytes that it reads and writes, each tensor once; None if not known.
        macs: Multiply-accumulates that it does.
        nodes: The ONNX nodes that it came from; none for a layout copy.
        inputs: The tensors that it reads, weights left out.
        outputs: The tensors that it writes.
        causes: Of a layout copy, the kernels that want the other layout, the nearest first.
        precision: What it computes in; "" if it is not known.
        stream: The stream that it runs on.
        bound: Of a prediction, what holds it back: compute, traffic, latency, floor, host.
        work: Of ONNX Runtime's, what it does; None if that is not known.
    """

    name: str
    op: str
    kind: Kind
    time_us: float
    interval_us: tuple[float, float] | None = None
    traffic_bytes: int | None
    macs: int
    nodes: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    precision: str = ""
    stream: int = 0
    bound: str = ""
    work: Work | None = None


class Node(_Frozen):
    """What an ONNX node, or a torch module, costs by its shapes alone.

    Attributes:
        op_type: Its operator; a guess from its name where the model was not at hand.
        module: The torch module that caused it; "" for the root, or where that is not known.
        site: The path of the site that it belongs to; "" for none.
        macs: Multiply-accumulates, those of products of two activations included.
        element_ops: What FLOP counters skip.
        traffic_bytes: Bytes that it would move by itself, not fused with another.
    """

    name: str
    op_type: str
    module: str
    site: str = ""
    macs: int
    element_ops: int
    traffic_bytes: int


class Site(_Frozen):
    """Where one attention sits.

    Attributes:
        path: The module that holds it, and the tag of its nodes.
        attention: What it is; "gate" where the graph alone says so.
        shape: (C, H, W) of the map that it attends; none where it is not known.
        params: Its parameters; None if they are not known.
    """

    path: str
    attention: str
    shape: tuple[int, ...] = ()
    params: int | None = None


class SourceLines(_Frozen):
    """Lines of an author's own attention, and what of the model is theirs.

    Attributes:
        attention: What the attention is called.
        place: The file and the lines: "mine.py:43", "mine.py:40, 43 to 45".
        code: The first of them.
        nodes: The ONNX nodes that are of these lines and no others.
    """

    attention: str
    place: str
    code: str
    nodes: tuple[str, ...]


class Difference(_Frozen):
    """How two models' latencies differ, measured in interleaved rounds, or predicted.

    Attributes:
        p50_ms: The median over rounds of A's latency less B's, in ms.
        percent: The same of A's latency over B's, less 1, in per cent.
        ci95: 95 % interval of `percent`, by bootstrap of generations of processes, and of rounds
            within each; None of a prediction.
        predicted90: Of a prediction, between what bounds `percent` lies, nine times in ten; None
            if that is not known.
        rounds: How many rounds were run; 0 if they were not run together.
    """

    p50_ms: float
    percent: float
    ci95: tuple[float, float] | None
    predicted90: tuple[float, float] | None = None
    rounds: int

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval of `percent`, measured or predicted."""
        return self.ci95 or self.predicted90


class EnergyDifference(_Frozen):
    """How the energy of an inference differs between two models that were run by turns.

    Attributes:
        mj: The median over rounds of A's energy less B's, in mJ.
        percent: The same of A's energy over B's, less 1, in per cent.
        ci95: 95 % interval of `percent`, by bootstrap of rounds, each of processes of its own.
        rounds: How many rounds were run.
    """

    mj: float
    percent: float
    ci95: tuple[float, float]
    rounds: int


class Power(_Frozen):
    """What a device drew while a model ran.

    Attributes:
        rail: The rail whose power it is, or those whose sum it is: VDD_IN.
        covers: What that rail feeds: the whole module.
        source: What told it: hwmon, tegrastats, RAPL.
        mean_w: Mean power while it ran, in W.
        idle_w: Mean power while nothing of ours ran, in W; None if that was not watched.
        energy_mj: Energy of an inference, in mJ, all that was drawn meanwhile.
        above_idle_mj: The same less what the device draws anyway; None if that is not known.
        rounds_mj: The energy of an inference in each round that it ran; None where power was not
            read meanwhile.
        seconds: How long it ran, of what was watched, in s.
        runs: How many inferences that were.
        readings: How often power was read meanwhile.
        rails_w: Mean power of every rail while it ran, in W.
    """

    rail: str
    covers: str
    source: str
    mean_w: float
    idle_w: float | None
    energy_mj: float
    above_idle_mj: float | None
    rounds_mj: tuple[float | None, ...]
    seconds: float
    runs: int
    readings: int
    rails_w: dict[str, float] = {}


class Memory(_Frozen):
    """What a model takes of memory while it runs.

    Attributes:
        weights_bytes: Its weights, each once; None if they are not known.
        activations_bytes: The most that its activations take at one time, as planned; None if that
            is not known.
        planned_by: What planned it: the ONNX graph, node by node, its inputs and outputs among
            them; the library, of the engine that it built, those left out; or nothing.
        at: The node that runs when they take the most; "" if that is not known.
        arena_bytes: What ONNX Runtime had taken for activations after some runs; None if it was
            not measured.
        resident_bytes: By how much the process had grown then since before it loaded the model;
            None likewise.
        peak_bytes: By how much it had grown at most, while it loaded and ran; None likewise.
    """

    weights_bytes: int | None
    activations_bytes: int | None
    planned_by: Literal["graph", "library", ""] = ""
    at: str = ""
    arena_bytes: int | None = None
    resident_bytes: int | None = None
    peak_bytes: int | None = None


class Identity(_Frozen):
    """The same model with its sites replaced by identity, run or predicted beside it.

    Attributes:
        kernels: Its kernels.
        difference: What the model takes above it.
        replaced: The sites that were replaced.
        kept: The sites that could not be, and why.
    """

    kernels: tuple[Kernel, ...]
    difference: Difference | None
    replaced: tuple[str, ...]
    kept: dict[str, str]


class Expected(_Frozen):
    """What was predicted of a model that was measured, of the kernels that were measured.

    Attributes:
        device: The device profile that it rests on.
        title: The same for people.
        power_mode: Its power mode; "" if there is none.
        latency_ms: The latency.
        interval_ms: Between what bounds.
        kernels_us: What each kernel adds to that, in the order of the trace; 0 of those that no
            prediction is of. None of them where other kernels were predicted, as of a plan.
    """

    device: str
    title: str
    power_mode: str = ""
    latency_ms: float
    interval_ms: tuple[float, float]
    kernels_us: tuple[float, ...]


class EndToEnd(_Frozen):
    """What the reconciliation rests on.

    Attributes:
        latency_us: End to end, not profiled.
        profiled_us: End to end while each kernel was timed; None if it is not known.
        enqueue_us: What the host took to enqueue one run; None if it is not known.
        streams: How many streams kernels run on.
        cuda_graph: Whether kernels were launched as one CUDA graph; None if it is not known.
    """

    latency_us: float
    profiled_us: float | None = None
    enqueue_us: float | None = None
    streams: int = 1
    cuda_graph: bool | None = None

    @property
    def is_host_bound(self) -> bool:
        """Whether the device waits for the host, which launches kernel by kernel."""
        enqueue_us = self.enqueue_us or 0.0
        return self.cuda_graph is not True and enqueue_us > MOST_ENQUEUE * self.latency_us

    @property
    def is_launched_singly(self) -> bool:
        """Whether the host launches kernel by kernel, as far as is known."""
        return self.cuda_graph is False or self.is_host_bound


class Machine(_Frozen):
    """What was measured on, or predicted for.

    Attributes:
        device: The name of its device profile, or of the processor itself.
        title: The same for people.
        host: The address of the host that it was measured on; "" for here.
        power_mode: The power mode; "" if there is none.
        bandwidth_gbps: Memory bandwidth that a floor is taken from; None if not known.
        cache_gbps: The same of the last cache; None if not known.
        cache_bytes: What the last cache holds; None if not known.
        peak_tflops: The peak of the fastest precision that the model computes in; None if not
            known.
        peak_precision: That precision; "" if not known.
        threads: Threads that computed, of a CPU.
        not_for: Where a plan stands in: what it was built for, in words.
        facts: What else is known: clocks, load, driver, threads.
    """

    device: str
    title: str
    host: str = ""
    power_mode: str = ""
    bandwidth_gbps: float | None = None
    cache_gbps: float | None = None
    cache_bytes: int | None = None
    peak_tflops: float | None = None
    peak_precision: str = ""
    threads: int | None = None
    not_for: str | None = None
    facts: dict[str, str] = {}

    def floor_us(self, traffic_bytes: int) -> float | None:
        """Return what moving bytes takes at least; None if no bandwidth is known.

        They come out of the last cache where it holds them all, else out of memory.
        """
        if self.bandwidth_gbps is None:
            return None
        is_held = self.cache_bytes is not None and traffic_bytes <= self.cache_bytes
        fastest = (
            max(self.bandwidth_gbps, self.cache_gbps or 0.0) if is_held else self.bandwidth_gbps
        )
        return traffic_bytes / fastest / 1e3


class Commit(_Frozen):
    """The commit that was checked out where a command was given.

    Attributes:
        sha: Its whole name.
        date: When it was committed, as ISO 8601 has it.
        subject: The first line of its message.
        is_changed: Whether files differed from it that it has.
    """

    sha: str
    date: str
    subject: str = ""
    is_changed: bool = False

    @property
    def short(self) -> str:
        """Its name for people; a + stands for files that differed from it."""
        return f"{self.sha[:9]}{'+' if self.is_changed else ''}"


class Trace(_Frozen):
    """One model on one device, by one runtime.

    Attributes:
        name: What the model is called in tables and pictures.
        model: What was run: a file, or a model's source.
        sha256: The hash of each file that it rests on.
        variant: Of a comparison, plain, stock or lowered; "" if it stands alone.
        precision: Of a comparison of precisions, the one that was asked of it; "" else. What its
            kernels compute in is theirs to say.
        rounds_id: The same in all traces of models that were run in the same rounds; "" if it ran
            alone, or nothing was run.
        rounds_ms: What it took in each of these; none where that is what the samples are.
        generations: How many rounds each generation of new processes ran, in order; none where
            that is not known.
        interval_ms: Of a prediction, the bounds of the latency.
        shared_spread: Of a prediction, the standard deviation of the logarithm of what all kernels'
            times are off together.
        windows: How many windows of runs were measured until they agreed.
        params: Parameters of the model; None if they are not known.
        lines: The lines of authors' own attentions, as the manifest of the export has them.
        layers: Of an engine that was measured, what its kernels are made of: what they take
            elsewhere can be told from it.
        power: What the device drew; None where nothing tells it, or nothing was asked.
        batch: Images of one run: the first size of the first input; None if it is not known.
        memory: What it takes of memory; None if nothing is known of that.
        expected: Of what was measured, what was predicted; None if nothing was.
        warnings: Why the figures are not to be trusted, or not what the model can do.
        notes: What else a reader should know.
        command: The command that made it.
        commit: The commit of the folder that it was given in; None where there is none.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    artifact: Literal["trace"] = "trace"
    name: str
    model: str
    sha256: dict[str, str]
    variant: str = ""
    precision: str = ""
    rounds_id: str = ""
    rounds_ms: tuple[float, ...] = ()
    generations: tuple[int, ...] = ()
    evidence: Evidence
    runtime: Runtime
    runtime_version: str
    machine: Machine
    latency_ms: Latency
    interval_ms: tuple[float, float] | None = None
    shared_spread: float | None = None
    windows: int = 0
    end_to_end: EndToEnd
    kernels: tuple[Kernel, ...]
    nodes: tuple[Node, ...]
    sites: tuple[Site, ...]
    params: int | None = None
    lines: tuple[SourceLines, ...] = ()
    identity: Identity | None = None
    layers: LayerInformation | None = None
    power: Power | None = None
    batch: int | None = None
    memory: Memory | None = None
    expected: Expected | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    command: str = ""
    commit: Commit | None = None

    @property
    def rounds(self) -> tuple[float, ...]:
        """What it took in each round that it was run in, in ms."""
        return self.rounds_ms or self.latency_ms.samples

    @property
    def weights_bytes(self) -> int | None:
        """What its weights take of memory; None if that is not known."""
        return None if self.memory is None else self.memory.weights_bytes

    @property
    def activations_bytes(self) -> int | None:
        """The most that its activations take at one time, as planned; None likewise."""
        return None if self.memory is None else self.memory.activations_bytes


class SavedRow(_Frozen):
    """A trace, and what its model takes above the first of those that it was run with.

    Attributes:
        difference: In time.
        energy: In energy, where both were watched.
        by_batch: In time, above the same model at the smallest batch, where that was run apart.
    """

    trace: Trace
    difference: Difference | None = None
    energy: EnergyDifference | None = None
    by_batch: Difference | None = None
