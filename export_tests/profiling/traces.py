"""Traces that tests make up: a node list, kernels, and the rest by default."""

from __future__ import annotations

import gzip
from pathlib import Path

from edgeattn.records.trace import EndToEnd, Kernel, Latency, Machine, Node, Site, Trace


def node(name, op_type, *, module=None, site="", macs=0, element_ops=0, traffic_bytes=100):
    return Node(
        name=name,
        op_type=op_type,
        module=name.rpartition("/")[0] if module is None else module,
        site=site,
        macs=macs,
        element_ops=element_ops,
        traffic_bytes=traffic_bytes,
    )


def kernel(name, nodes=(), *, kind="pointwise", time_us=1.0, traffic_bytes=100, **more):
    return Kernel(
        name=name,
        op=more.pop("op", kind),
        kind=kind,
        time_us=time_us,
        traffic_bytes=traffic_bytes,
        macs=more.pop("macs", 0),
        nodes=tuple(nodes),
        **more,
    )


def trace(kernels, nodes=(), sites=(), **more):
    total = sum(one.time_us for one in kernels)
    given = {
        "name": "model",
        "model": "model.onnx",
        "sha256": {},
        "evidence": "measured",
        "runtime": "onnxruntime",
        "runtime_version": "1",
        "machine": Machine(device="this-machine", title="a machine", bandwidth_gbps=10.0),
        "latency_ms": Latency(p50=total / 1e3, samples=(total / 1e3,)),
        "end_to_end": EndToEnd(latency_us=total),
        "kernels": tuple(kernels),
        "nodes": tuple(nodes),
        "sites": tuple(
            one if isinstance(one, Site) else Site(path=one, attention="se", params=0)
            for one in sites
        ),
    }
    return Trace(**(given | more))


def measured_folder(folder, name):
    """Writes layers.json and profile.json of a measured engine, as trtexec does."""
    home = Path(__file__).parents[1] / "engine" / "files"
    made = folder / name
    made.mkdir()
    for what in ("layers", "profile"):
        packed = (home / f"{name}.{what}.json.gz").read_bytes()
        (made / f"{what}.json").write_bytes(gzip.decompress(packed))
    return made
