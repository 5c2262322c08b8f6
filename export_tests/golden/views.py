"""What of a command's result is the same on every run, and how two such views differ.

- *literal*: all but what time, this machine or a library's version decides. A long list shows its
  first items, and sums over the rest.
- *shape*: of measurements, the tree of keys with types; lists are merged into one item.
"""

from __future__ import annotations

import difflib
import html
import json
import platform
import re
import struct
from importlib import metadata
from pathlib import Path

import onnx

LIBRARIES = (
    "edgeattn", "torch", "timm", "torchvision", "onnx", "onnx-ir", "onnxscript", "onnxsim",
    "onnxruntime", "numpy",
)  # fmt: skip
VERSIONS = (
    *map(metadata.version, LIBRARIES),
    *(one.version for one in metadata.distributions(name="tensorrt-rtx")),
    platform.python_version(),
)
PLACEHOLDERS = {
    re.compile(r"\b([0-9a-f]{64}|0x[0-9a-f]{8,}|[0-9a-f]{12})\b"): "HASH",
    re.compile(r"/\S*/edgeattn-\w{8}(?=/)"): "TEMPORARY",
    re.compile(r"(?<=_token_)\d+"): "NUMBER",  # ONNX Runtime counts them over a process's life
    re.compile(r"(?<=max_abs )[\d.e+-]+|(?<=max_rel )[\d.e+-]+|(?<=SQNR )[\d.]+"): "NUMBER",
    re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, VERSIONS))})(?![\w.])"): "VERSION",
}
# Numbers that differ from run to run or from processor to processor.
NUMBERS = {
    "seconds", "size_bytes", "max_abs", "max_rel", "sqnr_db", "cosine", "rounding_floor_db",
}  # fmt: skip
TEXTS = {"versions", "runtime_version"}
# What a measurement leaves as it is.
KEPT = {
    "artifact", "schema_version", "evidence", "runtime", "variant", "device", "model", "command",
    "kind", "status", "precision", "attention", "path", "shape", "op_type", "replaced",
    "params", "macs", "element_ops", "traffic_bytes", "launches",
}  # fmt: skip
LONG = 2000  # characters of a list of which no more than the first items are shown
SHOWN = 2


def read(path, view):
    """Shows a file that was written: JSON by a view, others by what is the same on every run."""
    readers = {
        ".json": lambda: view(json.loads(path.read_text(encoding="utf-8"))),
        ".onnx": lambda: model(onnx.load(path)),
        ".html": lambda: page(path.read_text(encoding="utf-8")),
        ".svg": lambda: re.search(r'viewBox="[^"]*"', path.read_text(encoding="utf-8"))[0],
        ".png": lambda: list(struct.unpack(">II", path.read_bytes()[16:24])),
    }
    otherwise = "not empty" if path.stat().st_size else "empty"
    return view(path) if view is hidden else readers.get(path.suffix, lambda: otherwise)()


def shortened(label, found, known):
    """Shows a document by its difference from one that was shown before, where there is one."""
    if not isinstance(found, dict):
        return found
    others = {name: differing(found, one) for name, one in known.items() if [*one] == [*found]}
    known[label] = found
    if not others:
        return {
            name: shortened(f"{label}: {name}", one, known)
            if name in ("manifest", "trace", "against")
            else one
            for name, one in found.items()
        }
    near = min(others, key=lambda name: len(pretty(others[name])))
    return {"as": near, "but": others[near]}


def differing(found, other):
    """Shows of nested dictionaries and lists what differs from another of the same keys."""
    if isinstance(found, list) and isinstance(other, list) and len(found) == len(other):
        if not all(isinstance(one, dict) for one in found + other):
            return found
        found, other = (
            {f"[{place}]": item for place, item in enumerate(one)} for one in (found, other)
        )
    if isinstance(found, dict) and isinstance(other, dict) and [*found] == [*other]:
        changed = (name for name in found if found[name] != other[name])
        return {name: differing(found[name], other[name]) for name in changed}
    return found


def literal(value, *, long=LONG):
    """Shows a document as it is, but for what is volatile."""
    if isinstance(value, dict):
        return {literal(name): _volatile(name, one, long) for name, one in value.items()}
    if isinstance(value, list):
        items = [literal(one, long=long) for one in value]
        if len(items) > SHOWN + 1 and len(json.dumps(items)) > long:
            return [*items[:SHOWN], {f"and {len(items) - SHOWN} more": _sums(value[SHOWN:])}]
        return items
    if isinstance(value, float):
        return float(f"{value:.9g}")  # sums may be taken in another order
    if isinstance(value, str):
        value = value.replace(f"{Path.cwd()}/", "")
        for pattern, placeholder in PLACEHOLDERS.items():
            value = pattern.sub(placeholder, value)
    return value


def whole(value):
    """Shows a document as `literal` does, with long lists."""
    return literal(value, long=float("inf"))


