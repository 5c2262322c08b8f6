"""What the ONNX parser of TensorRT takes, by version."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import onnx_ir as ir
from onnx import defs

from edgeattn.base.documents import parse_toml
from edgeattn.base.errors import InputError
from edgeattn.base.versions import numbers
from edgeattn.graph.names import STANDARD_DOMAINS
from edgeattn.graph.nodes import given, integer, is_static
from edgeattn.graph.schemas import Signature, signature
from edgeattn.records.check import Verdict
from edgeattn.support.answers import Answer, worst
from edgeattn.support.restrictions import Asked, Release, restrictions

_FIRST: Final[Release] = (8,)
_MAX_RANK: Final = 8
# The oldest opset that an operator is written at with others.
_OLDEST: Final = 13
_FUNCTIONS: Final[Release] = (9, 0)
_FUNCTIONS_SOURCE: Final = "docs/Changelog.md of onnx-tensorrt, 9.0"
# Operators that got new values of attributes, or another meaning, without new attributes.
_CHANGED_WITHIN: Final = frozenset({"Celu", "Einsum", "GridSample", "Mod", "QuantizeLinear"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a source says of some names, from one release to another.

    Attributes:
        verdict: What it says.
        first: The first release that it is about; () if that is the very first.
        last: The last one; () if that is the newest.
        source: Where it is said.
        types: The types of values that it is about; none if it is about all.
    """

    verdict: Verdict
    first: Release
    last: Release
    source: str
    types: frozenset[str]

    def is_about(self, release: Release) -> bool:
        return self.first <= release and (not self.last or release <= self.last)


_Table: TypeAlias = dict[str, list[_Said]]


@functools.cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_suffix(".toml")
    return parse_toml(path.read_text(encoding="utf-8"), path.name)


@functools.cache
def _table(name: str) -> _Table:
    table: _Table = {}
    for group in _document()[name]:
        said = _Said(
            verdict=group.get("verdict", "yes"),
            first=numbers(group.get("first", "")),
            last=numbers(group.get("last", "")),
            source=group["source"],
            types=frozenset(group.get("types", "").split()),
        )
        for one in group["names"].split():
            table.setdefault(one, []).append(said)
    return table


