"""An author's own attention, from a file or an installed module, built by what its signature asks.

What the site knows is filled in by the names that people use: channels, those of the output too
where no default says otherwise, and the map's height and width. If nothing is named as channels,
they are the first argument that has no default and no name of a setting. All else is an option.
"""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.attention.specs import AttentionSpec, Parameter, SiteShape
from edgeattn.base import usercode
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

PREFIX: Final = "own:"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names without case and underscores.
_CHANNELS: Final = _names(
    "c c1 cin ch chin channel channelin channels channelsin dim dims dmodel embeddim feat featdim"
    " featuredim features filters gatechannel gatechannels inc inch inchannel inchannels indim"
    " infeatures inp inplane inplanes inputchannel inputchannels inputdim nchannels ndim ndims nf"
    " nfeat nfeats nin numchannels numfeat numfeatures numfilters planes"
)
_OUTPUT: Final = _names(
    "c2 channelout channelsout chout cout dimout outc outch outchannel outchannels outdim"
    " outfeatures outp outplane outplanes outputchannel outputchannels outputdim oup nout"
)
_SIZES: Final = _names(
    "featsize featuremapsize featureresolution featuresize fmapsize hw inputresolution mapsize"
    " resolution spatialshape spatialsize"
)
#: Of the map only where there is no default: else of an image, or of a kernel.
_VAGUE_SIZES: Final = _names("imagesize imgsize inputsize shape size")
# Words of names.
_HEIGHTS: Final[Mapping[str, str]] = {"h": "w", "height": "width", "rows": "cols"}
_OF_WINDOWS: Final = _names("kernel stride pad padding window patch pool block k")
_SETTINGS: Final = _OF_WINDOWS | _names(
    "act b beta bias bn config cfg depth dilation drop dropout eps expansion factor g gamma group"
    " groups head heads kernels ksize lambda layer layers level levels m mode n norm num r rate"
    " ratio reduction scale split splits type"
)
_ALIKE: Final = 0.8

_OVERRULED: Final = (
    "What its signature asks was filled in; --attention-arg {}.NAME=VALUE overrules."
)
_GIVEN: Final = "It is given a map alone, [1, C, H, W], in eval mode; --at PLACE chooses others."


def is_own(name: str) -> bool:
    """Return whether a name says a file or a module, and what is in it."""
    return usercode.split(name) is not None


def spec_of(name: str) -> AttentionSpec:
    """Return an author's attention, under the name that it has in its file.

    Raises:
        InputError: There is none, or its file defines it twice.
    """
    found = _definition(name)
    member = name.rpartition(":")[2]
    lines = [
        str(node.lineno)
        for node in ([] if found.path is None else usercode.definitions(found.path))
        if node.name == member
    ]
    if len(lines) > 1:
        raise InputError(
            f"{found.path} defines {member} more than once, in lines {', '.join(lines)}",
            mend="Python takes the last. Rename one.",
        )
    return AttentionSpec(name=member, target=f"{PREFIX}{name}", paper="", summary="", place=None)


def sources(name: str) -> list[Path]:
    """Return the files that hold an author's attention: that which was named, and the class's."""
    found = _definition(name)
    return list(dict.fromkeys(filter(None, [found.path, _source(found.make)])))


def parameters(spec: AttentionSpec) -> dict[str, Parameter]:
    """Return all that an author's attention takes by name; the site fills some of it in."""
    make = _make(spec)
    annotations = usercode.annotations_of(make)
    return {
        name: Parameter(annotations.get(name, _implied(one.default)), one.default)
        for name, one in usercode.named_parameters_of(make).items()
    }


def takes(spec: AttentionSpec, option: str) -> bool:
    """Return whether an author's attention takes an option, if it takes any a misspelt one too."""
    known = parameters(spec)
    if option in known or not usercode.takes_any(usercode.parameters_of(_make(spec))):
        return option in known
    return not difflib.get_close_matches(option, known, cutoff=_ALIKE)


def check_options(spec: AttentionSpec, options: Mapping[str, str]) -> dict[str, object]:
    """Return the options in the types of annotations, or else of defaults.

    Raises:
        InputError: There is no such option, it is of another type, or one is missing.
    """
    known, where = parameters(spec), spec.target.removeprefix(PREFIX)
    checked: dict[str, object] = {}
    for name, text in options.items():
        if not takes(spec, name):
            raise InputError(
                f"{where} takes no argument '{name}'",
                mend=f"{did_you_mean(nearest(name, known))} It takes: {_in_words(known)}.".strip(),
            )
        one = known.get(name, Parameter(Any, inspect.Parameter.empty))
        if callable(one.default) and one.default is not inspect.Parameter.empty:
            raise InputError(
                f"{where}: {name} is code ({_shown(one.default)}), which no text stands for",
                mend=f"Set it in a function of your own, and name that: def mine(channels): return"
                f" {spec.name}(channels, {name}=…)",
            )
        try:
            checked[name] = usercode.value_of(where, name, text, one.annotation)
        except InputError as error:
            usual = "" if one.default is inspect.Parameter.empty else repr(one.default)
            raise InputError(error.fact, mend=usual and f"Its default is {usual}.") from error
    any_site = SiteShape(channels=1, height=1, width=1)
    _check_complete(spec, {**_asked(_make(spec), any_site, checked), **checked})
    return checked


