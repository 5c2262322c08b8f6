"""ONNX Runtime on the CPU, measured: latency, the time of each node, and what sites add."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
)

from edgeattn.base import documents
from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.versions import version_of
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.profiling.measure.onnxruntime.graph import (
    NAMELESS,
    Origin,
    give_known_shapes,
    name_all,
    origins,
)
from edgeattn.profiling.measure.onnxruntime.place import HERE, Place
from edgeattn.profiling.measure.rounds import (
    PROFILED_RUNS,
    WARM_UP_RUNS,
    Limits,
    Timed,
    take_windows,
    timed_of,
    told,
)
from edgeattn.profiling.predict.cpu.work import with_work
from edgeattn.records.kinds import kind_of, strongest
from edgeattn.records.trace import Kernel, Power
from edgeattn.runtimes.onnxruntime import inputs_of, limit_of, to_draw
from edgeattn.runtimes.runner import OPTIMISED

if TYPE_CHECKING:
    import onnx_ir as ir

# Of the limit, and at most so many seconds: before anything is timed, a window, what is profiled.
_WARM_UP: Final = (1 / 60, 0.5)
_WINDOW: Final = (1 / 30, 1.0)
_PROFILED: Final = (1 / 20, 1.5)
# What loading a model, and warming it up, is expected to take at most.
_LOAD_S: Final = 240.0
# Windows of one model alone, of several that are compared, to see what each draws.
_POWER_ROUNDS: Final = 6
_ANY: Final = 10**6
# What an optimised graph may be, without its weights.
_MOST_BYTES: Final = 1 << 28
# Windows after which models that are compared get new processes.
_RENEWED_AFTER: Final = 3
_PRECISIONS: Final = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}


def time_models(
    paths: Sequence[Path],
    options: ProfileOptions,
    *,
    place: Place = HERE,
    with_power: bool = True,
    on_progress: Stage = lambda _: None,
) -> Timed:
    """Measure models end to end, without the profiler; several in interleaved rounds.

    Args:
        paths: The ONNX files.
        options: How they are run: on as many threads as there are cores by default.
        place: Where.
        with_power: Whether to see what each draws, where the place tells.
        on_progress: Told how far it is.

    Raises:
        InputError: ONNX Runtime does not load one of them, or fails while it runs.
    """
    limits = Limits(window=(10, 200, _seconds(options, _WINDOW)), limit_s=options.limit_s)
    fewest, most, seconds = limits.window
    with ExitStack() as stack:
        job = {
            "task": "time",
            "models": [stack.enter_context(_lent(path, options, place)) for path in paths],
            **_how(options, place),
        }
        runner = stack.enter_context(place.runner("measured"))
        loaded = _Loaded.of(runner.ask(job, limit_s=place.limit_s(_LOAD_S)))
        watch = place.watch()
        expected_s = seconds + 2 * fewest * sum(loaded.ms) / 1e3
        windows_run: list[_Window] = []

        def ran(**how: object) -> _Window:
            limit_s = place.limit_s(expected_s + (_LOAD_S if how.get("renew") else 0))
            job = {"task": "window", "seconds": seconds, **how}
            return _Window.of(runner.ask(job, limit_s=limit_s))

        def window(windows: int) -> list[list[float]]:
            is_new = len(paths) > 1 and windows > 0 and windows % _RENEWED_AFTER == 0
            found = ran(fewest=fewest, most=most, renew=is_new)
            windows_run.append(found)
            return found.rows_of(len(paths))

        def powers() -> Iterator[Power | None]:
            by_model = {0: windows_run} if len(paths) == 1 else {}
            # What is run by turns draws power together: each by itself, now, and by turns again.
            for turn in range(0 if by_model else _POWER_ROUNDS):
                for model in range(len(paths))[:: (-1) ** turn]:
                    alone = ran(fewest=1, most=_ANY, only=model)
                    by_model.setdefault(model, []).append(alone)
            for _, each in sorted(by_model.items()):
                yield place.power([one.span for one in each], [one.runs for one in each])

        def on_window(said: Mapping[str, Any]) -> None:
            watch.look()
            on_progress(told(said))

        found = take_windows(len(paths), window, limits, on_window=on_window)
        warnings = watch.warnings()
        drawn = tuple(powers()) if with_power and place.tells_power else ()
        runner.finish()
    return Timed(**timed_of({**found, "warnings": warnings}), powers=drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledModel:
    """What ONNX Runtime's profiler says of a model.

    Attributes:
        kernels: Its kernels, each with its work.
        profiled_us: What the whole run took while they were timed.
    """

    kernels: tuple[Kernel, ...]
    profiled_us: float


def profile_kernels(
    path: Path,
    model: ir.Model,
    costs: Mapping[str, int],
    options: ProfileOptions,
    *,
    once: bool = False,
    place: Place = HERE,
) -> ProfiledModel:
    """Take a model through ONNX Runtime's profiler.

    Args:
        path: The ONNX file.
        model: Its model.
        costs: Multiply-accumulates of each of its nodes.
        options: How it is run.
        once: Run it once, for its kernels and shapes: the times mean nothing then.
        place: Where.

    Raises:
        InputError: ONNX Runtime does not load it, or fails while it runs.
    """
    import onnx_ir

    job = {
        "task": "profile",
        **_how(options, place),
        **({"warm_up": (0, 0.0), "runs": (1, 1)} if once else {"runs": PROFILED_RUNS}),
        "seconds": _seconds(options, _PROFILED),
        "pack": place.packs,
    }
    with ExitStack() as stack:
        given = stack.enter_context(_lent(path, options, place))
        folder = stack.enter_context(place.folder())
        runner = stack.enter_context(place.runner("profiled"))
        said = runner.ask(job | {"model": given, "folder": folder}, limit_s=place.limit_s(_LOAD_S))
        runner.finish()
        found = _Seen.of(said)
        if found.graph is None:
            optimised = onnx_ir.load(Path(folder) / OPTIMISED)
        else:
            optimised = _graph(found.graph)
        name_all(optimised)
        known = origins(model, optimised)
    rows = list(_named(found.nodes, optimised))
    _give_shapes(rows, model, optimised)
    return ProfiledModel(
        kernels=with_work(_kernels(rows, known, model, costs), optimised, place.block_channels),
        profiled_us=found.profiled_us,
    )


def _graph(data: bytes) -> ir.Model:
    import onnx
    import onnx_ir

    try:
        model: ir.Model = onnx_ir.from_proto(onnx.ModelProto.FromString(data))
    except Exception as error:  # whatever a reader makes of it
        raise InputError(
            f"The runner gives a graph that cannot be read: {in_one_line(error)}"
        ) from error
    return model


def _unpacked(graph: object) -> object:
    """Return what a runner compressed, unless it is larger than any graph."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(base64.b64decode(str(graph), validate=True), _MOST_BYTES)
    if not inflate.eof:
        raise ValueError("it is cut short, or too large")
    return data


