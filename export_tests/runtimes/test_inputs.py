"""Real data is read as the model takes it, or refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgeattn.base.errors import InputError
from edgeattn.base.torchvision_ops import declare_missing_operators
from edgeattn.models.zoo import pixels_of
from edgeattn.records.pixels import Pixels
from edgeattn.runtimes.inputs import closed, read_input


def test_closed():
    assert closed(["batch", 3, None, 8]) == (1, 3, 1, 8)


@pytest.mark.parametrize("shape", [[2, 3, 4, 5], ["batch", 3, 4, 5], [None, 3, None, 5]])
def test_arrays(tmp_path, shape):
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    np.save(tmp_path / "x.npy", array)
    read = read_input(tmp_path / "x.npy", shape)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array.astype(np.float32))


def test_whole_numbers_stay_whole(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    assert read_input(tmp_path / "x.npy", [2, 3]).dtype == np.int64


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_images_are_normalised_channels_first(tmp_path, batch):
    pixels = np.zeros((6, 4, 3), np.uint8)
    pixels[...] = (255, 0, 128)
    pixels[0] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    read = read_input(tmp_path / "x.png", [batch, 3, 6, 4])
    assert read.shape == (batch if isinstance(batch, int) else 1, 3, 6, 4)
    assert read.dtype == np.float32
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    wanted = [
        (value / 255 - m) / d for value, m, d in zip((255, 0, 128), mean, deviation, strict=True)
    ]
    np.testing.assert_allclose(read[0, :, 3, 2], wanted, rtol=1e-6)
    np.testing.assert_allclose(read[-1, 1, 0, 0], (1 - mean[1]) / deviation[1], rtol=1e-6)


def test_images_are_resized_to_height_and_width(tmp_path):
    Image.new("RGBA", (50, 20)).save(tmp_path / "x.png")
    assert read_input(tmp_path / "x.png", [1, 3, 8, 16]).shape == (1, 3, 8, 16)
    assert read_input(tmp_path / "x.png", [1, 1, 8, 16]).shape == (1, 1, 8, 16)


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("missing.npy", None, [1, 3]),
        ("empty.npy", b"", [1, 3]),
        ("foreign.npy", b"PK not an array", [1, 3]),
        ("text.png", b"not an image", [1, 3, 8, 8]),
        ("text.png", b"not an image", [1, 3]),
        ("text.png", b"not an image", [1, 5, 8, 8]),
        ("text.png", b"not an image", [1, 3, "height", 8]),
    ],
)
def test_bad_files(tmp_path, name, content, shape):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        read_input(tmp_path / name, shape)


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3)))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(InputError, match="archive"):
        read_input(tmp_path / "x.npy", [1, 3])


def test_what_is_read_is_the_reader_s_own(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    read = read_input(tmp_path / "x.npy", [1, 3])
    read += 1
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), 0)


def test_a_pickle_is_not_run(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickle"):
        read_input(tmp_path / "x.npy", [1])


@pytest.mark.parametrize("shape", [[1, 3], [2, 3, 1], [2, 4]])
def test_another_shape_is_refused(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match="2x3"):
        read_input(tmp_path / "x.npy", shape)


@pytest.mark.parametrize("values", [["a", "b"], [1j, 2], [np.nan, 1.0], [1.0, np.inf]])
def test_what_is_no_finite_number_is_refused(tmp_path, values):
    np.save(tmp_path / "x.npy", np.array([values]))
    with pytest.raises(InputError, match="holds values"):
        read_input(tmp_path / "x.npy", [1, 2])


def test_more_than_float32_holds_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1e300]]))
    with pytest.raises(InputError, match="not in float32"):
        read_input(tmp_path / "x.npy", [1, 1])


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (20, 91), (64, 64)])
@pytest.mark.parametrize(
    ("crop_pct", "mode"), [(0.875, "center"), (0.95, "center"), (0.9, "squash"), (1.0, "border")]
)
@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_photos_are_what_timm_makes_of_them(tmp_path, size, crop_pct, mode, shape):
    declare_missing_operators()
    from timm.data.transforms_factory import transforms_imagenet_eval

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    values = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    module = torch.nn.Identity()
    module.pretrained_cfg = {"mean": mean, "std": std, "interpolation": "bilinear",
                             "crop_pct": crop_pct, "crop_mode": mode}  # fmt: skip
    wanted = transforms_imagenet_eval(shape, crop_pct, mode, interpolation="bilinear")(
        Image.open(tmp_path / "x.png")
    )
    pixels = pixels_of(module, "net.py:make")
    read = read_input(tmp_path / "x.png", [1, 3, *shape], pixels=pixels)
    np.testing.assert_allclose(read[0], wanted, atol=1e-6)


def test_photos_are_what_torchvision_makes_of_them(tmp_path):
    declare_missing_operators()
    import torchvision

    Image.effect_noise((300, 260), 80).convert("RGB").save(tmp_path / "x.png")
    for name in ("resnet18", "resnet50", "regnet_y_400mf"):
        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        wanted = preset(Image.open(tmp_path / "x.png"))
        pixels = pixels_of(torch.nn.Identity(), f"torchvision:{name}")
        read = read_input(tmp_path / "x.png", [1, 3, 224, 224], pixels=pixels)
        np.testing.assert_allclose(read[0], wanted, atol=1e-6)


def test_letterboxed_photos_lie_where_ultralytics_lays_them(tmp_path):
    values = np.zeros((20, 31, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels = Pixels(mean=(0,), std=(1,), scale=1, fit="letterbox")
    read = read_input(tmp_path / "x.png", [1, 3, 64, 96], pixels=pixels)[0, 0]
    # 62x96 fits: LetterBox of ultralytics has round(1 - 0.1) above, round(1 + 0.1) below
    assert (read[[0, -1]] == 114).all()
    assert (read[1:-1] == 0).all()


def test_channels_last_and_other_scales(tmp_path):
    Image.new("RGB", (8, 6), (255, 0, 51)).save(tmp_path / "x.png")
    pixels = Pixels(mean=(0,), std=(1,))
    first = read_input(tmp_path / "x.png", [1, 3, 6, 8], pixels=pixels)
    last = read_input(tmp_path / "x.png", ["n", 6, 8, 3], pixels=pixels)
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)
    np.testing.assert_allclose(last[0, 0, 0], [1, 0, 0.2], atol=1e-7)
    as_asked = Pixels(mean=(0,), std=(1,), scale=1.0, layout="nhwc", crop=(6, 3))
    read = read_input(tmp_path / "x.png", [1, None, "w", 3], pixels=as_asked)
    np.testing.assert_array_equal(read[0, 0, 0], [255, 0, 51])
    whole = read_input(tmp_path / "x.png", [1, 6, 8, 3], dtype="uint8")
    np.testing.assert_array_equal(whole[0, 0, 0], [255, 0, 51])


def test_photos_that_are_none(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        whole, "png"
    )
    broken = bytearray(whole.getvalue())
    broken[200:400] = bytes(200)
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    for name, content, message in [
        ("cut.png", whole.getvalue()[:3000], "cannot be read"),
        ("broken.png", bytes(broken), "cannot be read"),
        ("bomb.ppm", b"P6 30000 30000 255\n", "decompression bomb"),
        ("run.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither"),
        ("run.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither"),
        ("deep.png", None, "more than 8 bits"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_input(tmp_path / name, [1, 3, 8, 8])


def test_a_photo_that_may_not_be_read_is_called_so(tmp_path, monkeypatch):
    def denied(path, *_args, **_how):
        raise PermissionError(13, "Permission denied", str(path))

    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="Permission denied"):
        read_input(tmp_path / "x.png", [1, 3, 8, 8])