def build(spec: AttentionSpec, site: SiteShape, options: Mapping[str, object]) -> nn.Module:
    """Build an author's attention for a site, and run it there.

    Raises:
        InputError: It cannot be built, raises, does not keep the map's shape, or keeps state.
    """
    found = _definition(spec.target.removeprefix(PREFIX))
    asked = _asked(found.make, site, options)
    _check_complete(spec, {**asked, **options})
    try:
        return _built(found, site, asked, options)
    except InputError:
        sizes = {name: size[0] for name, size in asked.items() if isinstance(size, tuple)}
        if not sizes or site.height != site.width:
            raise
        # What a size is, nothing but its use tells: two numbers, or one.
        with suppress(InputError):
            return _built(found, site, {**asked, **sizes}, options)
        raise


def _built(
    found: usercode.Definition,
    site: SiteShape,
    asked: Mapping[str, object],
    options: Mapping[str, object],
) -> nn.Module:
    given = {**asked, **options}
    said = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
    first = [
        given.pop(name)
        for name, one in usercode.parameters_of(found.make).items()
        if one.kind is inspect.Parameter.POSITIONAL_ONLY and name in given
    ]
    name = found.where.rpartition(":")[2]
    with found.running(f"fails in {name}({said})", mend=_OVERRULED.format(name)):
        module = usercode.checked_module(found.where, found.make(*first, **given))
    source = _source(type(module)) or found.path
    shape = f"{site.channels}x{site.height}x{site.width}"
    with found.running(f"fails in forward on a {shape} map", within=source, mend=_GIVEN):
        _check(found.where, module.eval(), site)
    if not hasattr(module, "note"):
        filled = [f"{name}={_shown(value)}" for name, value in asked.items()]
        module.note = ", ".join(filled)  # type: ignore[assignment]  # torch declares no text
    return module.train()


def _check(where: str, module: nn.Module, site: SiteShape) -> None:
    """Run a module, in eval mode, on maps of its site's size.

    Raises:
        InputError: What it gives is no such map, or depends on what it was run on before.
    """
    import torch

    shape = (1, site.channels, site.height, site.width)
    random = torch.Generator().manual_seed(0)
    one, two = (torch.randn(shape, generator=random) for _ in range(2))
    fresh = module
    with torch.no_grad():
        if _lazy(module):
            module(one.clone())  # which makes its parameters
        if never := _lazy(module):
            raise InputError(f"{where} never makes {', '.join(never)}: forward does not use it")
        with suppress(Exception):  # what cannot be copied is run as it is
            fresh = copy.deepcopy(module)
        before = _state(module)
        first = module(one.clone())
        _check_map(where, first, shape)
        other, again = module(two.clone()), module(one.clone())
        alone = fresh(two.clone())
    if _same(first, again) and (fresh is module or _same(other, alone)):
        return
    now = _state(module)
    changed = [name for name, value in now.items() if before.get(name) != value]
    what = f"changes {', '.join(changed)}" if changed else "draws random numbers, or keeps state"
    raise InputError(
        f"{where} gives another result for the same map when it is run again: its forward {what}",
        mend="A graph has neither: compute all of the input and the weights in eval mode"
        " (F.dropout needs training=self.training).",
    )


def _lazy(module: nn.Module) -> list[str]:
    """Return the parameters that a first run has yet to make."""
    from torch.nn.parameter import is_lazy

    return [name for name, one in module.named_parameters() if is_lazy(one)]


def _check_map(where: str, result: object, shape: tuple[int, ...]) -> None:
    """Refuse what is not as large as the map that was given.

    Raises:
        InputError: Says what it is, and what to do about it.
    """
    import torch

    want = "x".join(map(str, shape[1:]))
    fact = f"{where} must return a map as large as its input, {want}"
    if not isinstance(result, torch.Tensor):
        parts = list(result) if isinstance(result, (tuple, list)) else []
        kinds = ", ".join(_shape_of(one) for one in parts)
        raise InputError(
            f"{fact}: it gives a {type(result).__name__}{f' of {kinds}' if kinds else ''}",
            mend="Return the attended map alone; in a function of your own, a wrapper can take it"
            " out.",
        )
    got = tuple(result.shape)
    if got != shape:
        is_gate = len(got) == 4 and all(a in {1, b} for a, b in zip(got, shape, strict=True))
        raise InputError(
            f"{fact}: it gives {_shape_of(result)}",
            mend="That is a gate alone: return x * gate." if is_gate else "",
        )
    if result.dtype != torch.float32:
        kind = str(result.dtype).removeprefix("torch.")
        raise InputError(f"{fact}, in float32: it gives {kind}", mend="Return it .to(x.dtype).")


