"""Weights files: what is read, what is refused, and that nothing in them ever runs."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from edgeattn.base.errors import InputError
from edgeattn.models import weights

from .conftest import Evil, Gain, Own, randomise


@pytest.fixture
def given():
    return randomise(Own(), seed=5).state_dict()


def same(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def wrapped(state):
    return {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda state, path: torch.save(wrapped(state), path),
        lambda state, path: torch.save({"model": state}, path),
        lambda state, path: torch.save({f"_orig_mod.{k}": v for k, v in state.items()}, path),
        save_file,
    ],
    ids=["zip", "legacy", "wrapped", "model", "compiled", "safetensors"],
)
def test_forms(tmp_path, own, given, save):
    path = tmp_path / "weights.bin"  # the content decides, not the name
    save(given, path)
    assert not same(own, given)
    assert weights.load(own, path) == ()
    assert same(own, given)


def test_averaged_weights_are_preferred_and_that_is_said(tmp_path, own, given):
    path = tmp_path / "w.pt"
    torch.save({"state_dict": Own().state_dict(), "state_dict_ema": given}, path)
    assert "state_dict_ema" in weights.load(own, path)[0]
    assert same(own, given)


def test_a_count_of_batches_may_be_missing(tmp_path, own, given):
    path = tmp_path / "w.pt"
    torch.save({k: v for k, v in given.items() if "num_batches" not in k}, path)
    assert weights.load(own, path) == ()


def test_a_backbone_under_attention(tmp_path, own, given):
    path = tmp_path / "w.pt"
    torch.save(given, path)
    own.add_module("attention", Gain(3))
    (note,) = weights.load(own, path, attention=["attention.scale"])
    assert note.endswith("holds the backbone only: the attention is freshly initialised")
    torch.save({**given, "attention.scale": torch.zeros(3)}, path)
    assert weights.load(own, path, attention=["attention.scale"]) == ()
    assert not own.attention.scale.any()


def test_some_attention_but_not_all_is_refused(tmp_path, own, given):
    own.add_module("attention", Gain(3))
    own.add_module("attention2", Gain(3))
    path = tmp_path / "w.pt"
    torch.save({**given, "attention.scale": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"missing in the file \(1\):\n    attention2\.scale"):
        weights.load(own, path, attention=["attention.scale", "attention2.scale"])


def test_differences_are_listed_and_nothing_is_loaded(tmp_path, own, given):
    path = tmp_path / "w.pt"
    before = {key: value.clone() for key, value in own.state_dict().items()}
    state = {**given, "stranger": torch.zeros(1), "stem.weight": torch.zeros(8, 3, 5, 5)}
    del state["one.0.c1.bias"]
    torch.save(state, path)
    with pytest.raises(InputError) as raised:
        weights.load(own, path)
    text = str(raised.value)
    assert "one.0.c1.bias" in text
    assert "stranger" in text
    assert "stem.weight is (8, 3, 5, 5), the model's is (8, 3, 3, 3)" in text
    assert "--num-classes" not in text
    assert same(own, before)


def test_only_the_first_differences_are_listed(tmp_path, own):
    path = tmp_path / "w.pt"
    torch.save({f"k{i}": torch.zeros(1) for i in range(9)}, path)
    with pytest.raises(
        InputError, match=r"unknown to the model \(9\):(\n    k\d){5}\n    and 4 more"
    ):
        weights.load(own, path)


def test_another_number_of_classes_is_named(tmp_path, own, given):
    path = tmp_path / "w.pt"
    torch.save({**given, "head.weight": torch.zeros(7, 16), "head.bias": torch.zeros(7)}, path)
    with pytest.raises(InputError, match="--num-classes 7"):
        weights.load(own, path)


@pytest.mark.parametrize(
    "save",
    [
        lambda thing, path: torch.save({"x": thing}, path),
        lambda thing, path: torch.save({"x": thing}, path, _use_new_zipfile_serialization=False),
        lambda thing, path: path.write_bytes(pickle.dumps(thing)),
    ],
    ids=["zip", "legacy", "pickle"],
)
def test_a_pickle_that_would_run_code_leaves_no_trace(tmp_path, own, save):
    path, trace = tmp_path / "w.pt", tmp_path / "trace"
    save(Evil(trace), path)
    with pytest.raises(InputError, match=r"would run code when read.*refused"):
        weights.load(own, path)
    assert not trace.exists()


def test_that_pickle_does_run_where_it_is_let(tmp_path):
    torch.save({"x": Evil(tmp_path / "trace")}, tmp_path / "w.pt")
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "trace").exists()


def test_a_whole_module_is_refused(tmp_path, own):
    torch.save(own, tmp_path / "w.pt")
    with pytest.raises(InputError, match="would run code"):
        weights.load(own, tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no weights"),
        (b"hello world, this is text", "holds no weights"),
        (b"PK\x03\x04 but no archive", "holds no weights"),
        (b"\xff" * 8 + b'{"x": 1}', "no whole safetensors"),
        (None, "no file of weights"),
    ],
    ids=["empty", "text", "archive", "safetensors", "absent"],
)
def test_foreign_files(tmp_path, own, content, message):
    path = tmp_path / "w.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        weights.load(own, path)


@pytest.mark.parametrize("save", [torch.save, save_file])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_files_cut_short(tmp_path, own, given, save, kept):
    path = tmp_path / "w.bin"
    save(given, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError):
        weights.load(own, path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {}, torch.zeros(2)])
def test_no_state_dict(tmp_path, own, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        weights.load(own, tmp_path / "w.pt")


def test_a_folder(tmp_path, own):
    with pytest.raises(InputError):
        weights.load(own, tmp_path)
