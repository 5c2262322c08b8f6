"""trtexec's files of anybody's run: real ones of TensorRT 8, all versions' forms, and bad ones."""

from __future__ import annotations

import gzip
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgeattn.base.errors import InputError
from edgeattn.engine.plan import plan
from edgeattn.profiling.samples import engine_warnings, latency
from edgeattn.profiling.sources.engines.layer_times import join
from edgeattn.profiling.sources.model import read_subject
from edgeattn.profiling.sources.trtexec.files import Entry, Listed, read_profile, read_times
from edgeattn.profiling.sources.trtexec.run import read_trtexec
from edgeattn.records.layers import LayerInformation
from export_tests.engine.nets import small
from export_tests.profiling.sources.engines.test_kernels import engine, layer

FILES = Path(__file__).parents[3] / "engine" / "files"
NAMES = (
    "a100-80g-pcie_resnet18_b32_fp16",
    "a100-80g-pcie_resnet18_b32_tf32",
    "rtx3090_resnet50_b32_fp16",
    "titan-rtx_mobilenetv2-residuals_b1_int8",
)


def real(folder, name, *what):
    """Unpacks files of a real engine."""
    paths = [folder / f"{one}.json" for one in what]
    for one, path in zip(what, paths, strict=True):
        path.write_bytes(gzip.decompress((FILES / f"{name}.{one}.json.gz").read_bytes()))
    return paths


