"""Errors of the libraries, in their own words, with what to do about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.base.worker import DeathError
from edgeattn.engine.libraries import Library
from edgeattn.engine.log import Log
from edgeattn.graph.names import module_of

_NO_MEMORY: Final = (
    "outofmemory",
    "out of memory",
    "insufficient memory",
    "insufficient workspace",
)

# What names of operators of quantised files hold.
_QUANTISED: Final = ("QuantizeLinear", "QLinear", "Integer", "QGemm")
_QUANTISE_AGAIN: Final = (
    "It takes int8 as pairs of QuantizeLinear and DequantizeLinear around float layers. Give the"
    " float32 file: edgeattn build FLOAT.onnx --precision int8 --calibration FOLDER\n"
    "Or quantise that again with onnxruntime.quantization's QuantFormat.QDQ, QInt8, and"
    " ActivationSymmetric."
)

# How the parser says that it begins with a node.
_PARSING: Final = re.compile(r"Parsing node: (?P<name>.*) \[(?P<op>\w+)\]", re.DOTALL)
# How TensorRT-RTX names what it lacks for compute capability 7.5.
_TURING: Final = "for Turing (SM75)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a parser does not take of a model.

    Attributes:
        node: The node's name; "" where it is not said, or the model as a whole is refused.
        op_type: Its operator; likewise.
        reason: The parser's words.
    """

    node: str
    op_type: str
    reason: str


def refusals_of(parser: Any, log: Log) -> tuple[Refusal, ...]:
    """Return what a parser refused, one at least.

    Args:
        parser: The parser that refused.
        log: The messages meanwhile.
    """
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = []
    for error in errors:
        op_type = _asked(error, "node_operator")
        name = _asked(error, "node_name") or (f"node {error.node()}" if op_type else "")
        reason = " ".join(error.desc().split())
        found.append(Refusal(node=name, op_type=op_type, reason=reason))
    said = log.errors or ["it gave no reason"]
    return tuple(found or (Refusal(node="", op_type="", reason=one) for one in said))


def refused(parser: Any, library: Library, log: Log) -> InputError:
    """Return an error that says which nodes a parser does not take, why, and what to do.

    Args:
        parser: The parser that refused.
        library: Its library.
        log: The messages meanwhile.
    """
    found = refusals_of(parser, log)
    lines = [
        f"  {f'{one.node} ({one.op_type}): ' if one.op_type else ''}{one.reason}" for one in found
    ]
    modules = [module_of(one.node) for one in found if module_of(one.node)]
    operators = {one.op_type for one in found}
    return InputError(
        "\n".join([f"{library.title} does not take this model:", *lines]),
        mend=_mend(modules, operators, log),
    )


def failed(library: Library, log: Log) -> InputError:
    """Return an error that says why a builder built no engine, and what to do.

    Args:
        library: The builder's library.
        log: What was said meanwhile.
    """
    if _lacks_memory(log):
        mend = "Give it more: --workspace MiB; or free some memory."
    elif any(_TURING in message for message in log.errors):
        mend = "Build it in half precision, which has it there: --precision fp16"
    else:
        mend = "The whole log is kept with --log FILE."
    return InputError(f"{library.title} builds no engine of this model: {reason(log)}", mend=mend)


def crashed(library: Library, log: Log, death: DeathError, *, is_build: bool) -> InputError:
    """Return an error that says where a library crashed, and what to try.

    Args:
        library: The library.
        log: What it said until then.
        death: How its process ended.
        is_build: Whether it built an engine, or else read one.
    """
    if death.by == "SIGKILL":  # not by the library: memory ran out, or somebody ended it
        return InputError(f"{library.title} did not end: {death.fact}", mend=death.mend)
    how = f"crashed ({death.by})" if death.by else f"ended ({death.fact})"
    if not is_build:
        return InputError(f"{library.title} {how} while it read this engine.")
    node = _parsing(log)
    where = "while it built the engine" if node is None else f"at {node[0]} ({node[1]})"
    told = f"\nIts last error: {log.errors[-1]}" if log.errors else ""
    modules = [module_of(node[0])] if node is not None and module_of(node[0]) else []
    return InputError(
        f"{library.title} {how} {where}: that is a fault of the library with this model.{told}",
        mend=_mend(modules, frozenset() if node is None else {node[1]}, log)
        + "\nOr at an older opset, where newer operators are written with others: --opset 17",
    )


def _parsing(log: Log) -> tuple[str, str] | None:
    """Return name and operator of the node that a parser was at; None if it was done with all."""
    begun = None
    for _, text in log.messages:
        if found := _PARSING.fullmatch(text):
            begun = found["name"], found["op"]
        elif begun is not None and text.startswith(f"{begun[0]} [{begun[1]}] outputs:"):
            begun = None
    return begun


def reason(log: Log) -> str:
    """Return the library's own words on what went wrong."""
    return "; ".join(log.errors) or "it gave no reason."


def _mend(modules: Sequence[str], operators: AbstractSet[str], log: Log) -> str:
    if _lacks_memory(log):
        return "Free some memory, or make the model smaller."
    if any(word in name for name in operators for word in _QUANTISED):
        return _QUANTISE_AGAIN
    advice = ["Try what lowering makes of the file: edgeattn optimize IN.onnx -o OUT.onnx"]
    if modules:
        named = ", ".join(dict.fromkeys(modules))
        advice.append(f"Or write {named} with other operators.")
    return "\n".join(advice)


def _lacks_memory(log: Log) -> bool:
    said = " ".join(log.errors).lower()
    return any(words in said for words in _NO_MEMORY)


def _asked(error: Any, name: str) -> str:
    """Return a detail of a parser's error; before TensorRT 10 there are fewer."""
    method = getattr(error, name, None)
    return str(method()) if method is not None else ""