class Parser:
    """The ONNX parser of one version of TensorRT.

    Args:
        version: Such as "8.5.2" or "10.3".
        rtx: Whether it is TensorRT-RTX, whose versions are others: each has the parser of a
            TensorRT, without its plugins.

    Raises:
        InputError: That is no version, or one before 8.0, or before 1.4 of TensorRT-RTX.

    Attributes:
        title: What it is called.
    """

    def __init__(self, version: str, *, rtx: bool = False) -> None:
        library = f"TensorRT{'-RTX' if rtx else ''}"
        own = (*numbers(version), 0)[:2]
        if not re.fullmatch(r"\d+(\.\d+)*([+-].+)?", version):
            raise InputError(
                f"{version!r} is no version of {library}.", mend="Such as 8.5 or 10.3."
            )
        same = [like for first, like in _document()["rtx"].items() if numbers(first) <= own]
        if (not same) if rtx else (own < _FIRST):
            since = "1.4" if rtx else "8.0"
            raise InputError(
                f"Nothing is known of {library} {version}.", mend=f"Since {since} it is."
            )
        self.title: Final = f"{library} {version}"
        self.release: Final[Release] = numbers(same[-1]) if rtx else own
        self._plugins: Final = own if rtx else None

    def is_known(self) -> Answer:
        """Return whether sources speak of it, or of one of its line."""
        newest = _document()["opset"][-1]["release"]
        if self.release[:1] <= numbers(newest)[:1]:
            return Answer(verdict="yes")
        return Answer(
            verdict="unknown",
            reason=f"of {self.title} no source speaks: the newest that is known is {newest}",
            mend="Ask the device itself: --on HOST",
        )

    def takes_opset(self, opset: int) -> Answer:
        """Return whether it takes a model of an opset.

        The parser itself refuses none: it reads newer operators as if they were older ones.

        Args:
            opset: Of ONNX's own operators.
        """
        highest, source = self._highest_opset()
        if opset <= highest:
            return Answer(verdict="yes", source=source)
        return Answer(
            verdict="unknown",
            reason=f"opset {opset} is above {highest}, the highest that {self.title} is documented"
            " for: its parser goes on, and reads what changed since as it was before",
            source=source,
            mend=f"--opset {highest}",
        )

    def takes_functions(self, names: Sequence[str]) -> Answer:
        """Return whether it takes a file with functions of its own.

        Args:
            names: Those that the file calls, each with its domain.
        """
        if self.release >= _FUNCTIONS:
            return Answer(verdict="yes", source=_FUNCTIONS_SOURCE)
        called = ", ".join(names)
        own = all(name.rpartition(".")[2] in _table("operators") for name in names)
        return Answer(
            verdict="unknown" if own else "no",
            reason=f"the file has functions ({called}), and {self.title} takes each for"
            f" {'its own operator' if own else 'a plugin'} of that name",
            source=_FUNCTIONS_SOURCE,
            mend="Write it without: edgeattn optimize IN.onnx -o OUT.onnx",
        )

    def takes_value(self, value: ir.Value) -> Answer:
        """Return whether it takes a model with an input, an output or a weight like this."""
        if value.type is not None and not isinstance(value.type, ir.TensorType):
            return self._refused("it is no dense tensor", "the parser reads tensors only")
        dtype = value.dtype
        if dtype is None or dtype == ir.DataType.UNDEFINED:
            return Answer(verdict="unknown", reason="its type is not known")
        typed = self._takes_type(dtype)
        if typed.verdict != "yes":
            return typed
        if value.shape is not None and len(value.shape) > _MAX_RANK:
            return self._refused(
                f"it has rank {len(value.shape)}, and {self.title} takes {_MAX_RANK} at most",
                "Dims::MAX_DIMS in NVIDIA's NvInferRuntimeBase.h",
            )
        return typed

    def takes(self, node: ir.Node) -> Answer:
        """Return whether it takes a node: its operator, types, attributes and which are constant.

        Bodies of control flow are not looked into.
        """
        if node.domain not in STANDARD_DOMAINS:
            flag = "--staticPlugins" if self.release >= (8, 6) else "--plugins"
            return Answer(
                verdict="unknown",
                reason=f"{node.domain}::{node.op_type} is none of ONNX's own operators: the parser"
                " takes it for its own operator or for the plugin of that name, if there is one",
                source="FallbackPluginImporter in onnx-tensorrt's importers",
                mend=f"Register the plugin: trtexec {flag}=LIBRARY.so; or write it with ONNX's own"
                " operators.",
            )
        answers = [self._takes_operator(node.op_type)]
        if answers[0].verdict != "no":
            answers += self._takes_version(node)
            answers += self._takes_types(node)
            opset = _opset(node) or self._highest_opset()[0]
            asked = Asked(
                node=node, release=self.release, opset=opset, rtx=self._plugins is not None
            )
            answers += restrictions(asked)
        return worst(answers)

    def _takes_operator(self, op_type: str) -> Answer:
        for said in _table("plugins").get(op_type, ()):
            if self._plugins is not None and said.is_about(self._plugins):
                reason = f"{op_type} takes a plugin, and TensorRT-RTX brings none"
                return Answer(verdict="no", reason=reason, source=said.source)
        for said in _table("operators").get(op_type, ()):
            if said.is_about(self.release):
                reason = "" if said.verdict == "yes" else f"{self.title} has no {op_type}"
                mend = (
                    "" if said.verdict == "yes" else _elsewhere(op_type, self._highest_opset()[0])
                )
                return Answer(verdict=said.verdict, reason=reason, source=said.source, mend=mend)
        return Answer(
            verdict="unknown",
            reason=f"no source says whether {self.title} has {op_type}",
            mend=_elsewhere(op_type, self._highest_opset()[0]),
        )

    def _takes_version(self, node: ir.Node) -> Iterator[Answer]:
        """Say so where an operator changed after the highest opset that is documented."""
        highest, source = self._highest_opset()
        opset = _opset(node)
        now = None if opset is None or opset <= highest else signature(node.op_type, opset)
        if now is not None and now.since > highest and not _reads_alike(node.op_type, highest, now):
            yield Answer(
                verdict="unknown",
                reason=f"{node.op_type} changed in opset {now.since}, and {self.title} is"
                f" documented up to {highest}",
                source=source,
                mend=f"--opset {highest}",
            )

    def _takes_types(self, node: ir.Node) -> Iterator[Answer]:
        values = [one for one in (*node.inputs, *node.outputs) if one is not None and one.name]
        dtypes = dict.fromkeys(one.dtype for one in values if one.dtype is not None)
        if node.op_type == "Cast":
            dtypes[ir.DataType(integer(node, "to", ir.DataType.UNDEFINED))] = None
        for dtype in dtypes:
            answer = self._takes_type(dtype)
            if answer.verdict != "yes":
                yield answer
        main = given(node, {"Where": 1, "OneHot": 2}.get(node.op_type, 0))
        if main is not None and main.dtype is not None:
            yield from self._computes(node.op_type, main)

    def _computes(self, op_type: str, value: ir.Value) -> Iterator[Answer]:
        """Say what keeps an operator from computing with a value for its type."""
        assert value.dtype is not None
        name = value.dtype.name
        mend = "Cast it to float32 before."
        for said in _table("limits").get(op_type, ()):
            if said.is_about(self.release) and name in said.types:
                reason = f"it computes with {name.lower()}"
                yield Answer(verdict=said.verdict, reason=reason, source=said.source, mend=mend)
        bytes_ = _document()["uint8"]
        if name == "UINT8" and op_type not in bytes_["names"].split() and not is_static(value):
            yield self._refused("it computes with uint8", bytes_["source"], mend)

    def _takes_type(self, dtype: ir.DataType) -> Answer:
        """Return whether values may have a type at all."""
        for said in _table("types").get(dtype.name, ()):
            if said.is_about(self.release):
                return Answer(verdict="yes", source=said.source)
        return self._refused(
            f"{self.title} has no {dtype.name.lower()}",
            "convertDtype in onnx-tensorrt's importer, and its docs/Changelog.md",
            "Cast it to float32, int32 or bool before.",
        )

    def _highest_opset(self) -> tuple[int, str]:
        row = [one for one in _document()["opset"] if numbers(one["release"]) <= self.release][-1]
        return row["highest"], row["source"]

    @staticmethod
    def _refused(reason: str, source: str, mend: str = "") -> Answer:
        return Answer(verdict="no", reason=reason, source=source, mend=mend)


