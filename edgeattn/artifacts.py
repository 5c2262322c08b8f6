"""The files of one export: scratch ones, and those that land beside each other at the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from edgeattn import files

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.manifest import Manifest, Tensor
    from edgeattn.simplify import Simplification

#: Weights above this many bytes go to a file of their own beside the model.
_LARGEST_INLINE_BYTES = 2**31 - 2**26

Weights = Literal["model", "random"]


class Workspace:
    """Two graphs on their way through the stages: the model's, and the randomised one's.

    A context manager: what `finish` and `write_manifest` wrote for the model lands at the
    destination when the block ends well, and nothing does when it does not.

    Args:
        destination: The ONNX file to be; the manifest stands beside it.
        input_names: Names of the inputs; empty for `input`.
        output_names: Names of the outputs; empty for `output`.
        simplify_timeout_s: Seconds that onnxsim gets; None leaves it out.
    """

    def __init__(
        self,
        destination: Path,
        *,
        input_names: Sequence[str],
        output_names: Sequence[str],
        simplify_timeout_s: float | None,
    ) -> None:
        self._destination = destination
        self._names = {"input_names": input_names, "output_names": output_names}
        self._timeout_s = simplify_timeout_s
        self._stack = contextlib.ExitStack()
        self._folded: dict[Weights, ir.Model] = {}
        self._running: dict[Weights, Simplification] = {}

    def __enter__(self) -> Self:
        self._staging = self._stack.enter_context(files.staged(self._destination.parent))
        scratch = tempfile.TemporaryDirectory(prefix="edgeattn-", ignore_cleanup_errors=True)
        self._scratch = Path(self._stack.enter_context(scratch))
        self._stack.callback(self._stop)
        return self

    def __exit__(self, *exception: object) -> bool | None:
        return self._stack.__exit__(*exception)  # type: ignore[arg-type]  # passed on as given

    def _stop(self) -> None:
        for run in self._running.values():
            run.stop()

    @property
    def exported_nodes(self) -> int:
        """How many nodes the model had after folding."""
        return len(self._folded["model"].graph)

    def begin(self, weights: Weights, raw: ir.Model) -> None:
        """Folds, names and writes the graph with the weights of this moment; starts onnxsim."""
        from edgeattn import capture, simplify

        folded = capture.fold(raw)
        capture.name_everything(folded, **self._names)
        self._folded[weights] = folded
        source = self._source(weights)
        save(folded, source, external=True)
        if self._timeout_s is not None:
            target = self._scratch / f"{weights}.simplified.onnx"
            self._running[weights] = simplify.start(source, target, timeout_s=self._timeout_s)

    def simplified(self, weights: Weights) -> tuple[ir.Model, str]:
        """Gives the simplified model, or else the unsimplified one and the reason."""
        import onnx_ir

        from edgeattn.graph import tags

        run = self._running.get(weights)
        if run is None:
            return onnx_ir.load(self._source(weights)), ""
        if reason := run.wait():
            return onnx_ir.load(self._source(weights)), f"The model is not simplified: {reason}."
        model = onnx_ir.load(run.target)
        tags.restore_value_names(self._folded[weights].graph, model)
        tags.adopt(model)
        return model, ""

    def finish(self, weights: Weights, model: ir.Model, *, opset: int) -> Path:
        """Legalises and writes a model: to its destination, or to scratch for the random one."""
        from edgeattn.legalise import legalise

        legalise(model, opset)
        _seal(model)
        folder = self._staging if weights == "model" else self._scratch
        path = folder / self._destination.name
        save(model, path, external=weights == "random")
        return path

    def hashes(self) -> dict[str, str]:
        """Gives the SHA-256 of every file that is to land, by name."""
        return {path.name: files.sha256(path) for path in sorted(self._staging.iterdir())}

    def size_bytes(self) -> int:
        """Gives the size of all files that are to land."""
        return sum(path.stat().st_size for path in self._staging.iterdir())

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the manifest beside the model."""
        path = self._staging / self._destination.with_suffix(".json").name
        path.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _source(self, weights: Weights) -> Path:
        return self._scratch / f"{weights}.folded.onnx"


def save(model: ir.Model, path: Path, *, external: bool = False) -> None:
    """Writes a model.

    Args:
        model: The model.
        path: The file.
        external: Put the weights into a file beside it, which needs no memory for a copy of them;
            done in any case where one message cannot hold them.
    """
    import onnx_ir

    weights_bytes = sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )
    external = external or weights_bytes > _LARGEST_INLINE_BYTES
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if external else None)


def describe(values: Sequence[ir.Value]) -> tuple[Tensor, ...]:
    """Gives the names, shapes and types of graph inputs or outputs."""
    from edgeattn.manifest import Tensor

    return tuple(
        Tensor(
            name=str(value.name),
            shape=tuple(
                size if isinstance(size, int) else str(size) for size in (value.shape or ())
            ),
            dtype=str(value.dtype.numpy()) if value.dtype is not None else "unknown",
        )
        for value in values
    )


def _seal(model: ir.Model) -> None:
    """Leaves in a model's header nothing but who wrote it."""
    from edgeattn.manifest import versions

    model.metadata_props.clear()
    model.producer_name = "edgeattn"
    model.producer_version = versions()["edgeattn"]
    model.doc_string = None
    model.domain = None
    model.model_version = None
    model.graph.name = "main_graph"