def shape(value, name=""):
    """Shows the tree of a document's keys, with the types of its values."""
    if isinstance(value, dict):
        texts = name in TEXTS
        return {literal(key): shape(one, name if texts else key) for key, one in value.items()}
    if name in ("notes", "warnings"):
        return "texts"
    if isinstance(value, list) and name not in KEPT:
        return [_merged([shape(one) for one in value])]
    if name in KEPT or value is None or isinstance(value, bool):
        return literal(value)
    return "text" if isinstance(value, str) else "number"


def hidden(_value):
    """Shows nothing: of what only prepares a folder for other commands."""
    return "not compared here"


def doctor(value):
    """Shows what doctor found, but for what is not needed, which a machine has or has not."""
    checks = [
        {
            name: said
            if name in ("name", "title", "needed") or (name == "state" and one["needed"])
            else "text"
            for name, said in one.items()
        }
        for one in value["checks"]
    ]
    return {**shape(value), "checks": checks}


def model(proto):
    """Shows an ONNX model: all but its weights' values."""
    graph = proto.graph
    kind = onnx.TensorProto.DataType.Name
    return {
        "opset": {one.domain: one.version for one in proto.opset_import},
        "ir_version": proto.ir_version,
        "producer": [proto.producer_name, literal(proto.producer_version)],
        "metadata": literal({one.key: one.value for one in proto.metadata_props}),
        "graph": graph.name,
        "values": [
            f"{one.name}: {kind(one.type.tensor_type.elem_type).lower()}"
            f" {[dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]}"
            for one in (*graph.input, *graph.output)
        ],
        "functions": [one.name for one in proto.functions],
        "nodes": [
            f"{one.name}: {one.domain}{one.op_type}({', '.join(one.input)}) ->"
            f" {', '.join(one.output)}" + "".join(f" [{prop.key}]" for prop in one.metadata_props)
            for one in graph.node
        ],
        "weights": [
            f"{one.name}: {kind(one.data_type).lower()} {list(one.dims)}"
            for one in graph.initializer
        ],
    }


def page(text):
    """Shows the words of a page, a line for each row, paragraph or heading."""
    text = re.sub(r"<(style|script|svg)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"</t[hd]>", " | ", re.sub(r"</dt>", ": ", text))
    text = re.sub(r"</(tr|p|li|h\d|dd|title|figcaption|summary)>", "\n", text)
    lines = html.unescape(re.sub(r"<[^>]*>", "", text)).splitlines()
    return [literal(re.sub(r"\s+", " ", line).strip()) for line in lines if line.strip()]


def pretty(value, indent=0):
    """Writes JSON for people: what fits a line stands in one."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) + indent <= 100 or not isinstance(value, (dict, list)) or not value:
        return text
    pad = "\n" + " " * (indent + 1)
    if isinstance(value, dict):
        ends = "{}"
        items = [f"{json.dumps(k)}: {pretty(v, indent + 1)}" for k, v in value.items()]
    else:
        ends = "[]"
        items = [pretty(one, indent + 1) for one in value]
    return f"{ends[0]}{pad}{f',{pad}'.join(items)}\n{' ' * indent}{ends[1]}"


def compare(path: Path, found, *, update):
    """Gives the difference from a golden document, empty where there is none."""
    text = pretty(found) + "\n"
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8") if path.is_file() else ""
    place = "/".join(path.parts[-2:])
    lines = list(
        difflib.unified_diff(
            golden.splitlines(), text.splitlines(), f"golden {place}", f"found {place}", n=2,
            lineterm="",
        )
    )  # fmt: skip
    return "\n".join([*lines[:80], *(["..."] if len(lines) > 80 else [])])


def _volatile(name, value, long):
    if name in NUMBERS or name in TEXTS:
        what = "number" if name in NUMBERS else "text"
        return dict.fromkeys(value, what) if isinstance(value, dict) else what
    return literal(value, long=long)


def _sums(items):
    """Sums up what is not shown: numbers by their sum, texts by how many, lists by length."""
    if not all(isinstance(one, dict) for one in items):
        return len(items)
    found = {}
    for name in dict.fromkeys(name for one in items for name in one):
        values = [one[name] for one in items if one.get(name) is not None]
        if name in NUMBERS:
            found[name] = "number"
        elif all(isinstance(one, (int, float)) for one in values):
            found[name] = literal(float(sum(values)))
        elif all(isinstance(one, str) for one in values):
            found[name] = f"{len(set(values))} different"
        else:
            found[name] = f"{sum(map(len, values))} items"
    return found


def _merged(shapes):
    """Merges the shapes of a list's items."""
    dicts = [one for one in shapes if isinstance(one, dict)]
    if dicts:
        names = dict.fromkeys(name for one in dicts for name in one)
        found = {name: _merged([one[name] for one in dicts if name in one]) for name in names}
        return {**found, "or": "null"} if len(dicts) < len(shapes) else found
    if shapes and all(isinstance(one, list) for one in shapes):
        return [_merged([item for one in shapes for item in one])]
    return "|".join(sorted({part for one in shapes for part in str(one).split("|")}))
