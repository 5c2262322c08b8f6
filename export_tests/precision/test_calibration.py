"""Calibration data is what the model takes, the same each time, or refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeattn.base.errors import InputError
from edgeattn.precision.calibration import read_samples
from edgeattn.precision.pixels import ASSUMED, choose
from edgeattn.records.manifest import Tensor
from edgeattn.records.pixels import Pixels
from edgeattn.runtimes.inputs import read_input


def tensor(*shape, name="x", dtype="float32"):
    return Tensor(name=name, shape=shape, dtype=dtype)


IMAGE = tensor("batch", 3, 6, 8)


def samples(source, *inputs, limit=100, seed=0, pixels=ASSUMED):
    return read_samples(str(source), inputs or (IMAGE,), limit=limit, seed=seed, pixels=pixels)


def rows(found, name="x"):
    return [feed[name] for feed in found]


def images(folder, count, size=(8, 6)):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, size[1], size[0], 3), np.uint8)
    for index, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{index:03}.png")
    return folder


def test_random_samples_are_those_of_their_seed():
    inputs = (tensor(2, 3, 4), tensor("n", 5, name="y", dtype="int64"))
    found = samples("random", *inputs, limit=6, seed=1)
    first, second = list(found), list(found)
    assert len(first) == found.count == 3
    assert (found.description, found.sha256) == ("random, seed 1: 6 samples", "")
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["x"], two["x"])
        assert one["x"].shape == (2, 3, 4)
        assert one["x"].dtype == np.float32
        assert one["y"].shape == (2, 5)
        assert set(np.unique(one["y"])) == {0, 1}
    values = np.concatenate(rows(found)).ravel()
    assert len(set(values)) == values.size
    other = samples("random", *inputs, limit=6, seed=2)
    assert not np.array_equal(rows(other)[0], first[0]["x"])


def test_a_folder_of_images_is_read_as_parity_reads_them(tmp_path):
    folder = images(tmp_path / "data" / "cats", 3, size=(20, 10)).parent
    (folder / "notes.txt").write_text("no image")
    found = samples(folder)
    assert found.count == 3
    assert found.description == f"folder {folder}: 3 samples"
    for index, array in enumerate(rows(found)):
        wanted = read_input(folder / "cats" / f"{index:03}.png", (1, 3, 6, 8))
        np.testing.assert_array_equal(array, wanted)


def test_of_a_large_folder_a_part_is_drawn(tmp_path):
    folder = images(tmp_path, 9)
    found = samples(folder, limit=4, seed=3)
    assert found.description == f"folder {folder}: 4 of 9 samples"
    taken = {array.tobytes() for array in rows(found)}
    assert len(taken) == 4
    assert taken == {array.tobytes() for array in rows(samples(folder, limit=4, seed=3))}
    assert taken <= {array.tobytes() for array in rows(samples(folder))}
    other = samples(folder, limit=4, seed=4)
    assert taken != {array.tobytes() for array in rows(other)}
    assert found.sha256 != other.sha256
    assert found.sha256 == samples(folder, limit=4, seed=3).sha256


def test_a_folder_is_read_lazily(tmp_path):
    folder = images(tmp_path, 3)
    (folder / "001.png").write_bytes(b"broken")
    found = iter(samples(folder))
    next(found)
    with pytest.raises(InputError, match=r"001\.png"):
        next(found)


@pytest.mark.parametrize("shape", [(3, 6, 8), (1, 3, 6, 8)])
def test_a_folder_of_arrays(tmp_path, shape):
    arrays = np.random.default_rng(0).standard_normal((2, *shape))
    for index, array in enumerate(arrays):
        np.save(tmp_path / f"{index}.npy", array)
    found = np.concatenate(rows(samples(tmp_path)))
    np.testing.assert_array_equal(found, arrays.reshape(2, 3, 6, 8).astype(np.float32))


def test_arrays_of_several_inputs(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    y = np.arange(6).reshape(3, 2)
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=x, y=y, more=np.zeros(7))
    found = samples(path, tensor(1, 4, "w"), tensor("n", 2, name="y", dtype="int64"))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(np.concatenate(rows(found)), x.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate(rows(found, "y")), y)


@pytest.mark.parametrize("name", ["x.npy", "other.npz"])
def test_one_array_is_that_of_the_one_input(tmp_path, name):
    array = np.random.default_rng(0).integers(0, 9, (4, 3))
    path = tmp_path / name
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, whatever=array)
    found = samples(path, tensor("n", 3, name="input"))
    assert found.description == f"file {path}: 4 samples"
    np.testing.assert_array_equal(np.concatenate(rows(found, "input")), array)
    assert rows(found, "input")[0].dtype == np.float32


@given(count=st.integers(1, 9), batch=st.integers(1, 5), limit=st.integers(1, 12))
def test_every_sample_is_in_a_batch(tmp_path_factory, count, batch, limit):
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, np.arange(count, dtype=np.float32)[:, None])
    found = samples(path, tensor(batch, 1), limit=limit)
    arrays = rows(found)
    used = min(count, limit)
    assert len(arrays) == found.count == -(-used // batch)
    assert all(array.shape == (batch, 1) for array in arrays)
    assert len(set(np.concatenate(arrays).ravel())) == used


def test_one_sample_is_named_so(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 3)))
    assert samples(tmp_path / "x.npy", tensor(1, 3)).description.endswith(": 1 sample")


BAD_ARRAYS = {
    "shape": (np.zeros((2, 3, 7, 8)), "2x3x7x8"),
    "rank": (np.zeros((2, 3)), "2x3"),
    "empty": (np.zeros((0, 3, 6, 8)), "no samples"),
    "scalar": (np.zeros(()), "no samples"),
    "nan": (np.full((1, 3, 6, 8), np.nan), "not finite"),
    "infinite": (np.full((1, 3, 6, 8), -np.inf), "not finite"),
    "text": (np.full((1, 3, 6, 8), "a"), "type <U1"),
    "pickle": (np.full((1, 3, 6, 8), {}, dtype=object), "pickle"),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(tmp_path, name, suffix):
    array, message = BAD_ARRAYS[name]
    path = tmp_path / f"data{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez(path, x=array)
    with pytest.raises(InputError, match=message):
        samples(path)


def test_a_later_sample_that_is_not_finite_is_found(tmp_path):
    array = np.zeros((3, 2))
    array[2, 1] = np.inf
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match="not finite"):
        list(samples(tmp_path / "x.npy", tensor(1, 2)))


def test_bad_sources(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    (tmp_path / "void.npz").write_bytes(b"")
    (tmp_path / "none.npy").write_bytes(b"")
    np.savez(tmp_path / "lengths.npz", x=np.zeros((2, 3)), y=np.zeros((3, 3)))
    np.savez(tmp_path / "missing.npz", x=np.zeros((2, 3)), z=np.zeros((3, 3)))
    images(tmp_path / "images", 1)
    np.save(tmp_path / "floats.npy", np.zeros((2, 3)))
    two = tensor(1, 3), tensor(1, 3, name="y")
    for source, inputs, message in [
        ("absent", (IMAGE,), "no file or folder"),
        ("empty", (IMAGE,), "no images"),
        ("broken.npz", (IMAGE,), "no archive"),
        ("void.npz", (IMAGE,), "no archive"),
        ("none.npy", (IMAGE,), "no array"),
        ("images/000.png", (IMAGE,), "into a folder"),
        ("lengths.npz", two, "2 of x, 3 of y"),
        ("missing.npz", two, "no array for y; it holds x, z"),
        ("images", two, "2 inputs"),
        ("floats.npy", two, "none for x, y"),
        ("floats.npy", (tensor(1, 3, dtype="int64"),), "takes int64"),
        ("floats.npy", (tensor(1, 3), tensor(2, 3, name="y")), "batches of 1 and 2"),
        ("floats.npy", (tensor(),), "single number"),
    ]:
        with pytest.raises(InputError, match=message):
            samples(tmp_path / source, *inputs)
    with pytest.raises(InputError, match="nx5x6x8"):
        list(samples(tmp_path / "images", tensor("n", 5, 6, 8)))
    with pytest.raises(InputError, match=r"open dimensions: 1x3x\?x\?"):
        samples("random", tensor(1, 3, "h", "w"))
    with pytest.raises(InputError, match="0 samples"):
        samples("random", limit=0)


def test_what_photos_are_normalised_by_is_said(tmp_path):
    folder = images(tmp_path, 1)
    (note,) = samples(folder).notes
    assert "resized to 6x8" in note
    assert "ImageNet's, and are assumed" in note
    asked = choose(Pixels(mean=(0,), std=(1,), said_by="the options"))
    found = samples(folder, pixels=asked)
    assert found.notes[0].endswith("mean 0, deviation 1, as the options say.")
    with Image.open(folder / "000.png") as image:
        wanted = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(rows(found)[0], wanted, rtol=1e-6)
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 6, 8)))
    assert samples(tmp_path / "x.npy").notes == ()
    for source in ("random", tmp_path / "x.npy"):
        with pytest.raises(InputError, match="for photos, and there are none"):
            samples(source, pixels=asked)


def test_an_input_of_whole_numbers_gets_pixels(tmp_path):
    folder = images(tmp_path, 1)
    found = samples(folder, tensor("n", 3, 6, 8, dtype="uint8"))
    with Image.open(folder / "000.png") as image:
        np.testing.assert_array_equal(rows(found)[0][0], np.asarray(image).transpose(2, 0, 1))
    assert "given as 0...255" in found.notes[0]


def test_whole_numbers_are_not_wrapped(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[300]]))
    with pytest.raises(InputError, match="int8"):
        list(samples(tmp_path / "x.npy", tensor(1, 1, dtype="int8")))


def test_a_tree_is_not_looked_through_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeattn.precision.calibration._MOST_FILES", 3)
    images(tmp_path / "a" / "b", 2)
    with pytest.raises(InputError, match="more than 3 files"):
        samples(tmp_path)


def test_a_folder_called_random_is_not_taken_for_random_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "random", 1)
    assert "give ./random" in samples("random").notes[0]
    assert samples("./random").description == "folder ./random: 1 sample"
