"""Weights files: what is read, what is refused, and that nothing in them ever runs."""

import argparse
import collections
import datetime as dt
import enum
import os
import pickle
import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.models import weights

from .conftest import Evil, Gain, Own, randomise


@pytest.fixture
def given():
    return randomise(Own(), seed=5).state_dict()


def same(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda state, path: save_pickle({k: v.numpy() for k, v in state.items()}, path, 2),
        lambda state, path: save_pickle({k: v.numpy() for k, v in state.items()}, path, 5),
        save_file,
    ],
    ids=["zip", "legacy", "numpy-2", "numpy-5", "safetensors"],
)
def test_forms(tmp_path, own, given, save):
    path = tmp_path / "weights.bin"  # the content decides, not the name
    save(given, path)
    assert not same(own, given)
    assert weights.load(own, path) == ()
    assert same(own, given)


def save_pickle(thing, path, protocol):
    path.write_bytes(pickle.dumps(thing, protocol))


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def load(model, content, path, **how):
    torch.save(content, path)
    return [note.removeprefix(f"{path}: ") for note in weights.load(model, path, **how)]


def counted(*modules):
    return {f"{module}total_ops": torch.zeros(1) for module in modules}


ONE = torch.ones(1)
SETS = {
    "lightning": (
        lambda g, _: {
            "state_dict": {**under("model.", g), "criterion.dice.weight": torch.ones(3)},
            "epoch": 9,
            "loops": {"fit_loop": {"state_dict": {}}},
        },
        "under 'state_dict' were taken, 'model.' was taken off their names",
        "criterion.* (1)",
    ),
    "raw and averaged": (
        lambda g, raw: {"model": raw, "ema": {"module": g, "updates": 3}},
        "the averaged weights under 'ema.module' were taken, not those under 'model'",
        None,
    ),
    "basicsr": (
        lambda g, raw: {"params": raw, "params_ema": g},
        "averaged weights under 'params_ema' were taken, not those under 'params'",
        None,
    ),
    "stylegan": (
        lambda g, raw: {"g": raw, "d": {"w": torch.ones(9)}, "g_ema": under("module.", g)},
        "averaged weights under 'g_ema' were taken, not those under 'g.module'",
        "d.* (1)",
    ),
    "swa": (
        lambda g, _: {"swa_model": {"n_averaged": torch.tensor(3), **under("module.", g)}},
        "averaged weights under 'swa_model' were taken, 'module.' was taken off",
        "n_averaged (1)",
    ),
    "averaged in the same dict": (
        lambda g, raw: under("online_model.", raw) | under("ema_model.", g),
        "not those under 'online_model', 'ema_model.' was taken off their names",
        None,
    ),
    "thop": (
        lambda g, _: {"net": {**g, **counted("", "one.0.c1.")}},
        "the weights under 'net' were taken",
        "*.total_ops (2)",
    ),
    "detector": (
        lambda g, _: {**under("backbone.", g), "neck.w": ONE, "bbox_head.w": ONE},
        "'backbone.' was taken off their names",
        "neck.* (1), bbox_head.* (1)",
    ),
    "chain": (
        lambda g, _: {"a": {"b": [{"checkpoint": under("_orig_mod.module.model.0.", g)}]}},
        "under 'a.b.0.checkpoint' were taken, '_orig_mod.module.model.0.' was taken off",
        None,
    ),
    "two that fit": (
        lambda g, raw: {"generator": g, "other": {"deep": raw}},
        "weights under 'generator' were taken, not those under 'other.deep'",
        None,
    ),
    "student and teacher": (
        lambda g, raw: {"student": under("module.net.", g), "teacher": raw},
        "weights under 'student' were taken, not those under 'teacher', 'module.net.' was taken",
        None,
    ),
    "in parts": (
        lambda g, _: {"parts": {
            name: {k.partition(".")[2]: v for k, v in g.items() if k.startswith(f"{name}.")}
            for name in ("stem", "one", "two", "head")
        }, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        "the weights under 'parts' were taken",
        "optimizer.* (1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_sets_and_prefixes(tmp_path, own, given, name):
    make, taken, left = SETS[name]
    raw = randomise(Own(), seed=6).state_dict()
    if name == "stylegan":
        raw = under("module.", raw)
    notes = load(own, make(given, raw), tmp_path / "w.pt")
    assert same(own, given)
    assert taken in notes[0]
    assert notes[1:] == ([f"left out, as no weights of this model: {left}"] if left else [])


def test_wrappers_inside_of_names(tmp_path, own, given):
    inside = {k.replace("two.", "two.module._orig_mod."): v for k, v in given.items()}
    first, second = load(own, {"state_dict": under("module.", inside)}, tmp_path / "w.pt")
    assert first.startswith("wrappers were taken out of its names: ")
    assert second == "the weights under 'state_dict' were taken"
    assert same(own, given)


def test_averaged_parameters_are_taken_over_the_statistics_of_the_raw_ones(tmp_path, own, given):
    raw = randomise(Own(), seed=6)
    shadow = {name: given[name] for name, _ in raw.named_parameters()}
    content = {"model": raw.state_dict(), "ema": {"shadow": under("module.", shadow), "decay": 0.9}}
    first, second = load(own, content, tmp_path / "w.pt")
    assert first == "the weights under 'model' were taken"
    assert second.startswith("averaged weights under 'ema.shadow.module' were taken over them, but")
    assert second.endswith("(24, the first is one.0.n1.running_mean)")
    assert same(own, {**raw.state_dict(), **shadow})


def test_averaged_weights_that_do_not_fit_are_told(tmp_path, own, given):
    most = {k: v for k, v in given.items() if "head" not in k}
    notes = load(own, {"model": given, "ema": most}, tmp_path / "w.pt")
    assert same(own, given)
    assert notes[0] == "the weights under 'model' were taken"
    assert (
        notes[1] == "averaged weights under 'ema' do not fit, missing in the file (2): head.weight"
    )
    assert notes[2].endswith(f"ema.* ({len(most)})")


def test_the_two_that_openmmlab_swaps(tmp_path, own, given):
    raw = under("module.", randomise(Own(), seed=6).state_dict())
    content = {"state_dict": given, "ema_state_dict": {"steps": torch.tensor(9), **raw}}
    taken, left = load(own, content, tmp_path / "w.pt")
    assert taken == (
        "the averaged weights under 'state_dict' were taken,"
        " not those under 'ema_state_dict.module'"
    )
    assert left == "left out, as no weights of this model: ema_state_dict.* (1)"
    assert same(own, given)


def test_a_prefix_of_the_models(tmp_path, given):
    model = nn.Sequential(nn.Sequential(Own()))
    notes = load(model, {"state_dict": under("module.", given)}, tmp_path / "w.pt")
    assert same(model[0][0], given)
    assert notes[0].endswith(
        "'module.' was taken off their names, '0.0.' was put before their names"
    )
    small = nn.Sequential(nn.Linear(16, 5))  # whose names without their prefix are everybody's
    with pytest.raises(InputError, match="does not fit"):
        load(small, given, tmp_path / "w.pt")


@pytest.mark.parametrize("extra", ["two.2.c1.weight", "stranger.weight", "one.0.aux.weight"])
def test_what_may_be_a_layer_is_not_left(tmp_path, own, given, extra):
    with pytest.raises(InputError, match=rf"unknown to the model \(1\):\n    {extra}"):
        load(own, {"x": under("module.", {**given, extra: torch.ones(2)})}, tmp_path / "w.pt")


def test_the_nearest_set_is_named(tmp_path, own, given):
    ema = {key: value for key, value in given.items() if key != "stem.bias"}
    content = {"other": {"x": torch.ones(3)}, "ema": {"module": ema}}
    with pytest.raises(
        InputError, match=r"nearest are its weights under 'ema\.module'(?s:.*)stem\.bias"
    ):
        load(own, content, tmp_path / "w.pt")


def test_a_buffer_that_the_model_computes_is_left(tmp_path, own, given):
    own.register_buffer("index", torch.arange(3), persistent=False)
    notes = load(own, {**given, "index": torch.arange(3)}, tmp_path / "w.pt")
    assert notes == ["left out, as no weights of this model: index (1)"]


def test_types(tmp_path, own, given):
    path = tmp_path / "w.pt"
    halves = {k: v.half() if v.is_floating_point() else v for k, v in given.items()}
    assert load(own, halves, path) == ["weights of float16 were widened to float32"]
    assert same(own, {k: v.to(given[k].dtype) for k, v in halves.items()})
    doubles = {k: v.double() for k, v in given.items()}  # counts too
    assert load(own, doubles, path) == ["weights of float64 were rounded to float32"]
    sparse = {**given, "head.weight": given["head.weight"].to_sparse()}
    assert load(own, sparse, path) == []
    assert same(own, given)
    given["stem.bias"][1] = float("nan")
    assert load(own, given, path) == ["1 of its weights hold NaN, the first is stem.bias"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.to(torch.int8), "is int8, the model's is float32"),
        (lambda v: v.to(torch.int64), "is int64, the model's is float32"),
        (lambda v: v.to(torch.complex64), "is complex64, the model's is float32"),
        (lambda v: v.to(torch.float8_e4m3fn), "is float8_e4m3fn, the model's is float32"),
        (lambda v: v.to("meta"), "is float32, without values"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "is qint8, quantised"),
        (lambda v: v.to_sparse_csr(), "is float32, sparse_csr, the model's"),
    ],
)
def test_types_that_are_none_of_weights(tmp_path, own, given, change, said):
    with pytest.raises(InputError, match=rf"of another type \(1\):\n    head\.weight {said}"):
        load(own, {**given, "head.weight": change(given["head.weight"])}, tmp_path / "w.pt")


def test_whole_numbers_are_exchanged_where_none_is_lost(tmp_path):
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.zeros(2, dtype=torch.bool))
    state = model.state_dict()
    assert (
        load(model, {**state, "mask": torch.tensor([1, 0], dtype=torch.uint8)}, tmp_path / "w")
        == []
    )
    assert model.mask.tolist() == [True, False]
    with pytest.raises(InputError, match="mask is int64, the model's is bool"):
        load(model, {**state, "mask": torch.tensor([2, 0])}, tmp_path / "w")