def written(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def runs(computes, *, enqueue=0.02, start=210.0, **more):
    """Times as TensorRT 8.5 and later write them."""
    found = []
    for compute in computes:
        found.append({
            "startEnqMs": start, "endEnqMs": start + enqueue,
            "startH2dMs": start, "endH2dMs": start,
            "startComputeMs": start, "endComputeMs": start + compute,
            "startD2hMs": start + compute, "endD2hMs": start + compute,
            "h2dMs": 0, "computeMs": compute, "d2hMs": 0, "latencyMs": compute, **more,
        })  # fmt: skip
        start += compute + 0.01
    return found


@pytest.mark.parametrize("name", NAMES)
def test_real_files(tmp_path, name):
    layers, profile = real(tmp_path, name, "layers", "profile")
    found = read_trtexec(layers, profile)
    rows = json.loads(profile.read_text())[1:]
    # Another way: the names are all different here.
    by_name = {row["name"]: 1e3 * row["medianMs"] for row in rows}
    assert len(by_name) == len(rows)
    kernels = found.kernels
    assert [k.time_us for k in kernels] == [by_name[k.name] for k in kernels]
    # What is left out took no time.
    total_us = sum(by_name.values())
    assert sum(kernel.time_us for kernel in kernels) == pytest.approx(total_us)
    assert found.latency.p50 == pytest.approx(total_us / 1e3)
    assert not found.latency.samples
    assert any("sum of the profile" in note for note in found.notes)
    assert not any(kernel.op == "NoOp" for kernel in kernels)
    of_kernels = {name for kernel in kernels for name in kernel.nodes}
    assert of_kernels - {node.name for node in found.known.nodes} == {
        name for name in of_kernels if name.endswith((".weight", ".bias"))
    }


def test_times_are_the_latency(tmp_path):
    layers, profile = real(tmp_path, NAMES[0], "layers", "profile")
    computes = [0.86, 0.87, 0.85, 0.88] * 10
    times = written(tmp_path / "times.json", runs(computes, enqueue=0.03))
    found = read_trtexec(layers, profile, times)
    assert found.latency == latency(computes)
    assert found.end_to_end.latency_us == 1e3 * statistics.median(computes)
    assert found.end_to_end.enqueue_us == pytest.approx(30.0)
    assert found.end_to_end.streams == 1
    assert not found.warnings
    assert not any("sum of the profile" in note for note in found.notes)


def test_times_of_older_versions(tmp_path):
    path = tmp_path / "times.json"
    # TensorRT 7: other names for transfers, no enqueue, and the warm-up is among the runs.
    seven = [
        {
            "startInMs": at, "endInMs": at, "startComputeMs": at, "endComputeMs": at + 5,
            "startOutMs": at + 5, "endOutMs": at + 5, "inMs": 0, "computeMs": 5 + (at < 200),
            "outMs": 0, "latencyMs": 5, "endToEndMs": 5,
        }
        for at in range(0, 400, 5)
    ]  # fmt: skip
    found = read_times(written(path, seven))
    assert found.compute_ms == (5.0,) * 40
    assert (found.enqueue_us, found.left_out) == (None, 40)
    # Without a warm-up, all that there is counts.
    found = read_times(written(path, runs([1.0] * 20, start=0.0, endToEndMs=1.0)))
    assert (len(found.compute_ms), found.left_out) == (20, 0)
    assert read_times(written(path, "\ufeff" + json.dumps(runs([2.0])))).compute_ms == (2.0,)


def test_what_was_left_out_is_told(tmp_path):
    layers, profile = real(tmp_path, NAMES[0], "layers", "profile")
    times = written(tmp_path / "times.json", runs([1.0] * 400, start=0.0))
    found = read_trtexec(layers, profile, times)
    assert any("runs of trtexec's warm-up are left out" in note for note in found.notes)
    assert len(found.latency.samples) < 400


def test_warnings():
    steady = latency([1.0] * 20)
    assert engine_warnings(steady, 700.0) == []
    assert engine_warnings(steady, None) == []
    (host,) = engine_warnings(steady, 801.0)
    assert "801 µs" in host
    (varied,) = engine_warnings(latency([1.0] * 10 + [1.1] * 10), None)
    assert "coefficient of variation is 4.8%" in varied


def entries(*pairs):
    return [Entry(name=name, time_us=time_us) for name, time_us in pairs]


def listed(*kernels, rows=None):
    return Listed(information=engine(*kernels), rows=rows)


def test_by_position_where_a_name_is_an_idle_layers_too():
    rows = (("a", "NoOp"), ("a", "kgen"), ("b", "kgen"))
    found = join(listed(layer("a"), layer("b"), rows=rows), entries(("a", 0), ("a", 5), ("b", 2)))
    assert found.times_us == (5, 2)
    assert found.others == ()


def test_by_name_where_the_profile_leaves_idle_layers_out():
    rows = (("n", "NoOp"), ("a", "kgen"), ("b", "kgen"))
    found = join(listed(layer("a"), layer("b"), rows=rows), entries(("b", 2), ("a", 5)))
    assert found.times_us == (5, 2)


def test_synchronisation_that_took_time_stays_in_the_sum():
    rows = (("a", "kgen"), ("wait_1", "wait"))
    one = listed(layer("a"), rows=rows)
    assert join(one, entries(("a", 5), ("wait_1", 3))).others == (("wait_1", "wait", 3),)
    # A build log, and a manifest, leave out what is no work.
    assert join(listed(layer("a")), entries(("a", 5), ("w", 3))).others == (("w", "", 3),)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_a_profile_does_not_matter(times, random):
    kernels = [layer(f"k{place}") for place in range(len(times))]
    rows = tuple((kernel.name, kernel.kind) for kernel in kernels)
    given_order = entries(*((k.name, t) for k, t in zip(kernels, times, strict=True)))
    shuffled = random.sample(given_order, len(given_order))
    for one in (listed(*kernels, rows=rows), listed(*kernels)):
        assert join(one, given_order).times_us == tuple(times)
        assert join(one, shuffled) == join(one, given_order)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e4)), min_size=1, max_size=20))
def test_names_that_repeat_are_taken_in_their_order(pairs):
    found = join(listed(*(layer(name) for name, _ in pairs)), entries(*pairs))
    assert found.times_us == tuple(time_us for _, time_us in pairs)
    assert found.others == ()


