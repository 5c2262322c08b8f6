"""What is counted is what models say, image by image."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from edgeattn.base.errors import InputError
from edgeattn.options.evaluate import EvaluateOptions
from edgeattn.precision.accuracy import subject_of
from edgeattn.runtimes.runner import ranked
from edgeattn.workflows import classifiers
from edgeattn.workflows import evaluate as workflow
from edgeattn.workflows.evaluate import evaluate
from export_tests.precision.classifiers import RIGHT, classifier, colours
from export_tests.precision.test_labels import listed

SWAPPED = RIGHT[[0, 2, 1]]


def run(data, *paths, **how):
    said = {"mean": (0.0,), "std": (1.0,)}
    return evaluate(paths, EvaluateOptions(data=data, pixels=said, **how))


def test_places_of_labels():
    scores = np.array([[1, 3, 2], [5, 5, 5], [0, np.nan, 1], [np.inf, 0, 0], [-np.inf, 0, 1]])
    assert ranked(scores, [2, 1, 0, 0, 0]) == [[1, 1], [0, 1], [-1, -1], [-1, -1], [2, 2]]
    assert ranked(scores[:1].reshape(1, 3, 1, 1), [1]) == [[1, 0]]
    assert ranked(np.array([[7, 7, 200]], np.uint8), [0]) == [[2, 1]]


@pytest.mark.parametrize("batch", ["n", 1, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_side_by_side(tmp_path, batch, threads):
    data = colours(tmp_path / "val", 7)
    first = classifier(tmp_path / "a.onnx", RIGHT)
    second = classifier(tmp_path / "b.onnx", SWAPPED, batch=batch)
    found = run(data, first, second, threads=threads)
    one, other = found.models
    assert (found.images, found.classes, found.skipped) == (21, 3, ())
    assert (one.top1, one.top5, one.change, one.interval, one.agreement) == (100, None) + (
        None,
    ) * 3
    assert other.top1 == pytest.approx(100 / 3)
    assert other.change == pytest.approx(-200 / 3)
    assert other.agreement == pytest.approx(100 / 3)
    low, high = other.interval
    assert -90 < low < -67 < -66 < high < -35
    assert [(loss.name, loss.images, loss.before, loss.after) for loss in other.losses] == [
        ("green", 7, 7, 0),
        ("red", 7, 7, 0),
    ]
    assert one.losses == ()


def test_the_five_largest(tmp_path):
    rows = np.concatenate([RIGHT, np.zeros((4, 3))])  # ties count for whoever comes first
    data = colours(tmp_path / "val", 2)
    labels = [("blue", 0), ("green", 1), ("red", 6), ("red", 4)]
    lines = listed(data, "".join(f"{name}/0000.png,{label}\n" for name, label in labels))
    (one,) = run(lines, classifier(tmp_path / "a.onnx", rows)).models
    assert (one.top1, one.top5) == (50, 75)


def test_a_model_of_its_own_size_and_layout_sees_the_same_images(tmp_path):
    data = colours(tmp_path / "val", 3)
    paths = [
        classifier(tmp_path / "a.onnx", RIGHT),
        classifier(tmp_path / "b.onnx", RIGHT, size=(6, 12), last=True),
        classifier(tmp_path / "c.onnx", RIGHT, dtype="uint8", batch=2),
    ]
    found = run(data, *paths)
    assert [one.top1 for one in found.models] == [100, 100, 100]
    assert [one.agreement for one in found.models[1:]] == [100, 100]
    assert "resized to 6x12" in found.models[1].photos


def test_what_is_no_number_counts_as_wrong(tmp_path):
    rows = RIGHT.copy()
    rows[1, 1] = np.nan
    model = classifier(tmp_path / "a.onnx", rows)
    one, same = run(colours(tmp_path / "val", 2), model, model).models
    assert (one.top1, one.not_numbers) == (0, 6)
    assert same.agreement == 0


def test_broken_images(tmp_path):
    data = colours(tmp_path / "val", 20)
    model = classifier(tmp_path / "a.onnx", RIGHT)
    for name in ("blue/0003.png", "red/0019.png"):
        (data / name).write_bytes((data / name).read_bytes()[:40])
    with pytest.raises(InputError, match=r"blue/0003\.png"):
        run(data, model)
    found = run(data, model, skip_broken=True)
    assert found.images == 58
    assert found.skipped == (str(data / "blue/0003.png"), str(data / "red/0019.png"))
    assert found.models[0].top1 == 100
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="None of the 60 images"):
        run(data, model, skip_broken=True)


def test_lists_of_missing_files(tmp_path):
    data = listed(colours(tmp_path, 1), "red/0000.png,2\nnone.png,0\n")
    model = classifier(tmp_path / "a.onnx", RIGHT)
    with pytest.raises(InputError, match=r"none\.png, of list"):
        run(data, model)
    assert run(data, model, skip_broken=True).images == 1


def test_of_many_some_are_drawn(tmp_path):
    data = colours(tmp_path / "val", 9)
    model = classifier(tmp_path / "a.onnx", RIGHT)
    assert run(data, model, samples=5, seed=1).images == 5
    assert "5 of 27 images, seed 1" in run(data, model, samples=5, seed=1).data
    assert run(data, model, samples=99).images == 27


def test_models_that_do_not_go_together_or_are_none(tmp_path):
    data = colours(tmp_path / "val", 1)
    first = classifier(tmp_path / "a.onnx", RIGHT)
    four = classifier(tmp_path / "b.onnx", np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"b\.onnx has 4 classes, and .*a\.onnx 3"):
        run(data, first, four)
    one = classifier(tmp_path / "c.onnx", np.zeros((1, 3)))
    with pytest.raises(InputError, match="no number for each class"):
        run(data, one)
    fixed = classifier(tmp_path / "d.onnx", RIGHT, batch=2)
    with pytest.raises(InputError, match="takes batches of 2, and --batch 3"):
        run(data, fixed, batch=3)
    with pytest.raises(InputError, match="No data"):
        evaluate([first], EvaluateOptions())
    with pytest.raises(InputError, match="no file"):
        run(data, tmp_path / "absent.onnx")


def test_who_says_nothing_takes_photos_as_another_does(tmp_path):
    from edgeattn.base.files import sha256

    data = colours(tmp_path / "val", 1)
    first = classifier(tmp_path / "a.onnx", RIGHT)
    said = classifier(tmp_path / "b.onnx", RIGHT)
    said.with_suffix(".json").write_text(
        f'{{"sha256": {{"b.onnx": "{sha256(said)}"}}, "pixels": {{"mean": [0.5], "std": [0.5],'
        ' "fit": "crop", "crop": 0.5, "resize": [], "said_by": "timm"}}'
    )
    found = evaluate([first, said], EvaluateOptions(data=data))
    assert found.models[0].photos == found.models[1].photos
    assert "as the manifest of b.onnx says" in found.models[0].photos
    assert (
        "resized to 16 on the shorter side, bicubic, cut to the 8x8 in the centre"
        in found.models[0].photos
    )


def test_what_is_no_better_than_chance_is_told(tmp_path):
    data = colours(tmp_path / "val", 5)
    wrong = classifier(tmp_path / "a.onnx", RIGHT[[1, 2, 0]])
    assert "a.onnx is hardly better than chance" in run(data, wrong).notes[-1]
    assert "chance" not in " ".join(run(data, classifier(tmp_path / "b.onnx")).notes)


def test_photos_are_read_once_for_all_models(tmp_path, monkeypatch):
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(0) or real(*a, **k))
    data = colours(tmp_path / "val", 2)
    run(data, classifier(tmp_path / "a.onnx"), classifier(tmp_path / "b.onnx", size=(4, 4)))
    assert len(opened) == 6


def test_engines_on_the_gpu_of_this_machine(tmp_path, monkeypatch):
    onnx = classifier(tmp_path / "a.onnx", RIGHT)
    (tmp_path / "a.engine").write_bytes(b"built of it")
    session, sizes = onnxruntime.InferenceSession(onnx), []

    def once(feeds):
        sizes.append(feeds["image"].shape[0])
        return {"scores": session.run(None, feeds)[0]}

    point = SimpleNamespace(point="opt", shapes={"image": (4, 3, 8, 8)})
    manifest = SimpleNamespace(points=(point,), runtime="tensorrt-rtx", runtime_version="1.2")
    engine = SimpleNamespace(run=once, manifest=manifest)
    monkeypatch.setattr(workflow, "read_manifest", lambda _: manifest)
    monkeypatch.setattr(workflow, "source_of", lambda *_: onnx)
    monkeypatch.setattr(classifiers, "open_engine", lambda _: contextlib.nullcontext(engine))
    found = run(colours(tmp_path / "val", 3), tmp_path / "a.engine", onnx).models
    assert [one.top1 for one in found] == [100, 100]
    assert [one.batch for one in found] == [4, 8]
    assert found[0].runtime == "TensorRT-RTX 1.2"
    assert sizes == [4] * 4  # one to try it; 8 and 1 images, the last filled up


def test_batches_of_large_images_are_small(tmp_path):
    for size, batch in [((224, 224), 8), ((640, 480), 1), ((300, 300), 4)]:
        path = classifier(tmp_path / "a.onnx", RIGHT, size=size)
        assert subject_of(path, None).batch == batch