def _elsewhere(op_type: str, highest: int) -> str:
    """Say how to do without an operator: at an opset before it, its parts stand for it."""
    since = _began(op_type)
    if since is None or since <= _OLDEST or not _has_parts(op_type, since):
        return "Write it with other operators."
    return f"--opset {min(since - 1, highest)}, where other operators stand for it"


def _has_parts(op_type: str, since: int) -> bool:
    schema: Any = defs.get_schema(op_type, since)  # its stubs lack functions
    has_body: bool = schema.has_function or schema.has_context_dependent_function
    return has_body or op_type == "Trilu"


def _reads_alike(op_type: str, opset: int, now: Signature) -> bool:
    """Return whether an operator is the same at an opset but for the types that it takes."""
    then = signature(op_type, opset)
    return (
        then is not None
        and op_type not in _CHANGED_WITHIN
        and (
            (then.attributes, then.max_input, then.max_output)
            == (now.attributes, now.max_input, now.max_output)
        )
    )


@functools.cache
def _began(op_type: str) -> int | None:
    """Return the first opset that has an operator."""
    return next((opset for opset in range(1, 40) if signature(op_type, opset)), None)


def _opset(node: ir.Node) -> int | None:
    """Return the opset of a node's operator; None in bodies of control flow, which do not say."""
    imports = {} if node.graph is None else node.graph.opset_imports
    return node.version or next((imports[one] for one in STANDARD_DOMAINS if one in imports), None)