def test_the_optimisation_profile_is_the_one_that_was_run():
    kernels = [
        layer("conv"),
        layer("relu_myl0_1"),
        replace(layer("conv"), profile=1),
        replace(layer("relu_myl1_1"), profile=1),
    ]
    rows = tuple((kernel.name, kernel.kind) for kernel in kernels)
    one = listed(*kernels, rows=rows)
    first = join(one, entries(("conv", 1), ("relu_myl0_1", 2)))
    assert {kernel.profile for kernel in first.information.kernels} == {0}
    second = join(one, entries(("conv [profile 1]", 3), ("relu_myl1_1", 4)))
    assert {kernel.profile for kernel in second.information.kernels} == {1}
    assert second.times_us == (3, 4)
    # Where all names are the same, what stands behind them tells.
    same = [layer("conv"), replace(layer("conv"), profile=1)]
    for name, profile in (("conv", 0), ("conv [profile 1]", 1)):
        (kernel,) = join(listed(*same), entries((name, 3))).information.kernels
        assert kernel.profile == profile


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("a", 1), ("x", 1)], "1 of 3 match, and the first that does not is 'b'"),
        ([("x", 1)], "0 of 3 match, and the first that does not is 'a'"),
        ([("a", 1), ("b", 1), ("c", 1), ("d", 1)], "all 3 match, and there is 'd' besides"),
    ],
)
def test_a_profile_of_another_engine_is_refused(pairs, said):
    rows = (("a", "kgen"), ("b", "kgen"), ("c", "kgen"))
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        join(listed(layer("a"), layer("b"), layer("c"), rows=rows), entries(*pairs))
    assert "--exportProfile" in caught.value.mend


def test_files_of_two_engines_are_refused(tmp_path):
    (layers,) = real(tmp_path, NAMES[0], "layers")
    (profile,) = real(tmp_path, NAMES[2], "profile")
    with pytest.raises(InputError, match="0 of 25 match"):
        read_trtexec(layers, profile)


def test_the_median_is_taken_where_there_is_one(tmp_path):
    path = tmp_path / "profile.json"
    head = {"count": 4}
    row = {"name": "a", "timeMs": 8.0, "averageMs": 2.0, "medianMs": 1.5, "percentage": 100.0}
    assert read_profile(written(path, [head, row]))[0].time_us == 1500
    del row["medianMs"]
    assert read_profile(written(path, [head, row]))[0].time_us == 2000
    del row["averageMs"]
    assert read_profile(written(path, [head, row]))[0].time_us == 2000
    # TensorRT separates fused names by U+001E, and trtexec writes it as it is.
    text = '[ {"count": 1}, {"name": "a\x1eb", "averageMs": 1, "medianMs": 0} ]'
    assert read_profile(written(path, text)) == tuple(entries(("a\x1eb", 0.0)))


def profile_of(*rows):
    return [{"count": 1}, *rows]


ROW = {"name": "a", "timeMs": 1.0, "averageMs": 1.0, "medianMs": 1.0, "percentage": 100.0}


@pytest.mark.parametrize(
    ("what", "document", "said"),
    [
        ("profile", "[ {", "no JSON, or not all of it"),
        ("profile", json.dumps(profile_of(ROW))[:-9], "no JSON, or not all of it"),
        ("profile", runs([1.0]), "what trtexec --exportTimes writes, and is given as --profile"),
        ("profile", {"Layers": []}, "--exportLayerInfo writes, and is given as --profile"),
        ("profile", {"a": 1}, "nothing that trtexec writes, and is given as --profile"),
        ("profile", [], "nothing that trtexec writes"),
        ("profile", [1], "nothing that trtexec writes"),
        ("profile", profile_of(), "lists no layer"),
        ("profile", profile_of({**ROW, "name": None}), "entry 0.name"),
        ("profile", profile_of({"name": "a"}), "does not say what 'a' takes"),
        ("profile", profile_of({**ROW, "medianMs": "1"}), "entry 0.medianMs"),
        ("profile", profile_of({**ROW, "medianMs": -1.0}), "entry 0.medianMs"),
        ("profile", '[{"count": 1}, {"name": "a", "medianMs": NaN}]', "entry 0.medianMs"),
        ("times", profile_of(ROW), "what trtexec --exportProfile writes, and is given as --times"),
        ("times", [{"computeMs": 1.0}, {"latencyMs": 1.0}], "entry 1.computeMs"),
        ("times", runs([0.0, 0.0]), "has no run that took any time"),
        ("times", "", "no JSON"),
        (
            "layers",
            profile_of(ROW),
            "what trtexec --exportProfile writes, and is given as --layers",
        ),
        ("layers", runs([1.0]), "what trtexec --exportTimes writes, and is given as --layers"),
        ("layers", [1], "holds no layer information"),
        ("layers", {"Layers": ["a"], "Bindings": []}, "names of layers alone"),
        ("layers", '{"Layers": [', "no JSON, or not all of it"),
    ],
)
def test_bad_files(tmp_path, what, document, said):
    layers, profile = real(tmp_path, NAMES[0], "layers", "profile")
    paths = {"layers": layers, "profile": profile}
    paths["times"] = written(tmp_path / "times.json", runs([1.0] * 20))
    written(paths[what], document)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read_trtexec(**paths)
    assert str(paths[what]) in caught.value.fact


