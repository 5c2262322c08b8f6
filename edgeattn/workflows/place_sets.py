"""Models with attention at some sites: what a process of its own makes of one, and predicts.

The model with attention at every site is captured once. Of each set, the sites that are not in it
are replaced by identity in that graph, before anything is simplified or lowered: what comes of it
is what an export with the others' places would be. An attention that takes a layer's place leaves
no identity; with it, each set is captured anew.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.attention import registry
from edgeattn.base.clock import Clock
from edgeattn.graph import identity
from edgeattn.graph.alike import surroundings
from edgeattn.graph.names import is_inside, module_of, tagged
from edgeattn.graph.writing import save
from edgeattn.models import capture
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.precision.cast import cast_in_place
from edgeattn.records.manifest import PlacedSite
from edgeattn.records.pixels import Pixels
from edgeattn.records.trace import Trace
from edgeattn.workflows.forms import Forming
from edgeattn.workflows.pipeline import captured, check_float32, lowered_file
from edgeattn.workflows.profile import profile
from edgeattn.workflows.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import onnx_ir as ir

_WHOLE: Final = "every-site.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model with attention at every site, of which the models of sets are made.

    Attributes:
        request: The model.
        export: How models are exported.
        sites: The sites, in the model's order.
        alike: What has the same around it, for each site.
        graph: Its graph, folded and named; None where identity can take no site's place.
        pixels: What the model says that photos are normalised by.
        source: Where the model is from, canonically.
    """

    request: ModelRequest
    export: ExportOptions
    sites: tuple[PlacedSite, ...]
    alike: tuple[Hashable, ...]
    graph: Path | None
    pixels: Pixels | None
    source: str

    def at(self, sites: Sequence[int]) -> ModelRequest:
        """Return the request for the model with attention at some sites, by their places."""
        (attention,) = self.request.attentions
        if not sites:
            return replace(self.request, attentions=())
        if len(sites) == len(self.sites):
            return self.request
        at = ",".join(self.sites[place].target for place in sites)
        return replace(self.request, attentions=(replace(attention, at=at),))


def base_of(request: ModelRequest, export: ExportOptions, folder: Path) -> Base:
    """Capture a model with its attention at every site.

    Args:
        request: The model, with one attention.
        export: How models are exported.
        folder: Where its graph is written.

    Raises:
        InputError: It cannot be built or captured, or the attention goes nowhere.
    """
    from edgeattn.models.build import build

    built = build(request)
    check_float32(built)
    folded = capture.fold(captured(built, export))
    capture.name_everything(folded, input_names=(), output_names=())
    parts = _parts(folded, [site.path for site in built.sites])
    alike = tuple(surroundings(folded, parts[site.path]) for site in built.sites)
    spec = registry.find(request.attentions[0].name)
    is_replaceable = not spec.replaces_conv and not identity.replace(folded.clone(), parts)
    path = folder / _WHOLE
    if is_replaceable:
        save(folded, path, external=True)
    return Base(
        request=request,
        export=export,
        sites=built.sites,
        alike=alike,
        graph=path if is_replaceable else None,
        pixels=built.pixels,
        source=built.source,
    )


def made(base: Base, sites: Sequence[int], path: Path) -> None:
    """Write the model with attention at some sites, as an export would, without its proof.

    Args:
        base: The model.
        sites: Their places, in order.
        path: The file, in a folder that is there.

    Raises:
        InputError: It cannot be made.
    """
    options = base.export
    with workspace(path, options) as work:
        if base.graph is not None:
            work.take("model", _without(base, sites))
        else:
            from edgeattn.models.build import build

            built = build(base.at(sites))
            work.begin("model", captured(built, options), built)
        work.why_unsimplified()
        forming = Forming(options) if options.lower else None
        file, *_ = lowered_file(
            work, "model", options, Clock(lambda _: None), work.finish, forming=forming
        )
        if options.cast is not None:
            cast_in_place(file, options.cast, base.pixels)


def predicted(base: Base, sites: Sequence[int], item: Item, options: ProfileOptions) -> Trace:
    """Make the model with attention at some sites, and predict what it takes; no file is left.

    Args:
        base: The model.
        sites: Their places, in order.
        item: Its file, in a folder of its own that is there, as it is profiled.
        options: How.

    Raises:
        InputError: It cannot be made, or nothing can be predicted of it.
    """
    made(base, sites, item.path)
    trace = profile([item], options)[0].row.trace
    shutil.rmtree(item.path.parent)
    return trace


def _without(base: Base, sites: Sequence[int]) -> ir.Model:
    """Return the graph with attention at some sites alone."""
    import onnx_ir

    assert base.graph is not None
    model = onnx_ir.load(base.graph)
    others = [site.path for place, site in enumerate(base.sites) if place not in sites]
    refused = identity.replace(model, _parts(model, others))
    assert not refused, "each could be replaced"
    return model


def _parts(model: ir.Model, paths: Sequence[str]) -> dict[str, set[str]]:
    """Return the names of the nodes of each site."""
    modules = {node.name or "": module_of(tagged(node.name or "")) for node in model.graph}
    return {
        path: {name for name, module in modules.items() if is_inside(module, path)}
        for path in paths
    }
