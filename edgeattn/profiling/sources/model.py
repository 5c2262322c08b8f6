"""What there is to know of an ONNX file before it is run: its nodes' costs, and its sites."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from edgeattn.attention.ours import OURS
from edgeattn.base import documents, files
from edgeattn.base.errors import InputError, shown
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.graph import gates
from edgeattn.graph import shapes as inference
from edgeattn.graph.costs import NodeCost, per_node
from edgeattn.graph.names import module_of, modules_around, tagged
from edgeattn.graph.nodes import length_of
from edgeattn.graph.reading import read
from edgeattn.legalise import take_up, taken_up
from edgeattn.options.shapes import check_type
from edgeattn.profiling.sources.lines import SaidOfLines, lines_of
from edgeattn.records import sidecar
from edgeattn.records.trace import Node, Site, SourceLines
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.runtimes.inputs import check_shape

if TYPE_CHECKING:
    import onnx_ir as ir


_UNREAD: Final = "The manifest of {} cannot be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a model besides its kernels.

    Attributes:
        nodes: What its nodes cost, or its torch modules.
        sites: Where attention sits.
        params: Its parameters; None if they are not known.
        lines: The lines of authors' own attentions.
        sha256: The hash of each file that this is read from.
        notes: What a reader should know of it.
    """

    nodes: tuple[Node, ...]
    sites: tuple[Site, ...]
    params: int | None
    lines: tuple[SourceLines, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of each node."""
        return {node.name: node.macs for node in self.nodes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Known):
    """An ONNX file that is to be profiled.

    Attributes:
        path: The file.
        model: Its model, with shapes, at the shapes that it is profiled at.
        sites_by: How the sites were found, in words.
        is_as_written: Whether the model is that of the file, every node having been named there.
        batch: The first size of the first input in which that is open, or of the first input; None
            if it has none.
    """

    path: Path
    model: ir.Model
    sites_by: str
    is_as_written: bool
    batch: int | None

    @property
    def parts(self) -> dict[str, set[str]]:
        """The names of each site's nodes, by its path."""
        found: dict[str, set[str]] = {site.path: set() for site in self.sites}
        for node in self.nodes:
            if node.site:
                found[node.site].add(node.name)
        return found


@blames_the_file
def read_subject(
    path: Path,
    *,
    batch: int = 1,
    shapes: Sequence[tuple[int, ...]] = (),
    site_globs: Sequence[str] = (),
) -> Subject:
    """Read an ONNX file, and find its sites.

    Args:
        path: The file.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; none for the file's own.
        site_globs: Globs of module paths that are sites, instead of those that are found.

    Raises:
        InputError: The file cannot be read, a shape does not fit, or a glob matches nothing.
    """
    source = read(path)
    found = take_up(source)
    model = found.model
    batched = [
        value for value in model.graph.inputs if value.shape and not isinstance(value.shape[0], int)
    ]
    is_assumed = bool(batched) and not shapes
    bind(model, path, batch, shapes)
    inference.find(model)
    found_sites = located(path, model, site_globs)
    costs = list(_costs(model, found_sites.site_of))
    params = found_sites.params
    found_how = (f"Sites were found {found_sites.how}.",) if found_sites.sites else ()
    return Subject(
        path=path,
        model=model,
        sha256={shown(str(one)): files.sha256(one) for one in (path, *found.data)},
        nodes=tuple(costs),
        sites=found_sites.sites,
        params=_weights(model) if params is None else params,
        lines=found_sites.lines,
        notes=(
            *found_sites.notes,
            *found_how,
            *taken_up(source, found),
            *([f"The batch is open, and is taken as {batch}."] if is_assumed else []),
        ),
        sites_by=found_sites.how,
        is_as_written=found.is_as_written,
        batch=length_of(next(iter([*batched, *model.graph.inputs]), None), 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where attention sits in a model.

    Attributes:
        sites: The sites.
        site_of: The site of each node that is in one, by the node's name.
        params: The model's parameters; None if they are not known.
        how: How the sites were found, in words.
        lines: The lines of authors' own attentions.
        notes: What a reader should know of it.
    """

    sites: tuple[Site, ...]
    site_of: Mapping[str, str]
    params: int | None
    how: str
    lines: tuple[SourceLines, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a manifest says of a model's attention, and how it was found."""

    sites: tuple[Site, ...]
    params: int | None
    lines: tuple[SourceLines, ...]
    how: str


def bind(model: ir.Model, path: Path, batch: int, shapes: Sequence[tuple[int, ...]]) -> None:
    """Bring the inputs of a model to the shapes that are asked, in place.

    Args:
        model: The model.
        path: Its file.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; none for the file's own.

    Raises:
        InputError: A shape does not fit, or dimensions other than the first stay open.
    """
    import onnx_ir as ir

    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    if shapes and len(shapes) != len(inputs):
        raise InputError(f"{path} takes {len(inputs)} inputs, and --shape is given {len(shapes)}.")
    for value, shape in zip(inputs, shapes, strict=False):
        own = [size if isinstance(size, int) else None for size in value.shape or ()]
        check_shape(f"--shape for input {value.name}", shape, own)
        check_type(shape, str(value.name), "" if value.dtype is None else value.dtype.numpy().name)
        value.shape = ir.Shape(shape)
    for value in inputs if not shapes else ():
        sizes = list(value.shape or ())
        if any(not isinstance(size, int) for size in sizes[1:]):
            raise InputError(
                f"Input {value.name} of {path} has open dimensions.",
                mend="Say which it is profiled at: --shape 1x3x224x224",
            )
    inference.bind_batch(model, batch)
    if shapes:  # what was inferred for other sizes is forgotten
        for node in model.graph.all_nodes():
            for one in node.outputs:
                if one.shape is not None and not one.shape.is_static():
                    one.shape = None


def located(path: Path, model: ir.Model, globs: Sequence[str] = ()) -> Located:
    """Find the sites of a model.

    Args:
        path: Its file, beside which a manifest may lie that says them.
        model: The model, with shapes.
        globs: Globs of module paths that are sites, instead of those that are found.

    Raises:
        InputError: A glob matches nothing.
    """
    modules = {
        node.name or "": module_of(tagged(node.name or "")) for node in model.graph.all_nodes()
    }
    lines: tuple[SourceLines, ...] = ()
    if globs:
        paths = _matching(modules.values(), globs)
        sites = [Site(path=one, attention="site") for one in paths]
        how = "by --site"
        params = None
    else:
        said, notes = manifest_sites(path)
        if said is None or not said.sites:  # a backbone may have attention of its own
            return replace(_found_gates(model, said.params if said else None), notes=notes)
        sites, params, how, lines = list(said.sites), said.params, said.how, said.lines
    places = {site.path: place for place, site in enumerate(sites)}
    site_of: dict[str, str] = {}
    for name, module in modules.items():
        around = [one for one in modules_around(module) if one in places]
        if around:
            site_of[name] = max(around, key=places.__getitem__)
    return Located(sites=tuple(sites), site_of=site_of, params=params, how=how, lines=lines)


def _found_gates(model: ir.Model, params: int | None) -> Located:
    known = {spec.name for spec in OURS}
    found = gates.find(model)
    sites = []
    for one in found:
        last = one.path.rpartition(".")[2].lower()
        name = last if last in known else one.attention
        sites.append(Site(path=one.path, attention=name, shape=one.shape))
    return Located(
        sites=tuple(sites),
        site_of={name: one.path for one in found for name in one.nodes},
        params=params,
        how="from the graph alone: gates over reductions, and self-attention",
    )


def _matching(modules: Iterable[str], globs: Sequence[str]) -> list[str]:
    """Return the modules, and those around them, that globs name; the outermost of nested ones."""
    known: dict[str, None] = {}
    for module in modules:
        parts = module.split(".")
        known |= dict.fromkeys(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    found: list[str] = []
    for glob in globs:
        matched = [one for one in known if fnmatchcase(one, glob)]
        if not matched:
            raise InputError(
                f"--site {glob!r} names no module.", mend=did_you_mean(nearest(glob, known))
            )
        found += matched
    return [
        one for one in dict.fromkeys(found)
        if not any(one.startswith(f"{other}.") for other in found)
    ]  # fmt: skip


def manifest_sites(
    path: Path,
) -> tuple[Said | None, tuple[str, ...]]:
    """Follow manifests from an ONNX file to that of its export, which says where attention sits.

    Returns:
        What it says, None if nothing says it; and a note of a file that is in a manifest's place
        and cannot be read, which counts as none.
    """
    try:
        later: list[SaidOfLines] = []
        for current, said in sidecar.chain(path):
            of_lines = documents.checked(SaidOfLines, said, _UNREAD.format(current.name))
            if "sites" in said:
                return _sites(said, current, lines_of(of_lines, reversed(later))), ()
            later.append(of_lines)
        sidecar.check_beside(path)
    except InputError as error:
        return None, (f"{error.fact} It counts as no manifest.",)
    return None, ()


class _Placed(BaseModel):
    path: str
    attention: str
    shape: tuple[int, ...]
    params: int


class _Sites(BaseModel):
    sites: tuple[_Placed, ...]
    params: int | None = None
    model: str | None = None


def _sites(said: Mapping[str, object], onnx: Path, lines: tuple[SourceLines, ...]) -> Said:
    found: _Sites = documents.checked(_Sites, said, _UNREAD.format(onnx.name))
    origin = f", exported from {found.model}" if found.model else ""
    return Said(
        sites=tuple(Site(**one.model_dump()) for one in found.sites),
        params=found.params,
        lines=lines,
        how=f"by the manifest of {onnx.name}{origin}",
    )


def _costs(model: ir.Model, site_of: Mapping[str, str]) -> Iterable[Node]:
    """Return what is known of each node; of those in branches and loops, costs are not counted."""
    counted = dict(zip(model.graph, per_node(model), strict=True))
    for node in model.graph.all_nodes():
        name = node.name or ""
        cost = counted.get(node) or NodeCost(name=name, op_type=node.op_type, known=False)
        yield Node(
            name=name,
            op_type=node.op_type,
            module=module_of(tagged(name)),
            site=site_of.get(name, ""),
            macs=cost.macs + cost.matmul_macs,
            element_ops=cost.element_ops,
            traffic_bytes=sum(_bytes(value) for value in (*node.inputs, *node.outputs)),
        )


def _bytes(value: ir.Value | None) -> int:
    if value is None or value.shape is None or value.dtype is None or not value.shape.is_static():
        return 0
    if value.dtype.name == "STRING":
        return 0
    return math.ceil(math.prod(value.shape.numpy()) * value.dtype.itemsize)


def _weights(model: ir.Model) -> int:
    """Count a file's parameters: the floating numbers that it holds for its layers."""
    return sum(
        value.const_value.size
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.dtype.is_floating_point()
    )