class Tagged(enum.Enum):
    ONE = 1


def test_settings_beside_weights(tmp_path, own, given):
    settings = {
        "args": argparse.Namespace(lr=1e-3, out=PurePosixPath("runs/1")),
        "best": np.float64(0.7),
        "when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "seen": collections.defaultdict(list, {PurePosixPath("a"): [np.int64(3)]}),
        "queue": collections.deque([1.0, 2.0], maxlen=2),
        "mean": np.array([0.5, 0.25], dtype=object),
        "random": np.random.default_rng(0),
        "loss": nn.MSELoss,
        "step": slice(1, 2),
    }
    assert load(own, {"model": given, **settings}, tmp_path / "w.pt")[0].startswith(
        "the weights under"
    )
    assert same(own, given)
    del settings["loss"]  # which the older form writes the source of
    torch.save(
        {"model": given, **settings}, tmp_path / "old.pt", _use_new_zipfile_serialization=False
    )
    assert len(weights.load(own, tmp_path / "old.pt")) == 1


def test_arrays_of_numpy(tmp_path, own, given):
    arrays = {key: value.numpy().copy(order="F") for key, value in given.items()}
    arrays["stem.weight"] = arrays["stem.weight"].astype(">f4")
    content = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
    save_pickle(content, tmp_path / "w.pkl", 4)
    (note,) = weights.load(own, tmp_path / "w.pkl")
    assert note.endswith("the weights under 'model' were taken")
    assert same(own, given)
    assert load(randomise(Own()), content, tmp_path / "w.pt") == [
        "the weights under 'model' were taken"
    ]