def _shape_of(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else "x".join(map(str, shape)) or "a number"


def _state(module: nn.Module) -> dict[str, str]:
    """Return what a module and those in it hold besides modules, as text."""
    return {
        f"{path}.{name}" if path else name: repr(value)
        for path, child in module.named_modules()
        for name, value in (*_plain(child), *child.named_buffers(recurse=False))
    }


def _plain(module: nn.Module) -> Iterator[tuple[str, object]]:
    return ((name, one) for name, one in vars(module).items() if not name.startswith("_"))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def _definition(name: str) -> usercode.Definition:
    home, member = usercode.split(name) or (name, "")
    found = usercode.find(home, member, what="the attention")
    from torch import nn

    if isinstance(found.make, nn.Module):
        raise InputError(
            f"{found.where} is a module already, and each site needs one of its own",
            mend=f"Name its class, or a function that makes one: def mine(channels): return"
            f" {type(found.make).__name__}(…)",
        )
    return found


def _make(spec: AttentionSpec) -> Callable[..., Any]:
    return _definition(spec.target.removeprefix(PREFIX)).make


def _source(make: object) -> Path | None:
    """Return the file that a class or function is in; None of torch's, and of what has none."""
    import torch

    try:
        path = Path(inspect.getsourcefile(inspect.unwrap(make)) or "")  # type: ignore[arg-type]
    except TypeError:
        return None
    return path if path.is_file() and Path(torch.__file__).parent not in path.parents else None


def _implied(default: object) -> Any:
    plain = (bool, int, float, str, list, tuple, dict)
    return type(default) if isinstance(default, plain) else Any


def _shown(value: object) -> str:
    return getattr(value, "__name__", repr(value))


def _in_words(known: Mapping[str, Parameter]) -> str:
    shown = [
        name if one.default is inspect.Parameter.empty else f"{name}={_shown(one.default)}"
        for name, one in known.items()
    ]
    return ", ".join(shown) or "nothing"


def _check_complete(spec: AttentionSpec, given: Mapping[str, object]) -> None:
    """Refuse to build what needs an argument that neither the site nor the user gives.

    Raises:
        InputError: Names the arguments.
    """
    known = parameters(spec)
    missing = [
        name
        for name, one in known.items()
        if one.default is inspect.Parameter.empty and name not in given
    ]
    if missing:
        raise InputError(
            f"{spec.target.removeprefix(PREFIX)} needs {', '.join(missing)}, which no site says",
            mend=f"Give: {' '.join(f'--attention-arg {spec.name}.{one}=…' for one in missing)}",
        )


def _asked(
    make: Callable[..., Any], site: SiteShape, given: Mapping[str, object]
) -> dict[str, object]:
    """Return what the site fills in, by argument."""
    known = usercode.named_parameters_of(make)
    annotations = usercode.annotations_of(make)
    found: dict[str, object] = {}
    for name, one in known.items():
        key = name.lower().replace("_", "")
        is_asked = one.default is not None  # whoever leaves it open does without
        if key in _CHANNELS or (key in _OUTPUT and is_asked):
            found[name] = site.channels
        elif is_asked and (size := _side(name, known, site)) is not None:
            found[name] = size
        elif (key in _SIZES and is_asked) or (key in _VAGUE_SIZES and one.default is one.empty):
            is_one = int in {annotations.get(name), type(one.default)}
            if not is_one:
                found[name] = (site.height, site.width)
            elif site.height == site.width:
                found[name] = site.height
    if not any(name.lower().replace("_", "") in _CHANNELS for name in known):
        first = next((name for name, one in known.items() if one.default is one.empty), "")
        is_number = annotations.get(first, int) is int and first not in found
        if first and is_number and not _SETTINGS & {*first.lower().split("_")}:
            found[first] = site.channels
    return {name: value for name, value in found.items() if name not in given}


def _side(name: str, known: Mapping[str, object], site: SiteShape) -> int | None:
    """Return the map's height or width if a name asks for it, and another for the other."""
    words = name.lower().split("_")
    lower = {one.lower() for one in known}
    if _OF_WINDOWS & {*words}:
        return None
    for height, width in _HEIGHTS.items():
        for own, other, side in ((height, width, site.height), (width, height, site.width)):
            partner = "_".join(other if word == own else word for word in words)
            if own in words and partner in lower:
                return side
    return None
