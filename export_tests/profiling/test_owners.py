"""Whose a kernel is, rule by rule, and that every part of it is somebody's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling.owners import find_owners
from export_tests.profiling.traces import kernel, node

SITE = "layer1.0.attention"
NODES = {
    one.name: one
    for one in [
        node("layer1.0.conv3/Conv", "Conv", macs=1000, traffic_bytes=900),
        node("layer1.0.downsample/Conv", "Conv", macs=500, traffic_bytes=300),
        node("layer1.0/Add", "Add"),
        node("layer1.0.act3/Relu", "Relu"),
        node(f"{SITE}/ReduceMean", "ReduceMean", site=SITE),
        node(f"{SITE}.fc/Conv", "Conv", site=SITE, macs=10, traffic_bytes=100),
        node(f"{SITE}.gate/Sigmoid", "Sigmoid", site=SITE),
        node(f"{SITE}/Mul", "Mul", site=SITE),
        node("layer2.0.attention/Mul", "Mul", site="layer2.0.attention"),
        node("Conv_0", "Conv", macs=7),
    ]
}


def owner(*names, **more):
    (found,) = find_owners([kernel("k", names, **more)], NODES)
    return found


@pytest.mark.parametrize(
    ("names", "module", "site"),
    [
        (["layer1.0.conv3/Conv"], "layer1.0.conv3", ""),
        # What is pointwise rides along, the backbone's and a gate's alike.
        (["layer1.0.conv3/Conv", "layer1.0/Add", "layer1.0.act3/Relu"], "layer1.0.conv3", ""),
        (["layer1.0.conv3/Conv", f"{SITE}/Mul"], "layer1.0.conv3", ""),
        ([f"{SITE}/ReduceMean", "layer1.0.act3/Relu"], SITE, SITE),
        # Without the site, a convolution would have taken the sum and the activation along.
        ([f"{SITE}/Mul", "layer1.0/Add", "layer1.0.act3/Relu"], SITE, SITE),
        ([f"{SITE}.fc/Conv", f"{SITE}.gate/Sigmoid"], f"{SITE}.fc", SITE),
        ([f"{SITE}.gate/Sigmoid", f"{SITE}/Mul"], SITE, SITE),
        (["layer1.0/Add", "layer1.0.act3/Relu"], "layer1.0", ""),
        # A node without a module is its own.
        (["Conv_0"], "Conv_0", ""),
    ],
)
def test_owned(names, module, site):
    found = owner(*names)
    assert (found.status, found.owner, found.site) == ("owned", module, site)
    assert [share.part for share in found.shares] == [1.0]


def test_two_layers_share_a_kernel_by_their_bytes():
    found = owner("layer1.0.conv3/Conv", "layer1.0.downsample/Conv", "layer1.0/Add")
    assert found.status == "shared"
    parts = {share.module: share.part for share in found.shares}
    assert parts == {"layer1.0.conv3": 0.75, "layer1.0.downsample": 0.25}
    assert found.owner == "layer1.0.conv3"


def test_a_layer_and_a_sites_layer_share_a_kernel():
    found = owner("layer1.0.conv3/Conv", f"{SITE}.fc/Conv")
    assert found.status == "shared"
    assert {share.site: share.part for share in found.shares} == {"": 0.9, SITE: 0.1}
    assert found.site == ""


def test_two_sites_share_a_kernel():
    found = owner(f"{SITE}/Mul", "layer2.0.attention/Mul")
    assert found.status == "shared"
    assert {share.part for share in found.shares} == {0.5}


def test_what_came_from_nothing_that_is_known_is_nobodys():
    found = owner("no/such")
    assert (found.status, found.shares, found.owner) == ("unattributable", (), "")


def copies(*kernels):
    return {one.kernel.name: one for one in find_owners(kernels, NODES)}


def test_a_copy_is_charged_to_what_reads_it():
    found = copies(
        kernel("conv", ["layer1.0.conv3/Conv"], outputs=("x",)),
        kernel("copy", kind="shuffle", inputs=("x",), outputs=("x_t",)),
        kernel("mean", [f"{SITE}/ReduceMean"], inputs=("x_t",)),
    )
    assert (found["copy"].site, found["copy"].cause, found["copy"].status) == (
        SITE,
        "mean",
        "owned",
    )


def test_a_copy_of_a_copy_too():
    found = copies(
        kernel("first", kind="shuffle", inputs=("x",), outputs=("y",)),
        kernel("second", kind="shuffle", inputs=("y",), outputs=("z",)),
        kernel("mean", [f"{SITE}/ReduceMean"], inputs=("z",)),
    )
    assert found["first"].site == SITE


def test_a_copy_that_nothing_reads_is_charged_to_what_wrote_it():
    found = copies(
        kernel("conv", ["layer1.0.conv3/Conv"], outputs=("x",)),
        kernel("copy", kind="shuffle", inputs=("x",), outputs=("output",)),
    )
    assert found["copy"].owner == "layer1.0.conv3"


def test_causes_come_first_and_a_site_among_them_before_others():
    found = copies(
        kernel("add", ["layer1.0/Add"]),
        kernel("gate", [f"{SITE}/Mul"]),
        kernel("reorder", kind="shuffle", causes=("add", "gate"), outputs=("z",)),
        kernel("conv", ["layer1.0.conv3/Conv"], inputs=("z",)),
    )
    assert (found["reorder"].cause, found["reorder"].site) == ("gate", SITE)


def test_a_copy_alone_is_nobodys():
    found = copies(kernel("copy", kind="shuffle", inputs=("x",), outputs=("y",)))
    assert found["copy"].status == "unattributable"


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(NODES)), max_size=4),
            st.lists(st.sampled_from("abc"), max_size=2),
            st.lists(st.sampled_from("abc"), max_size=2),
        ),
        max_size=8,
    )
)
def test_the_parts_of_every_kernel_are_one(drawn):
    kernels = [
        kernel(f"k{place}", names, inputs=tuple(read), outputs=tuple(made))
        for place, (names, read, made) in enumerate(drawn)
    ]
    found = find_owners(kernels, NODES)
    assert [one.kernel for one in found] == kernels
    for one in found:
        total = sum(share.part for share in one.shares)
        assert total == pytest.approx(0.0 if one.status == "unattributable" else 1.0)
        assert all(share.part >= 0 for share in one.shares)