def test_what_holds_itself_is_read_once(tmp_path, own, given):
    content = {"model": given, "list": []}
    content["self"] = content["list"]
    content["list"].append(content)
    assert len(load(own, content, tmp_path / "w.pt")) == 1
    (tmp_path / "deep.pkl").write_bytes(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")
    with pytest.raises(InputError, match="holds no state dict, but a list"):
        weights.load(own, tmp_path / "deep.pkl")


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
        (bytes(4096), "holds no weights: it is neither"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "a pointer of Git LFS"),
        (b"\xff" * 8 + b"{" * 4096, "no whole safetensors"),
        (b"hello world, this is text", "holds no weights"),
        (b"PK\x03\x04 but no archive", "holds no weights"),
        (b"\xff" * 8 + b'{"x": 1}', "no whole safetensors"),
        (None, "no file of weights"),
    ],
    ids=["empty", "zeros", "lfs", "header", "text", "archive", "safetensors", "absent"],
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


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Tagged.ONE, r"export_tests\.\S*\.Tagged"),
        (bytearray(3), r"builtins\.bytearray"),
        (re.compile("a"), r"re\._compile"),
    ],
)
@pytest.mark.parametrize("form", [True, False])
def test_what_is_refused_is_named(tmp_path, own, given, thing, name, form):
    path = tmp_path / "w.pt"
    torch.save({"model": given, "x": thing}, path, _use_new_zipfile_serialization=form)
    with pytest.raises(InputError, match=rf"would run code when read \({name}\): refused, nothing"):
        weights.load(own, path)


def test_a_later_protocol(tmp_path, own, given):
    torch.save(given, tmp_path / "w.pt", pickle_protocol=4)
    with pytest.raises(InputError, match="a later pickle protocol than torch's own, 2"):
        weights.load(own, tmp_path / "w.pt")


def test_archives_that_are_none_of_weights(tmp_path, own):
    for name, inside in {"script.pt": "constants.pkl", "program.pt2": "archive_format"}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"x/{inside}", b"")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    for name, said in {
        "script.pt": "is a TorchScript archive",
        "program.pt2": r"is a program of torch\.export",
        "arrays.npz": "none that torch.save wrote",
    }.items():
        with pytest.raises(InputError, match=said):
            weights.load(own, tmp_path / name)


def test_an_archive_that_would_unpack_to_more_is_not_unpacked(tmp_path, own, given):
    torch.save(given, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
        packed.writestr("w/data/99", bytes(10_000_000))
    with pytest.raises(InputError, match=r"would unpack to 10,\d{3},\d{3} bytes"):
        weights.load(own, tmp_path / "bomb.pt")


def test_what_is_no_file(tmp_path, own, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path, said in {
        tmp_path: "is a folder",
        tmp_path / "pipe": "is not a regular file",
        Path("/dev/zero"): "is not a regular file",
    }.items():
        with pytest.raises(InputError, match=said):
            weights.load(own, path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "w.pt").write_bytes(b"")
    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match=r"w\.pt cannot be read: Permission denied"):
        weights.load(own, tmp_path / "w.pt")
