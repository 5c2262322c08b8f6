"""What sites cost above identity: differences of the kernels around them, and nothing else."""

from __future__ import annotations

import pytest

from edgeattn.profiling.marginal import marginals
from edgeattn.profiling.owners import find_owners
from export_tests.profiling.traces import kernel, node

SITES = ("layer1.0.attention", "layer2.0.attention")


def nodes():
    found = []
    for stage, site in zip(("layer1.0", "layer2.0"), SITES, strict=True):
        found += [
            node(f"{stage}.conv1/Conv", "Conv", macs=9),
            node(f"{stage}.conv2/Conv", "Conv", macs=9),
            node(f"{stage}/Add", "Add"),
            node(f"{stage}.act/Relu", "Relu"),
            node(f"{site}/ReduceMean", "ReduceMean", site=site),
            node(f"{site}/Mul", "Mul", site=site),
        ]
    return {one.name: one for one in found}


def block(stage, site, *, scale=1.0, reads="x", fused=False):
    """A block as ONNX Runtime runs it, or (fused) as TensorRT does."""
    y = f"{stage}.y"
    common = [
        kernel(f"{stage}.conv1", [f"{stage}.conv1/Conv"], kind="matmul", time_us=100 * scale,
               inputs=(reads,), outputs=(f"{stage}.h",)),
    ]  # fmt: skip
    if site is None:
        names = [f"{stage}.conv2/Conv", f"{stage}/Add", f"{stage}.act/Relu"]
        return [*common, kernel(f"{stage}.conv2", names, kind="matmul", time_us=110 * scale,
                                inputs=(f"{stage}.h", reads), outputs=(y,))]  # fmt: skip
    conv2 = kernel(f"{stage}.conv2", [f"{stage}.conv2/Conv"], kind="matmul", time_us=100 * scale,
                   inputs=(f"{stage}.h",), outputs=(f"{stage}.c",))  # fmt: skip
    mean = kernel(f"{stage}.mean", [f"{site}/ReduceMean"], kind="reduction", time_us=20 * scale,
                  inputs=(f"{stage}.c",), outputs=(f"{stage}.m",))  # fmt: skip
    ends = [[f"{site}/Mul"], [f"{stage}/Add"], [f"{stage}.act/Relu"]]
    if fused:
        ends = [[name for names in ends for name in names]]
    values = [f"{stage}.c", *(f"{stage}.e{place}" for place in range(len(ends) - 1)), y]
    gates = [
        kernel(f"{stage}.end{place}", names, time_us=30 * scale,
               inputs=(values[place], *([f"{stage}.m"] if not place else []),
                       *([reads] if fused or place == 1 else [])),
               outputs=(values[place + 1],))
        for place, names in enumerate(ends)
    ]  # fmt: skip
    return [*common, conv2, mean, *gates]


def model(*, sites=SITES, scale=1.0, fused=False):
    kernels = block("layer1.0", sites[0], scale=scale, fused=fused)
    return kernels + block("layer2.0", sites[1], scale=scale, reads="layer1.0.y", fused=fused)


def found(ours, theirs, *, is_measured=True, replaced=SITES):
    known = nodes()
    return marginals(
        find_owners(ours, known), find_owners(theirs, known), replaced, is_measured=is_measured
    )


@pytest.mark.parametrize(("fused", "cost"), [(False, 100 + 20 + 90 - 110), (True, 100 + 50 - 110)])
def test_a_site_costs_its_kernels_and_the_fusion_that_it_broke(fused, cost):
    result = found(model(fused=fused), model(sites=(None, None)))
    assert result.by_site == pytest.approx(dict.fromkeys(SITES, cost))
    assert result.elsewhere_us == 0
    assert result.drift == 1


def test_what_the_machine_did_otherwise_is_taken_out_of_measurements():
    slow = model(sites=(None, None), scale=1.25)
    result = found(model(), slow)
    assert result.drift == pytest.approx(0.8)
    assert result.by_site == pytest.approx(dict.fromkeys(SITES, 100))


def test_a_prediction_has_no_drift_to_take_out():
    slow = model(sites=(None, None), scale=1.25)
    result = found(model(), slow, is_measured=False)
    assert result.by_site == pytest.approx(dict.fromkeys(SITES, 100 - 27.5))


def test_a_site_that_stayed_costs_what_it_costs_in_both():
    result = found(model(), model(sites=(SITES[0], None)), replaced=SITES[1:])
    assert result.by_site == pytest.approx({SITES[1]: 100})


def test_what_differs_far_from_every_site_is_told_apart():
    plain = model(sites=(None, None))
    plain[0] = plain[0].model_copy(update={"op": "another", "time_us": 60.0})
    result = found(model(), plain)
    assert result.by_site == pytest.approx(dict.fromkeys(SITES, 100))
    assert result.elsewhere_us == pytest.approx(40)


def test_a_copy_that_a_site_causes_is_its_own():
    ours = model()
    ours.insert(2, kernel("copy", kind="shuffle", time_us=7, causes=("layer1.0.mean",)))
    result = found(ours, model(sites=(None, None)))
    assert result.by_site[SITES[0]] == pytest.approx(107)
    assert result.by_site[SITES[1]] == pytest.approx(100)


def test_neighbourhoods_that_are_one_are_divided_as_their_kernels_are():
    ours, theirs = model(), model(sites=(None, None))
    merged = ["layer1.0.act/Relu", "layer2.0.act/Relu"]
    ours[5] = ours[5].model_copy(update={"nodes": tuple(merged)})
    result = found(ours, theirs)
    assert sum(result.by_site.values()) == pytest.approx(200)
    assert result.by_site[SITES[0]] == pytest.approx(result.by_site[SITES[1]])