@pytest.mark.parametrize("what", ["layers", "profile", "times"])
def test_files_that_are_not_there(tmp_path, what):
    layers, profile = real(tmp_path, NAMES[0], "layers", "profile")
    paths = {"layers": layers, "profile": profile, what: tmp_path / "none.json"}
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file"):
        read_trtexec(**paths)


def test_the_model_says_what_names_do_not(tmp_path):
    path = small(tmp_path / "small.onnx")
    kernels = plan(path)
    information = LayerInformation(kernels=kernels, bindings=(), form="log")
    manifest = {"layers": TypeAdapter(LayerInformation).dump_python(information, mode="json")}
    layers = written(tmp_path / "engine.json", manifest)
    rows = [{**ROW, "name": kernel.name} for kernel in kernels]
    profile = written(tmp_path / "profile.json", profile_of(*rows))
    subject = read_subject(path)
    found = read_trtexec(layers, profile, subject=subject)
    assert found.known.nodes == subject.nodes
    assert found.known.sites == subject.sites
    assert [site.path for site in found.known.sites] == ["gate"]
    assert found.known.params == subject.params
    assert not any("No model was at hand" in note for note in found.notes)
    (resnet,) = real(tmp_path, NAMES[0], "layers")
    (of_resnet,) = real(tmp_path, NAMES[0], "profile")
    with pytest.raises(InputError, match=r"not built from .*small\.onnx: .* such as 'Add_11'"):
        read_trtexec(resnet, of_resnet, subject=subject)


def test_a_profile_alone_gives_times_by_name(tmp_path):
    (profile,) = real(tmp_path, NAMES[2], "profile")
    found = read_trtexec(None, profile)
    entries = [one for one in read_profile(profile) if one.time_us]
    assert [one.time_us for one in found.kernels] == [one.time_us for one in entries]
    assert found.kernels[0].name == entries[0].name
    assert {(one.kind, one.nodes, one.traffic_bytes) for one in found.kernels} == {
        ("other", (), None)
    }
    assert found.latency.p50 == pytest.approx(sum(one.time_us for one in entries) / 1e3)
    assert "belong to no module" in found.notes[0]


def test_names_stand_as_they_are(tmp_path):
    """A convolution called `a"b\\c`, and one of two nodes, joined by name and to its nodes."""
    first, second = 'a"b\\n, "c"', "d\\e\x1ef"
    tensor = '{\n    "Name": "t",\n    "Dimensions": [1,8],\n    "Format/Datatype": "FP16"\n  }'
    rows = ",".join(
        f'{{\n  "Name": "{name}",\n  "LayerType": "kgen",\n  "Inputs": [\n  {tensor}],\n'
        f'  "Outputs": [\n  {tensor}],\n  "Metadata": "[ONNX Layer: {name}]"\n}}'
        for name in (first, second)
    )
    bindings = '"x"\n,"y"'
    layers = written(
        tmp_path / "layers.json", f'{{"Layers": [{rows}],\n"Bindings": [{bindings}\n]}}'
    )
    times = "".join(
        f', {{ "name" : "{name}", "timeMs" : 1, "averageMs" : 1, "percentage" : 50 }}\n'
        for name in (first, second)
    )
    profile = written(tmp_path / "profile.json", f'[\n  {{ "count" : 1 }}\n{times}]\n')
    found = read_trtexec(layers, profile)
    assert [kernel.name for kernel in found.kernels] == [first, second]
    assert found.kernels[0].nodes == (first,)
    assert [one.time_us for one in found.kernels] == [1000, 1000]
