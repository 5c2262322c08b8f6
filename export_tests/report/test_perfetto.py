"""Traces for Perfetto keep the rules of the Trace Event Format."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from edgeattn.report.perfetto import trace_events
from export_tests.report.traces import HOSTILE, kernel, plain, report, trace

# What each kind of metadata says.
ARGUMENTS = {
    "process_name": "name",
    "process_labels": "labels",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}


def events(*traces, phase="X"):
    return [one for one in trace_events(report(*traces))["traceEvents"] if one["ph"] == phase]


def by_thread(found):
    threads = defaultdict(list)
    for one in found:
        threads[one["pid"], one["tid"]].append(one)
    return threads


def names(*traces):
    found = events(*traces, phase="M")
    return {one["tid"]: one["args"]["name"] for one in found if one["name"] == "thread_name"}


def odd_times():
    """Kernels of thirds of a nanosecond, on two streams."""
    known = trace()
    return trace(
        kernels=tuple(
            one.model_copy(update={"time_us": one.time_us / 3 + 1e-4, "stream": at % 2})
            for at, one in enumerate(known.kernels)
        )
    )


@pytest.mark.parametrize("made", [trace(), odd_times(), trace(HOSTILE), trace(predicted=True)])
def test_every_event_has_what_its_phase_needs(made):
    document = json.loads(json.dumps(trace_events(report(plain(), made)), allow_nan=False))
    assert document["displayTimeUnit"] in ("ms", "ns")
    for one in document["traceEvents"]:
        assert one["ph"] in ("X", "M")
        assert isinstance(one["pid"], int)
        assert isinstance(one["tid"], int)
        assert one["ts"] >= 0
        if one["ph"] == "X":
            assert one["dur"] >= 0
            assert one["name"]
        else:
            assert list(one["args"]) == [ARGUMENTS[one["name"]]]


@pytest.mark.parametrize("made", [trace(), odd_times()])
def test_slices_of_a_thread_nest(made):
    for slices in by_thread(events(made)).values():
        open_until = []
        for one in slices:
            start, end = round(1e3 * one["ts"]), round(1e3 * (one["ts"] + one["dur"]))
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


def test_threads_belong_to_one_process():
    homes = defaultdict(set)
    for one in events(plain(), odd_times(), trace()):
        homes[one["tid"]].add(one["pid"])
    assert all(len(of) == 1 for of in homes.values())


def test_processes_are_named_after_models_and_say_how_figures_were_got():
    found = events(plain(), trace(predicted=True), phase="M")
    said = [one["args"]["name"] for one in found if one["name"] == "process_name"]
    assert said == ["net plain (measured on A Device)", "net-simam (predicted on A Device)"]


def test_a_plan_for_another_device_says_so():
    machine = trace().machine.model_copy(update={"not_for": "built for sm_86"})
    found = events(trace(machine=machine), phase="M")
    (labels,) = [one["args"]["labels"] for one in found if one["name"] == "process_labels"]
    assert "built for sm_86" in labels


def test_kernels_are_laid_end_to_end_on_their_stream():
    threads = names(odd_times())
    kernels = [tid for tid, name in threads.items() if name.startswith("kernels")]
    assert len(kernels) == 2
    for (_, tid), slices in by_thread(events(odd_times())).items():
        if tid in kernels:
            ends = [0.0, *(one["ts"] + one["dur"] for one in slices[:-1])]
            assert [one["ts"] for one in slices] == pytest.approx(ends, abs=1e-3)


def test_a_kernel_says_whose_it_is():
    one = next(one for one in events(trace()) if one["name"] == "k-layer1-copy")
    assert one["dur"] == 5
    assert one["args"]["owner"] == "layer1.0.attention"
    assert one["args"]["site"] == "layer1.0.attention"
    assert one["args"]["status"] == "owned"
    assert one["args"]["cause"] == "k-layer1-gate"
    assert one["args"]["bytes"] == 100_000


def test_a_shared_kernel_says_between_whom():
    known = trace()
    both = kernel("both", "matmul", 9.0, ["layer1.0.conv/Conv", "layer2.0.conv/Conv"])
    one = next(
        one for one in events(trace(kernels=(*known.kernels, both))) if one["name"] == "both"
    )
    assert one["args"]["status"] == "shared"
    assert [share["part"] for share in one["args"]["shares"]] == [0.5, 0.5]


def test_modules_are_nested_as_their_paths_are():
    modules = [one for one in events(trace()) if one["cat"] == "module"]
    assert [one["name"] for one in modules][:5] == [
        "conv1", "layer1", "layer1.0", "layer1.0.conv", "layer1.0.attention",
    ]  # fmt: skip
    assert next(one["dur"] for one in modules if one["name"] == "layer1") == 155


def test_sites_are_a_track():
    sites = [one for one in events(trace()) if one["cat"] == "site"]
    assert [(one["name"], one["dur"]) for one in sites] == [
        ("layer1.0.attention", 55), ("layer2.0.attention", 55),
    ]  # fmt: skip