class _Said(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Return what a runner said, checked: it may be on another machine."""
        found: Self = documents.checked(cls, said, "The runner says what no runner says")
        return found


class _Loaded(_Said):
    ms: list[NonNegativeFloat]


class _Window(_Said):
    rows: list[list[PositiveFloat]]
    span: tuple[float, float]
    runs: int

    def rows_of(self, models: int) -> list[list[float]]:
        """Return the rows, which are of so many models.

        Raises:
            InputError: They are not.
        """
        if not self.rows or any(len(row) != models for row in self.rows):
            raise InputError("The runner gives rounds of other models than it was asked for.")
        return self.rows


class _Row(_Said):
    name: str
    op: str
    time_us: NonNegativeFloat
    activation_bytes: NonNegativeInt
    output_shapes: list[list[NonNegativeInt]]
    dtype: str


class _Seen(_Said):
    nodes: list[_Row]
    profiled_us: NonNegativeFloat
    graph: Annotated[bytes, BeforeValidator(_unpacked)] | None = None


@contextmanager
def _lent(path: Path, options: ProfileOptions, place: Place) -> Iterator[dict[str, Any]]:
    """Yield a model as a runner takes it."""
    takes = inputs_of(path)
    asked = to_draw(takes, batch=options.batch, seed=options.seed, shapes=options.shapes)
    with place.lent(path) as given:
        yield {
            "path": given,
            "name": str(path),
            "inputs": place.inputs(asked),
            "limit_s": limit_of(path),
        }


def _how(options: ProfileOptions, place: Place) -> dict[str, Any]:
    return {
        "threads": options.threads or place.cores,
        "warm_up": (WARM_UP_RUNS, _seconds(options, _WARM_UP)),
    }


def _seconds(options: ProfileOptions, part: tuple[float, float]) -> float:
    """Return how long something goes on: a part of the limit, at most so much."""
    of, most = part
    return min(of * options.limit_s, most)


def version() -> str:
    """Return the version of ONNX Runtime."""
    return version_of("onnxruntime") or version_of("onnxruntime-gpu") or "unknown"


def _named(rows: Sequence[_Row], optimised: ir.Model) -> Iterator[_Row]:
    """Return nodes that have no name in the graph the names that `name_all` gave them.

    The profiler calls them by operator and index; they come in the graph's order.
    """
    known = {node.name for node in optimised.graph}
    nameless: dict[str, list[str]] = {}
    for node in optimised.graph:
        if (node.name or "").startswith(NAMELESS):
            nameless.setdefault(node.op_type, []).append(node.name or "")
    for row in rows:
        waiting = nameless.get(row.op, [])
        if row.name in known or not waiting:
            yield row
        else:
            yield row.model_copy(update={"name": waiting.pop(0)})


def _give_shapes(rows: Sequence[_Row], model: ir.Model, optimised: ir.Model) -> None:
    """Give the values of the optimised graph the shapes that the profiler saw, in place."""
    import onnx_ir as ir

    bound = {value.name: value.shape for value in model.graph.inputs}
    for value in optimised.graph.inputs:
        value.shape = bound.get(value.name, value.shape)
    shapes = {row.name: row.output_shapes for row in rows}
    for node in optimised.graph:
        written = [value for value in node.outputs if value.name]
        for value, shape in zip(written, shapes.get(node.name or "", ()), strict=False):
            value.shape = ir.Shape(shape)
    give_known_shapes(model, optimised)  # before 1.11 the profiler tells none


def _kernels(
    rows: Sequence[_Row],
    known: Mapping[str, Origin],
    model: ir.Model,
    costs: Mapping[str, int],
) -> Iterator[Kernel]:
    ops = {node.name or "": node.op_type for node in model.graph}
    counted: Counter[str] = Counter()
    nowhere = Origin(nodes=(), inputs=(), outputs=())
    for row in rows:
        origin = known.get(row.name, nowhere)
        kind = kind_of(row.op)
        macs = 0
        for node in origin.nodes:
            # A layer that is two kernels is computed in one of them.
            if kind_of(ops.get(node, "")) == kind and not counted[node]:
                macs += costs.get(node, 0)
                counted[node] += 1
        yield Kernel(
            name=row.name,
            op=row.op,
            kind=_kind(row, origin, ops),
            time_us=row.time_us,
            traffic_bytes=row.activation_bytes + origin.weights_bytes,
            macs=macs,
            nodes=origin.nodes,
            inputs=origin.inputs,
            outputs=origin.outputs,
            causes=origin.causes,
            precision=_PRECISIONS.get(row.dtype, ""),
        )


def _kind(row: _Row, origin: Origin, ops: Mapping[str, str]) -> Any:
    """Return the kind of a kernel: its operator's, unless that is one that stands for others."""
    if row.op in ops.values() or not origin.nodes:
        return kind_of(row.op)
    of_nodes = strongest(kind_of(ops.get(node, "")) for node in origin.nodes)
    return kind_of(row.op) if of_nodes is None else of_nodes
