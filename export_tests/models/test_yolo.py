"""Models of Ultralytics, from YAML files and checkpoints, and what its runtime reads of them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeattn.base.errors import InputError, MissingError
from edgeattn.models import yolo
from edgeattn.models.build import build
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.workflows.export import export

pytestmark = pytest.mark.filterwarnings("ignore")  # ultralytics' own

# Two levels, three classes: a model that exports in a second.
_OWN = """
nc: 3
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C2f, [16]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C2f, [32]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C2f, [16]]
  - [[7, 4], 1, Detect, [nc]]
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(_OWN)
    return path


def _checkpoint(folder: Path, source: str, *, spread: float = 60.0) -> Path:
    """Save a checkpoint as Ultralytics does, with weights of which boxes come."""
    with yolo._library() as library, torch.random.fork_rng():
        torch.manual_seed(3)
        model = library.YOLO(source)
        for branch in model.model.model[-1].cv3:
            branch[-1].weight.data *= spread
            branch[-1].bias.data.normal_(-2.0, 1.0)
        model.model.names = {0: "cat", 1: "dog", 2: "a 'bird'"}
        model.save(str(folder / "best.pt"))
    return folder / "best.pt"


def _request(source, *, at=None, size=64, attention="cbam", **more):
    wanted = () if at is None else (AttentionRequest(name=attention, at=at),)
    return ModelRequest(
        source=f"ultralytics:{source}", shapes=((1, 3, size, size),), attentions=wanted, **more
    )


@pytest.fixture
def nms(monkeypatch):
    """Gives torchvision the operator that its build here may lack."""
    import torchvision

    with yolo._library():
        from ultralytics.utils.nms import TorchNMS
    monkeypatch.setattr(torchvision.ops, "nms", TorchNMS.nms)


def _boxes(model, image, **options):
    with yolo._library() as library:
        found = library.YOLO(str(model), task="detect").predict(
            image, conf=0.001, verbose=False, save=False, rect=False, device="cpu", **options
        )
    return found[0].boxes.data.numpy(), found[0].names


@pytest.mark.parametrize(
    ("place", "layers"),
    [
        ("backbone", [2, 4, 6, 10]),
        ("neck", [13, 16, 19, 22]),
        ("before-head", [16, 19, 22]),
        ("model.[468]", [4, 6, 8]),
    ],
)
def test_attention_goes_to_the_layers_that_a_place_means(place, layers):
    built = build(_request("yolo11n.yaml", at=place))
    assert [site.path for site in built.sites] == [f"model.{at}.attention" for at in layers]
    assert built.source == "ultralytics:yolo11n.yaml"


def test_a_model_without_such_layers_says_so(own):
    request = ModelRequest(
        source="resnet18", attentions=(AttentionRequest(name="se", at="backbone"),)
    )
    with pytest.raises(InputError, match="does not say what its backbone"):
        build(request)
    with pytest.raises(InputError, match="no place for neck"):
        build(_request("yolov8n-cls.yaml", at="neck"))


def test_norms_are_fused_and_the_head_gives_one_output(own):
    module = build(_request(own)).module
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in module.modules())
    output = module(torch.zeros(1, 3, 64, 64))
    assert output.shape == (1, 4 + 3, 16 * 16 + 8 * 8)


def test_weights_are_loaded_before_norms_are_fused(own, tmp_path):
    with yolo._library() as library:
        model = library.YOLO(str(own)).model
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    built = build(_request(own, at="backbone", attention="simam", weights=tmp_path / "w.pt"))
    for site in built.sites:
        built.module.get_submodule(site.path).forward = lambda x: x
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(built.module(image), model.eval()(image)[0])


