"""Models in wrappers, and what is no plain torch model."""

import copy
import textwrap

import pytest
import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.models import plain
from edgeattn.models.build import ModelRequest, build
from edgeattn.models.capture import trace


class Twice(nn.Module):
    """A model of two parts."""

    def __init__(self, one, two):
        super().__init__()
        self.one, self.two = one, two

    def forward(self, *inputs):
        return self.one(*inputs) + self.two(*inputs)


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (nn.DataParallel, "module."),
        (torch.optim.swa_utils.AveragedModel, "module."),
        (torch.compile, "_orig_mod."),
        (lambda model: nn.DataParallel(torch.compile(model)), "module._orig_mod."),
    ],
)
def test_wrappers_are_taken_off(own, wrap, key):
    module, notes = plain.unwrapped(wrap(own))
    assert type(module) is type(own)
    assert len(notes) == key.count(".")
    inner = Twice(nn.Sequential(wrap(own), nn.Identity()), own)
    module, notes = plain.unwrapped(inner)
    assert module is inner
    assert type(module.one[0]) is type(own)
    assert all("at one.0 was taken off" in note for note in notes)


def test_a_part_with_two_names_is_bare_under_both(own):
    wrapped = nn.DataParallel(own)
    module, *_ = plain.unwrapped(Twice(wrapped, wrapped))
    assert module.one is module.two is own


def test_ddp_is_taken_off(own, tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        assert plain.unwrapped(nn.parallel.DistributedDataParallel(own))[0] is own
    finally:
        torch.distributed.destroy_process_group()


def test_a_model_that_compiles_itself_runs_as_it_is_written(own):
    own.one.compile()
    assert plain.unwrapped(own)[0].one._compiled_call_impl is None


def test_a_wrapper_in_a_users_file(tmp_path):
    text = """
        from torch import nn
        def make():
            return nn.DataParallel(nn.Sequential(nn.Conv2d(3, 2, 1)))
    """
    (tmp_path / "net.py").write_text(textwrap.dedent(text))
    built = build(ModelRequest(source=f"{tmp_path / 'net.py'}:make", shapes=((1, 3, 4, 4),)))
    assert list(built.module.state_dict()) == ["0.weight", "0.bias"]
    assert built.notes == ("DataParallel was taken off the model",)


def test_an_open_batch_of_a_forward_with_any_number_of_inputs():
    model = Twice(nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)).eval()
    program = trace(model, (torch.zeros(1, 3, 4, 4),), dynamic_batch=True)
    assert program.module()(torch.zeros(5, 3, 4, 4)).shape[0] == 5


def quantised():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 2))
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


def without_values():
    with torch.device("meta"):
        return nn.Sequential(nn.Conv2d(3, 4, 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.script(nn.Conv2d(3, 4, 1)), r"The model \(Conv2d\) is TorchScript"),
        (
            lambda: Twice(torch.jit.trace(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 4, 4)), None),
            r"one \(Conv2d\) is TorchScript.*\n.*leave torch.jit.script, torch.jit.trace",
        ),
        (quantised, r"2 \(Linear\) is quantised by torch.*\n.*edgeattn cast"),
        (
            torch.ao.quantization.FakeQuantize,
            r"The model \(FakeQuantize\) is quantised",
        ),
        (without_values, "parameter 0.weight is on the device 'meta'"),
    ],
)
def test_what_is_no_plain_model_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        plain.check(make())


def test_lazy_modules_pass(own):
    plain.check(nn.Sequential(nn.LazyConv2d(3, 1)))
    plain.check(copy.deepcopy(own))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("Net(), 3", r"gave tuple of Net, int\nReturn the model alone: .*f\(\)\[0\]"),
        ("{'model': Net()}", r"gave dict of Net\nReturn the model alone: .*f\(\)\['model'\]"),
        ("Net().state_dict()", r"gave OrderedDict of Tensor, Tensor\nThose are weights"),
        ("Net", r"gave the class Net\nCall it: return Net\(\)"),
        ("torch.export.export(Net(), (torch.zeros(1, 3),))", "Save it, and give the file"),
        ("torch.zeros(3).cuda()", "Build it on the CPU"),
    ],
)
def test_what_a_factory_may_not_return(tmp_path, returned, message):
    text = "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self):\n"
    text += f"        super().__init__(3, 2)\ndef f():\n    return {returned}\n"
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(InputError, match=message):
        build(ModelRequest(source=f"{tmp_path / 'net.py'}:f", shapes=((1, 3),)))


def test_files_that_are_no_source(tmp_path):
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 4, 1)), tmp_path / "scripted.pt")
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "weights.pth")
    (tmp_path / "net.onnx").write_bytes(b"")
    for name, message in {
        "scripted.pt": "is TorchScript",
        "weights.pth": r"holds weights, .*\n.*--weights .*weights\.pth",
        "net.onnx": r"\n.*edgeattn optimize",
    }.items():
        with pytest.raises(InputError, match=message):
            build(ModelRequest(source=str(tmp_path / name)))


def test_the_module_of_a_traced_program_is_in_eval_mode_already(tmp_path):
    text = """
        import torch
        from torch import nn
        def make():
            return torch.export.export(nn.ReLU(), (torch.zeros(1, 3),)).module()
    """
    (tmp_path / "net.py").write_text(textwrap.dedent(text))
    built = build(ModelRequest(source=f"{tmp_path / 'net.py'}:make", shapes=((1, 3),)))
    assert not built.params


def test_weights_saved_inside_of_a_wrapper(tmp_path):
    """Keys have the wrapper's prefix in their middle, which prefixes before them do not tell."""
    text = """
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = nn.DataParallel(nn.Conv2d(3, 2, 1))
                self.head = nn.Conv2d(2, 2, 1)
            def forward(self, x):
                return self.head(self.inner(x))
    """
    (tmp_path / "net.py").write_text(textwrap.dedent(text))
    source, shapes = f"{tmp_path / 'net.py'}:Net", ((1, 3, 4, 4),)
    made = build(ModelRequest(source=source, shapes=shapes, seed=1)).module.state_dict()
    wrapped = {key.replace("inner.", "inner.module."): value for key, value in made.items()}
    for number, state in enumerate((made, wrapped, {"state_dict": wrapped})):
        weights = tmp_path / f"{number}.pth"
        torch.save(state, weights)
        built = build(ModelRequest(source=source, shapes=shapes, weights=weights))
        for key, value in built.module.state_dict().items():
            assert torch.equal(value, made[key])
