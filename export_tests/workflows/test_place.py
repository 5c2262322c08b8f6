"""What `place` chooses, and what it does where the set turns out dearer as a whole."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.place import PlaceOptions
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.assemble import Profiled
from edgeattn.records.manifest import PlacedSite
from edgeattn.records.trace import Latency, SavedRow
from edgeattn.workflows import place as workflow
from edgeattn.workflows.place_sets import Base
from export_tests.report.traces import kernel, node, trace

COSTS_US = (30.0, 30.0, 20.0, 60.0)  # the plain model takes 300
SITES = tuple(
    PlacedSite(
        path=f"layer{n}.attention", attention="se", target=f"layer{n}.bn2", shape=(8, 4, 4),
        params=9,
    )
    for n in range(4)
)  # fmt: skip
REQUEST = ModelRequest(source="resnet18", attentions=(AttentionRequest(name="se"),))


def of_sites(places, *, dearer_us=0.0):
    """A prediction of the model with attention at some sites."""
    bare = trace(attended=False, predicted=True, shared_spread=0.1)
    nodes = [node(f"{SITES[at].path}/Mul", "Mul") for at in places]
    kernels = [
        kernel(f"k-{at}", "pointwise", COSTS_US[at], [f"{SITES[at].path}/Mul"],
               interval_us=(COSTS_US[at] * 0.5, COSTS_US[at] * 2), bound="traffic")
        for at in places
    ]  # fmt: skip
    total_us = sum(one.time_us for one in (*bare.kernels, *kernels)) + dearer_us
    return bare.model_copy(
        update={
            "kernels": (*bare.kernels, *kernels),
            "nodes": (*bare.nodes, *nodes),
            "latency_ms": Latency(p50=total_us / 1e3),
        }
    )


@pytest.fixture
def ran(monkeypatch):
    """Stands in for what captures, exports and predicts; says what was."""
    seen = SimpleNamespace(sets=[], exported=[], dearer_us=[], others=False)

    @contextlib.contextmanager
    def processes():
        with ThreadPoolExecutor(1) as executor:
            yield executor

    def base_of(request, export, folder):
        alike = ("a", "a", "b", "c")
        return Base(
            request=request, export=export, sites=SITES, alike=alike, graph=folder, pixels=None,
            source="timm:resnet18",
        )  # fmt: skip

    def predicted(_base, places, item, _options):
        assert item.path.parent.is_dir()
        seen.sets.append(tuple(places))
        return of_sites(places)

    def export(request, _options, _path, **_how):
        at = request.attentions[0].at
        targets = [site.target for site in SITES] if at is None else at.split(",")
        seen.exported.append(targets)
        sites = [site for site in SITES if site.target in targets]
        return SimpleNamespace(sites=SITES[:1] if seen.others else sites)

    def profile(_items, _options):
        places = [at for at, site in enumerate(SITES) if site.target in seen.exported[-1]]
        dearer = seen.dearer_us.pop(0) if seen.dearer_us else 0.0
        return [Profiled(row=SavedRow(trace=of_sites(places, dearer_us=dearer)))]

    for name, stands_in in (
        ("processes", processes), ("base_of", base_of), ("predicted", predicted),
        ("export_model", export), ("profile", profile),
    ):  # fmt: skip
        monkeypatch.setattr(workflow, name, stands_in)
    return seen


def place(folder, budget, **asked):
    return workflow.place(
        REQUEST,
        PlaceOptions(budget=budget, **asked),
        ExportOptions(),
        ProfileOptions(device="jetson"),
        folder,
    )


def test_the_largest_set_and_what_sites_cost(ran, tmp_path):
    found = place(tmp_path, "+28%")
    assert found.chosen is not None
    assert found.chosen.sites == ("layer0.attention", "layer1.attention", "layer2.attention")
    assert found.at == "layer0.bn2,layer1.bn2,layer2.bn2"
    assert found.export == f"--at {found.at}"
    assert found.chosen.above_ms == pytest.approx(0.080)
    assert [site.like for site in found.sites] == ["", "layer0.attention", "", ""]
    assert [round(site.alone.above_ms, 6) for site in found.sites] == [0.03, 0.03, 0.02, 0.06]
    beside = [site.beside_all_ms for site in found.sites]
    assert beside == pytest.approx([0.03, 0.03, 0.02, 0.06])
    assert sorted(ran.sets) == [(), (0,), (0, 1, 2), (0, 1, 2, 3), (2,), (3,)]
    assert ran.exported == [["layer0.bn2", "layer1.bn2", "layer2.bn2"]]
    assert "3 of 4 sites were run by themselves" in " ".join(found.notes)


def test_all_sites_need_no_place(ran, tmp_path):
    found = place(tmp_path, "0.5ms")
    assert found.chosen is not None
    assert len(found.chosen.sites) == 4
    assert (found.at, ran.exported) == ("", [[site.target for site in SITES]])


def test_what_is_dearer_as_a_whole_makes_room_for_the_next(ran, tmp_path):
    ran.dearer_us = [10.0]
    found = place(tmp_path, "+28%")
    assert found.chosen is not None
    assert len(ran.exported) == 2
    assert len(found.chosen.sites) == 2
    assert found.chosen.above_percent <= 28
    assert any("not when they were checked as a whole: 1." in one for one in found.notes)


def test_one_set_after_another_that_is_dearer_as_a_whole(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "_MOST_CHECKS", 1)
    ran.dearer_us = [10.0]
    with pytest.raises(CheckError, match="1 sets kept the budget of \\+28 % when they were found"):
        place(tmp_path, "+28%")


def test_what_is_kept_turns_out_dearer_than_the_budget(ran, tmp_path):
    ran.dearer_us = [10.0]
    with pytest.raises(InputError, match=r"--keep names takes 0.37 ms, \+23.3 % above"):
        place(tmp_path, "+21%", keep=("layer3.*",))


def test_sites_that_are_exported_elsewhere(ran, tmp_path):
    ran.others = True
    with pytest.raises(InputError, match=r"puts attention at layer0.attention, and not at layer0"):
        place(tmp_path, "+28%")


def test_no_site_fits_and_budgets_that_are_exceeded_already(ran, tmp_path):
    folders = [tmp_path / str(n) for n in range(3)]
    for folder in folders:
        folder.mkdir()
    found = place(folders[0], "+1%")
    assert (found.chosen, found.at, found.export, ran.exported) == (None, "", "", [])
    with pytest.raises(InputError, match=r"plain model takes 0.3 ms, and the budget is 0.2 ms"):
        place(folders[1], "200us")
    with pytest.raises(InputError, match=r"--keep names takes 0.36 ms, \+20.0 % above"):
        place(folders[2], "+0.05ms", keep=("layer3.*",))


@pytest.mark.parametrize(
    ("budget", "said"),
    [("", "No budget is given"), ("-5%", "is negative"), ("5", "is no limit"), ("x%", "no limit")],
)
def test_budgets_that_are_none(ran, tmp_path, budget, said):
    with pytest.raises(InputError, match=said):
        place(tmp_path, budget)
    assert ran.sets == []