def test_a_file_is_what_ultralytics_own_runtime_reads(own, tmp_path, nms):
    """Its boxes are those of the checkpoint, with the names of its classes."""
    checkpoint = _checkpoint(tmp_path, str(own))
    target = tmp_path / "mine.onnx"
    manifest = export(_request(checkpoint, trust_checkpoint=True), ExportOptions(), target)
    assert manifest.parity.passed
    assert str(checkpoint) in manifest.sources
    assert manifest.pixels is not None
    assert manifest.pixels.mean == (0.0,)
    model = onnx.load(target)
    assert {"model.0.conv/Conv", "model.2.m.0.cv1.conv/Conv"} <= {
        node.name for node in model.graph.node
    }
    said = {one.key: one.value for one in model.metadata_props}
    assert said.items() >= {
        "stride": "8", "task": "detect", "batch": "1", "imgsz": "[64, 64]", "channels": "3",
        "head": "Detect", "end2end": "False", "names": """{0: 'cat', 1: 'dog', 2: "a 'bird'"}""",
    }.items()  # fmt: skip
    image = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    want, names = _boxes(checkpoint, image, imgsz=64)
    have, read = _boxes(target, image)
    assert len(want) > 20
    assert names == read
    assert np.abs(want[:, :4] - have[:, :4]).max() < 1e-3 * 80
    np.testing.assert_array_equal(want[:, 5], have[:, 5])


@pytest.mark.slow
def test_boxes_are_those_of_ultralytics_own_export_also_lowered_and_cast(
    tmp_path, nms, edgeattn, monkeypatch
):
    """Of the same weights, to a thousandth of the image."""
    checkpoint = _checkpoint(tmp_path, "yolo11n.yaml", spread=1e5)
    with yolo._library() as library, monkeypatch.context() as there:
        there.chdir(tmp_path)
        own = library.YOLO(str(checkpoint)).export(format="onnx", imgsz=320, simplify=False)
    own = Path(own).rename(tmp_path / "theirs.onnx")
    (tmp_path / "own").mkdir()
    asked = (f"ultralytics:{checkpoint}", "--trust-checkpoint", "--shape", "1x3x320x320", "-o")
    for arguments in (
        ("export", *asked, "own/a.onnx"),
        ("export", *asked, "own/open.onnx", "--dynamic-batch", "--no-lower"),
        ("optimize", "own/open.onnx", "-o", "own/b.onnx"),
        ("cast", "own/a.onnx", "--precision", "fp16", "-o", "own/half.onnx"),
    ):
        done = edgeattn(*arguments)
        assert done.returncode == 0, done.stderr
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    want, _ = _boxes(own, image, imgsz=320)
    assert len(want) > 20
    for name in ("a", "open", "b"):
        have, names = _boxes(tmp_path / f"own/{name}.onnx", image, imgsz=320)
        assert names[1] == "dog"
        assert have.shape == want.shape
        assert np.abs(want[:, :4] - have[:, :4]).max() < 1e-3 * 200
        np.testing.assert_allclose(want[:, 4:], have[:, 4:], atol=1e-3)
    have, names = _boxes(tmp_path / "own/half.onnx", image, imgsz=320)
    assert names[1] == "dog"
    assert abs(len(have) - len(want)) <= 0.05 * len(want)


