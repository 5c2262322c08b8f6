"""Small traces: two stages of convolutions, and after each a site that FLOP counters do not see."""

from __future__ import annotations

from edgeattn.records.trace import (
    Difference,
    EndToEnd,
    Kernel,
    Latency,
    Machine,
    Node,
    SavedRow,
    Site,
    Trace,
)
from edgeattn.report.content import report_of

# What names must not be taken for: markup, scripts, formulas.
HOSTILE = (
    "</script><script>alert(1)</script>\"' onclick=alert(2) $x^2$ &amp; <!-- ]]>"
    " \x1b[2J\x00\u202e\udc80"
)


def node(name, op, *, site="", macs=0, ops=0):
    return Node(
        name=name,
        op_type=op,
        module=name.rpartition("/")[0],
        site=site,
        macs=macs,
        element_ops=ops,
        traffic_bytes=1000,
    )


def kernel(name, kind, time_us, nodes, *, macs=0, traffic=100_000, **more):
    return Kernel(
        name=name, op=kind.title(), kind=kind, time_us=time_us, traffic_bytes=traffic, macs=macs,
        nodes=tuple(nodes), **more,
    )  # fmt: skip


def trace(name="net-simam", *, attended=True, predicted=False, site="attention", **changes):
    """A trace of a net: `conv1`, and two stages with a site each where it is `attended`.

    Kernels take 100 µs and 10⁶ MACs in a convolution, 20 µs in a reduction, 30 µs in a gate, and
    5 µs in a copy that the gate wants: of 410 µs, the sites have 110 and no MACs.
    """
    nodes = [node("conv1/Conv", "Conv", macs=10**6)]
    kernels = [kernel("k-conv1", "matmul", 100.0, ["conv1/Conv"], macs=10**6)]
    sites = []
    for stage in ("layer1", "layer2"):
        conv, path = f"{stage}.0.conv/Conv", f"{stage}.0.{site}"
        nodes.append(node(conv, "Conv", macs=10**6))
        kernels.append(kernel(f"k-{stage}", "matmul", 100.0, [conv], macs=10**6))
        if not attended:
            continue
        mean, gate = f"{path}/ReduceMean", f"{path}/Mul"
        nodes += [
            node(mean, "ReduceMean", site=path, ops=4000),
            node(gate, "Mul", site=path, ops=8000),
        ]
        kernels += [
            kernel(f"k-{stage}-mean", "reduction", 20.0, [mean], outputs=(f"{stage}-mean",)),
            kernel(f"k-{stage}-copy", "shuffle", 5.0, [], causes=(f"k-{stage}-gate",)),
            kernel(f"k-{stage}-gate", "pointwise", 30.0, [gate], inputs=(f"{stage}-mean",)),
        ]
        sites.append(Site(path=path, attention="simam", shape=(64, 8, 8), params=0))
    total_ms = sum(one.time_us for one in kernels) / 1e3
    samples = () if predicted else tuple(total_ms + 0.001 * (at % 7) for at in range(60))
    made = {
        "name": name,
        "model": f"{name}.onnx",
        "sha256": {f"{name}.onnx": "0f" * 32},
        "evidence": "predicted" if predicted else "measured",
        "runtime": "tensorrt" if predicted else "onnxruntime",
        "runtime_version": "1.2",
        "machine": Machine(
            device="a-device", title="A Device", bandwidth_gbps=50.0, peak_tflops=1.5,
            facts={"clock": "1000 MHz"},
        ),
        "latency_ms": Latency(p50=total_ms) if predicted else Latency(
            p50=total_ms, p90=1.1 * total_ms, p99=1.2 * total_ms, mean=total_ms, min=total_ms,
            max=1.2 * total_ms, cv=0.02, samples=samples,
        ),
        "interval_ms": (0.8 * total_ms, 1.2 * total_ms) if predicted else None,
        "end_to_end": EndToEnd(latency_us=1e3 * total_ms + 20),
        "kernels": tuple(
            one.model_copy(update={"interval_us": (0.8 * one.time_us, 1.2 * one.time_us),
                                   "bound": "traffic"} if predicted else {})
            for one in kernels
        ),
        "nodes": tuple(nodes),
        "sites": tuple(sites),
        "params": 25_000,
        "versions": {"edgeattn": "0.1.0"},
        "command": f"edgeattn profile {name}.onnx",
    }  # fmt: skip
    return Trace.model_validate(made | changes)


def above(percent, *, interval=3.0, p50_ms=0.1):
    """A difference."""
    ci95 = None if interval is None else (percent - interval, percent + interval)
    return Difference(p50_ms=p50_ms, percent=percent, ci95=ci95, rounds=30)


def report(*traces, **how):
    """A report of traces; each after the first takes a third more than it."""
    traces = traces or (trace(),)
    rows = [
        SavedRow(
            trace=one,
            difference=above(33.0, interval=3.0 if one.evidence == "measured" else None)
            if at
            else None,
        )
        for at, one in enumerate(traces)
    ]
    return report_of(rows, **how)


def plain(**changes):
    """The same net without sites."""
    return trace("net", attended=False, variant="plain", **changes)
