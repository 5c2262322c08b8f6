"""What a sweep has to do: every combination once, exports shared, keys of all that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeattn.base.errors import InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.profile import ProfileOptions
from edgeattn.options.sweep import SweepOptions
from edgeattn.records.store import Outcome, Store
from edgeattn.workflows.sweep import sweep
from edgeattn.workflows.sweep_plan import Common, Job, jobs_of, places_of
from export_tests.records.test_store import row

COMMON = Common(
    request=ModelRequest(source=""),
    attentions=[AttentionRequest(name="se"), AttentionRequest(name="simam")],
    export=ExportOptions(),
    casts={"fp32": None},
    profile=ProfileOptions(),
)


def plan(common: Common = COMMON, **asked: Any) -> list[Job]:
    options = SweepOptions(**{"models": ("resnet18",), "devices": ("jetson",)} | asked)
    return jobs_of(options, common, places_of(options, common.profile, ()))


def keys(jobs: Sequence[Job]) -> set[str]:
    return {job.key for job in jobs}


def test_every_combination_is_a_job_and_exports_are_shared() -> None:
    casts = {"fp32": None, "fp16": CastOptions()}
    devices = ("jetson", "jetson@7W", "jetson-xavier-nx", "raspberry-pi-5")
    jobs = plan(
        replace(COMMON, casts=casts), models=("a", "b"), opsets=(13, 17), devices=devices,
        places=("block-end", "simam=last"),
    )  # fmt: skip
    variants = 1 + 1 + 2  # plain, se at one place, simam at two
    assert len(jobs) == len(keys(jobs)) == 2 * 2 * variants * 2 * len(devices)
    # Both modes share one; Xavier's TensorRT takes other forms, and a CPU another target.
    assert len({job.exported.key for job in jobs}) == 2 * 2 * variants * 3
    by_key = {job.key: job for job in jobs}
    for job in jobs:
        assert (job.plain is None) == (job.exported.attention is None)
        if job.plain is not None:
            plain = by_key[job.plain]
            assert (plain.place, plain.precision) == (job.place, job.precision)
            assert plain.exported.options == job.exported.options
    assert len({job.label for job in jobs}) == len(jobs)


def test_a_job_asked_for_twice_is_one_and_order_does_not_matter() -> None:
    assert keys(plan(models=("a", "b"))) == keys(plan(models=("b", "a", "b")))


@pytest.mark.parametrize(
    "change",
    [
        {"request": ModelRequest(source="", seed=1)},
        {"request": ModelRequest(source="", num_classes=7)},
        {"attentions": [AttentionRequest(name="se", options={"reduction": "8"})]},
        {"export": ExportOptions(simplify=False)},
        {"casts": {"fp16": CastOptions()}},
        {"casts": {"fp16": CastOptions(keep_fp32=("x",))}},
        {"profile": ProfileOptions(batch=2)},
        {"profile": ProfileOptions(cuda_graph=False)},
    ],
)
def test_what_decides_a_result_is_in_its_key(change: dict[str, Any]) -> None:
    assert not keys(plan()[1:]) & keys(plan(replace(COMMON, **change))[1:])


def test_files_of_the_user_count_by_their_content(tmp_path: Path) -> None:
    model, weights, device = (tmp_path / name for name in ("net.py", "w.safetensors", "d.toml"))
    model.write_text("def make(): ...")
    weights.write_bytes(b"1")
    profile = Path(__file__).parents[2] / "profiles/jetson-nano.toml"
    device.write_text(profile.read_text())
    common = replace(COMMON, request=ModelRequest(source="", weights=weights))

    def now() -> set[str]:
        return keys(plan(common, models=(f"{model}:make",), devices=(str(device),)))

    before = now()
    assert now() == before
    for path, text in ((model, "# more"), (weights, "2"), (device, "# a comment alone")):
        path.write_text(path.read_text() + text)
        if path == device:  # which decides nothing
            assert now() == before
            path.write_text(path.read_text().replace("kernel_floor_us = ", "kernel_floor_us = 1"))
        assert not now() & before, path
        before = now()


def test_files_that_a_file_imports_count_too(tmp_path: Path) -> None:
    net, blocks, deep = (tmp_path / name for name in ("net.py", "blocks.py", "deep/more.py"))
    deep.parent.mkdir()
    net.write_text("import torch\nfrom blocks import Block\n\ndef make(): ...")
    blocks.write_text("def f():\n    import deep.more\n")
    deep.write_text("A = 1\n")
    (tmp_path / "other.py").write_text("")

    def now() -> list[Job]:
        return plan(models=(f"{net}:make",))

    before = now()
    assert {Path(name).name for name in before[0].exported.files} == {
        "net.py", "blocks.py", "more.py",
    }  # fmt: skip
    (tmp_path / "other.py").write_text("B = 2\n")
    assert keys(now()) == keys(before)
    deep.write_text("A = 2\n")
    assert not keys(now()) & keys(before)


def test_data_to_calibrate_on_counts(tmp_path: Path) -> None:
    cast = CastOptions(precision="int8", calibration=str(tmp_path))
    common = replace(COMMON, casts={"int8": cast})
    before = keys(plan(common))
    assert keys(plan(common)) == before
    (tmp_path / "a.npy").write_bytes(b"1")
    assert not keys(plan(common)) & before
    with pytest.raises(InputError, match="There is no file"):
        plan(replace(COMMON, casts={"int8": replace(cast, calibration="nowhere")}))


def test_the_usual_power_mode_by_its_name_is_no_other() -> None:
    assert keys(plan(devices=("jetson", "jetson@15W"))) == keys(plan())


def test_with_a_plain_model_that_is_tried_again_so_is_what_was_found_without(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sweep.db"
    plain, se, simam = plan()
    with Store(path) as store:
        store.add((job.key, job.label) for job in (plain, se, simam))
        store.finish([Outcome(key=plain.key, fact="It crashed.")])
        above = row(simam.key).model_copy(update={"above_ms": 0.1})
        store.finish([Outcome(key=se.key, row=row(se.key)), Outcome(key=simam.key, row=above)])
    before = path.read_bytes()

    def planned(*, retry: bool) -> tuple[int, int, int]:
        options = SweepOptions(
            models=("resnet18",), devices=("jetson",), dry_run=True, retry=retry, output=path
        )
        found = sweep(options, COMMON, output=path).planned
        return found.exports, found.done, found.failed

    assert planned(retry=False) == (0, 2, 1)
    assert planned(retry=True) == (2, 1, 0)
    assert path.read_bytes() == before


def test_what_measures_depends_on_how_long_and_what_is_predicted_does_not() -> None:
    shorter = replace(COMMON, profile=ProfileOptions(limit_s=1.0))
    assert keys(plan()) == keys(plan(shorter))
    assert not keys(plan(devices=())) & keys(plan(shorter, devices=()))


def test_what_else_was_asked_is_told_in_words() -> None:
    assert {job.options for job in plan()} == {""}
    asked = replace(
        COMMON,
        request=ModelRequest(source="", num_classes=7, shapes=((1, 3, 64, 64),)),
        attentions=[AttentionRequest(name="se", options={"reduction": "8"})],
        export=ExportOptions(simplify=False),
        casts={"fp16": CastOptions(keep_fp32=("fc", "a"))},
        profile=ProfileOptions(batch=2),
    )
    plain, se = plan(asked)
    assert plain.options == "num classes 7, shapes 1x3x64x64, simplify no, keep fp32 fc a, batch 2"
    assert "reduction=8" in se.options
    assert se.options in se.label


def test_targets_and_stock() -> None:
    jobs = plan(targets=("tensorrt", "stock", "portable"))
    assert [job.exported.options.lower for job in jobs[::3]] == [True, False, True]
    assert {job.exported.options.target for job in jobs[6:]} == {"portable"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"models": ()}, "No model is named"),
        ({"devices": ("jetsn",)}, "no device named 'jetsn'"),
        ({"devices": ("jetson@99W",)}, "99W"),
        ({"devices": ("raspberry-pi-5",), "runtimes": ("tensorrt",)}, "not predicted for"),
        ({"runtimes": ("onnxrt",)}, "no runtime 'onnxrt'"),
        ({"runtimes": ("torch",), "devices": ()}, "torch runs no exported model"),
        ({"targets": ("tensort",)}, "no target 'tensort'"),
        ({"opsets": (9,)}, "Opset 9 is not supported"),
        ({"opsets": (99,)}, "Opset 99 is not known"),
        ({"places": ("cbam=last",)}, "names no attention"),
        ({"places": ("se=",)}, "no place"),
        ({"runtimes": ("tensorrt", "foo")}, "no runtime 'foo'"),
    ],
)
def test_what_there_is_not_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(**asked)


def test_int8_needs_data_and_labels_tell_attentions_apart() -> None:
    with pytest.raises(InputError, match="needs data to calibrate on"):
        plan(replace(COMMON, casts={"int8": CastOptions(precision="int8")}))
    with pytest.raises(InputError, match="There is no file"):
        plan(models=("nowhere.py:make",))