@pytest.mark.slow
def test_ultralytics_validates_our_file_as_it_does_the_checkpoint(own, tmp_path, nms):
    from PIL import Image

    checkpoint = _checkpoint(tmp_path, str(own))
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"data/images/{number}.png")
        boxes, _ = _boxes(checkpoint, pixels[:, :, ::-1], imgsz=64)
        rows = [
            f"{int(box[5])} {(box[0] + box[2]) / 128} {(box[1] + box[3]) / 128}"
            f" {(box[2] - box[0]) / 64} {(box[3] - box[1]) / 64}"
            for box in boxes[:3]
        ]
        (tmp_path / f"data/labels/{number}.txt").write_text("\n".join(rows))
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {tmp_path}/data\ntrain: images\nval: images\nnames: [cat, dog, bird]\n")
    target = tmp_path / "mine.onnx"
    export(_request(checkpoint, trust_checkpoint=True), ExportOptions(), target)
    found = []
    for model in (checkpoint, target):
        with yolo._library() as library:
            told = library.YOLO(str(model), task="detect").val(
                data=str(data), imgsz=64, batch=1, plots=False, workers=0, device="cpu",
                project=str(tmp_path / "runs"), rect=False,
            )  # fmt: skip
        found.append(told.box.map50)
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def test_a_checkpoint_runs_no_code_unless_it_is_trusted(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "made"),))

    torch.save({"model": Evil()}, tmp_path / "best.pt")
    with pytest.raises(InputError, match="runs whatever code its maker put into it") as error:
        build(_request(tmp_path / "best.pt"))
    assert "--trust-checkpoint" in str(error.value)
    assert not (tmp_path / "made").exists()
    with pytest.raises(InputError, match="refuses"):  # it is no model, whatever it has run
        build(_request(tmp_path / "best.pt", trust_checkpoint=True))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("C2f, [32]", "C2g, [32]", r"layer 4 is a C2g.*\nDid you mean C2 or C2f"),
        ("C2f, [32]", "torch_safe_load, [x.pt]", "layer 4 is a torch_safe_load"),
        ("nc: 3", "nc: 3\nactivation: __import__('os').mkdir('made')", "the activation"),
        ("head:", "tail:", "it has no lists"),
        ("[-1, 1, C2f, [32]]", "C2f", "layer 4 is no"),
        ("[-1, 2]", "[-1, 99]", "refuses"),
        ("nc: 3", "nc: [", "cannot be read"),
    ],
)
def test_a_yaml_file_that_is_none_is_refused(own, old, new, said, monkeypatch):
    monkeypatch.chdir(own.parent)
    own.write_text(_OWN.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        build(_request(own))
    assert sorted(path.name for path in own.parent.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        ("yolo11x9.yaml", {}, "has no model 'yolo11x9.yaml'"),
        ("yolo11n.pt", {}, "nothing is downloaded"),
        ("https://example.org/yolo11n.yaml", {}, "neither a YAML file"),
        ("yolo11n.yaml", {"size": 70}, "multiples of 32\n--shape 1x3x96x96"),
        ("yolo11n.yaml", {"pretrained": True}, "--pretrained is for"),
        ("yolo11n.yaml", {"model_args": {"end2end": "true"}}, "no head that gives boxes"),
        ("yolo11n.yaml", {"model_args": {"max_dets": "3"}}, "Did you mean max_det"),
        ("yolo11n.yaml", {"trust_checkpoint": True}, "--trust-checkpoint is for"),
    ],
)
def test_what_cannot_be_is_refused(source, more, said):
    with pytest.raises(InputError, match=said):
        build(_request(source, **more))


def test_without_ultralytics_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(yolo.importlib.util, "find_spec", lambda name: None)
    yolo._imported.cache_clear()
    with pytest.raises(MissingError, match=r"pip install 'edgeattn\[yolo\]'"):
        build(_request("yolo11n.yaml"))


def test_a_bare_name_is_told_where_it_is():
    with pytest.raises(InputError, match=r"Did you mean ultralytics:yolo11n\.yaml"):
        build(ModelRequest(source="yolo11n"))


def test_classes_are_as_many_as_asked(own):
    built = build(_request(own, num_classes=7))
    assert built.metadata["names"] == str({number: str(number) for number in range(7)})
    assert built.module(torch.zeros(1, 3, 64, 64)).shape[1] == 4 + 7


def test_nothing_is_written_printed_or_left_in_the_environment(own, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    script = f"""
import os
before = dict(os.environ)
from edgeattn.models.build import build
from edgeattn.options.model import ModelRequest
build(ModelRequest(source="ultralytics:{own}", shapes=((1, 3, 64, 64),)))
assert before == dict(os.environ), set(os.environ.items()) ^ set(before.items())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path in home.rglob("*") if "ltralytics" in str(path)] == []
