"""The files of one export: scratch ones, and those that land beside each other at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base import files
from edgeattn.base.versions import own_version
from edgeattn.graph import inside, tags
from edgeattn.graph.marks import marks_of
from edgeattn.graph.simplify import Simplification, Simplifier
from edgeattn.graph.writing import save
from edgeattn.lowering.target import TARGETS
from edgeattn.models import capture
from edgeattn.options.export import ExportOptions
from edgeattn.records.parity import Weights

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.models.build import BuiltModel


class Workspace:
    """Two graphs on their way through the stages: the model's, and the randomised one's.

    Made by `workspace`.

    Args:
        destination: The ONNX file to be; the manifest stands beside it.
        staging: The folder whose files land in the destination's folder at the end.
        scratch: A folder for what is not to land.
        options: Names of inputs and outputs.
        simplifier: Runs onnxsim; None for not to.
    """

    def __init__(
        self,
        destination: Path,
        *,
        staging: Path,
        scratch: Path,
        options: ExportOptions,
        simplifier: Simplifier | None,
    ) -> None:
        self.staging = staging
        self._destination = destination
        self._scratch = scratch
        self._options = options
        self._simplifier = simplifier
        self._running: dict[Weights, Simplification] = {}
        self._metadata: Mapping[str, str] = {}
        #: As `capture.name_everything` returns them.
        self.stacks: dict[str, str] = {}
        #: How many nodes the model had after folding.
        self.exported_nodes = 0

    def begin(self, weights: Weights, raw: ir.Model, built: BuiltModel) -> None:
        """Fold, name and write the graph with the weights of this moment, and start onnxsim."""
        folded = capture.fold(raw)
        graph, options = folded.graph, self._options
        asked = options.input_names or built.input_names
        inputs = capture.io_names("input", asked, len(graph.inputs))
        own = built.output_names
        if len(own) != len(graph.outputs) or set(own) & set(inputs):
            own = ()
        self.stacks = capture.name_everything(
            folded, input_names=inputs, output_names=options.output_names or own
        )
        self._metadata = built.metadata
        # Until other weights are drawn, and written, torch holds its own.
        self.take(weights, folded, is_sparing=weights == "model")

    def take(self, weights: Weights, folded: ir.Model, *, is_sparing: bool = False) -> None:
        """Write a graph that is folded and named, and start onnxsim, as `Simplifier` has it."""
        if weights == "model":
            self.exported_nodes = len(folded.graph)
        source = self.source(weights)
        save(folded, source, external=True)
        if self._simplifier is not None:
            self._running[weights] = self._simplifier.begin(
                source,
                self._scratch / f"{weights}.simplified.onnx",
                timeout_s=self._options.simplify_timeout_s,
                without=TARGETS[self._options.target].simplified_without,
                is_sparing=is_sparing,
            )

    def why_unsimplified(self) -> str:
        """Wait for onnxsim, and return the reason if it did not simplify every graph.

        Then none counts as simplified: both graphs must be the same.
        """
        reasons = filter(None, (run.wait() for run in self._running.values()))
        reason = next(reasons, "")
        if reason:
            self._running.clear()
        if self._simplifier is not None:
            self._simplifier.close()  # it holds as much memory as the model takes, and more
        return reason

    def simplified(self, weights: Weights) -> ir.Model:
        """Return a graph as onnxsim left it, or as it was where onnxsim is left out or failed."""
        import onnx_ir

        run = self._running.get(weights)
        if run is None:
            return onnx_ir.load(self.source(weights))
        model = inside.load(run.target)
        tags.restore_value_names(onnx_ir.load(self.source(weights)).graph, model)
        tags.adopt(model)
        return model

    def finish(self, weights: Weights, model: ir.Model) -> Path:
        """Write a model: to its destination, or to scratch for the random one."""
        _seal(model, self._metadata)
        folder = self.staging if weights == "model" else self._scratch
        path = folder / self._destination.name
        save(model, path, external=weights == "random")
        return path

    def source(self, weights: Weights) -> Path:
        """Return the file of a graph as torch wrote it, folded."""
        return self._scratch / f"{weights}.folded.onnx"


@contextlib.contextmanager
def workspace(
    destination: Path,
    options: ExportOptions | None = None,
    *,
    simplifier: Simplifier | None = None,
) -> Iterator[Workspace]:
    """Open a workspace beside the file to be.

    What was written for the model lands at the destination when the block ends well, and nothing
    does when it does not.

    Args:
        destination: The ONNX file to be; the manifest stands beside it.
        options: Names of inputs and outputs, and whether to run onnxsim; None for the defaults.
        simplifier: Runs onnxsim, for this workspace alone; None to start it.

    Raises:
        InputError: If the destination's folder is full or cannot be written to.
    """
    options = options or ExportOptions()
    with contextlib.ExitStack() as stack:
        staging = stack.enter_context(files.staged(destination.parent))
        # Beside what is to land, and on the same disk: gone with it, whatever happens.
        scratch = staging.parent / "scratch"
        scratch.mkdir()
        if options.simplify and simplifier is None:
            simplifier = stack.enter_context(Simplifier())
        yield Workspace(
            destination,
            staging=staging,
            scratch=scratch,
            options=options,
            simplifier=simplifier if options.simplify else None,
        )


def _seal(model: ir.Model, metadata: Mapping[str, str]) -> None:
    """Leave in a header who wrote it, what it was lowered for, what its library's runtime reads."""
    marks = marks_of(model)
    model.metadata_props.clear()
    model.metadata_props.update({**metadata, **marks})
    model.producer_name = "edgeattn"
    model.producer_version = own_version()
    model.doc_string = None
    model.domain = None
    model.model_version = None
    model.graph.name = "main_graph"
