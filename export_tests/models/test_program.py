""".pt2 files: a round trip, and what is refused."""

import contextlib
import io
import pickle
import zipfile

import pytest
import torch

from edgeattn.base.errors import InputError
from edgeattn.models.build import AttentionRequest, ModelRequest, build
from edgeattn.models.program import load

from .conftest import Evil, randomise


@pytest.fixture
def saved(tmp_path, own):
    randomise(own)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(own, (torch.randn(1, 3, 32, 32),)), path)
    return path


def test_round_trip(saved, own):
    built = build(ModelRequest(source=str(saved)))
    assert built.program is not None
    assert [tuple(x.shape) for x in built.inputs] == [(1, 3, 32, 32)]
    assert built.params == sum(p.numel() for p in own.parameters())
    torch.testing.assert_close(built.module(*built.inputs), own(*built.inputs))


def test_a_shape_that_it_was_not_exported_with(saved):
    with pytest.raises(InputError, match="fails on an input of 1x3x16x16"):
        build(ModelRequest(source=str(saved), shapes=((1, 3, 16, 16),)))


@pytest.mark.parametrize(
    "extra",
    [
        {"attentions": (AttentionRequest(name="se"),)},
        {"pretrained": True},
        {"num_classes": 3},
        {"model_args": {"a": "1"}},
    ],
)
def test_what_needs_modules_is_refused(saved, extra):
    with pytest.raises(InputError, match=r"cannot be applied to .*m\.pt2"):
        build(ModelRequest(source=str(saved), **extra))


def test_files_that_are_none(tmp_path, saved, own):
    for name, content in {
        "text.pt2": b"hello",
        "cut.pt2": saved.read_bytes()[:9000],
        "pickle.pt2": pickle.dumps({"a": 1}),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"no torch\.export program"):
            load(tmp_path / name)
    torch.save(own.state_dict(), tmp_path / "state.pt2")
    with pytest.raises(InputError, match=r"no torch\.export program"):
        load(tmp_path / "state.pt2")
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "absent.pt2")


def altered(path, change):
    """The archive with some members' bytes changed."""
    other = path.with_name("altered.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return other


def test_a_damaged_one(saved):
    path = altered(saved, lambda name, data: b"{" if name.endswith("model.json") else data)
    with pytest.raises(InputError, match="cannot be read"):
        load(path)


def test_pickles_inside_are_not_run(tmp_path, saved):
    trace = tmp_path / "trace"
    buffer = io.BytesIO()
    torch.save(((Evil(trace),), {}), buffer)
    for bad in (buffer.getvalue(), pickle.dumps(((Evil(trace),), {}))):
        path = altered(saved, lambda name, data, bad=bad: bad if "sample_in" in name else data)
        with pytest.raises(InputError, match="would run code"):
            load(path)
        assert not trace.exists()
    with contextlib.suppress(Exception):  # torch's own reader does run it
        torch.export.load(path)
    assert trace.exists()


class Scaled(torch.nn.Module):
    """Boxes of images are brought to the size of each; where a mask says so."""

    def forward(self, image, sizes, mask):
        means = image.float().mean((1, 2)) * sizes.repeat(1, 2)[:, :3]
        return means * mask.unsqueeze(1)


def test_inputs_are_of_the_programs_own_types(tmp_path):
    given = (
        torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        torch.tensor([[640, 480], [80, 60]]),
        torch.tensor([True, False]),
    )
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(Scaled(), given), path)
    image, sizes, mask = build(ModelRequest(source=str(path))).inputs
    assert [value.dtype for value in (image, sizes, mask)] == [value.dtype for value in given]
    assert image.max() > 200  # drawn, and not the zeros that it was traced with
    assert torch.equal(sizes, given[1])  # sizes may be nothing else


class Nested(torch.nn.Module):
    """A model of inputs in a list, and of one by name."""

    def forward(self, pair, *, scale):
        return (pair[0] + pair[1]) * scale


def test_inputs_of_a_program_may_be_nested_and_named(tmp_path):
    pair, scale = [torch.ones(2, 3), torch.zeros(2, 3)], torch.full((3,), 2.0)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(Nested(), (pair,), {"scale": scale}), path)
    built = build(ModelRequest(source=str(path)))
    one, two, factor = built.inputs
    torch.testing.assert_close(built.module(*built.inputs), (one + two) * factor)
