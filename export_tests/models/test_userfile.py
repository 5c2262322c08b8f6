"""Models from a user's own file, and what is said when that fails."""

import importlib
import sys
import textwrap

import pytest
import torch

from edgeattn.base.errors import InputError
from edgeattn.models.build import AttentionRequest, ModelRequest, build
from edgeattn.options.shapes import Shape

MODEL = """
    from torch import nn
    from blocks import Body

    def small(width: int = 4, depth=2, name: str = "x", num_classes=3, act: float | None = None):
        assert name != "bad"
        model = Body(width, depth, num_classes)
        model.said = (width, depth, name, act)
        return model
"""
BODY = """
    from torch import nn
    class Body(nn.Module):
        def __init__(self, width, depth, classes):
            super().__init__()
            self.stem = nn.Conv2d(3, width, 3, MARK)
            self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(depth))
            self.head = nn.Linear(width, classes)
        def forward(self, x):
            x = self.stem(x)
            for layer in self.layers:
                x = layer(x).relu() + x
            return self.head(x.mean((2, 3)))
"""


def folder(path, mark):
    path.mkdir(exist_ok=True)
    (path / "model.py").write_text(textwrap.dedent(MODEL))
    (path / "blocks.py").write_text(textwrap.dedent(BODY.replace("MARK", mark)))
    return path / "model.py"


def ask(source, **options):
    return build(ModelRequest(source=str(source), shapes=((1, 3, 16, 16),), **options))


def file(tmp_path, text):
    path = tmp_path / "one.py"
    path.write_text(textwrap.dedent(text))
    return path


def test_arguments_are_typed(tmp_path):
    path = folder(tmp_path, "2")
    built = ask(
        f"{path}:small",
        model_args={"width": "6", "depth": "1", "name": "7", "act": "0.5"},
        num_classes=9,
    )
    assert built.module.said == (6, 1, "7", 0.5)
    assert built.module(*built.inputs).shape == (1, 9)
    assert built.source == f"{path}:small"
    assert not any(p.requires_grad for p in built.module.parameters())


def test_attention_in_it(tmp_path):
    built = ask(f"{folder(tmp_path, '2')}:small", attentions=(AttentionRequest(name="se"),))
    assert [(site.path, site.target) for site in built.sites] == [("attention", "layers.1")]


def test_a_model_that_the_file_keeps_is_left_as_it_is(tmp_path):
    path = file(
        tmp_path,
        """
        from torch import nn
        KEPT = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        def make(): return KEPT
        """,
    )
    first = ask(f"{path}:make", attentions=(AttentionRequest(name="se", at="1"),))
    weights = [one.clone() for one in first.module[0].parameters()]
    for one in first.module.parameters():
        one.data = one.new_empty(0)
    second = ask(f"{path}:make")
    assert [name for name, _ in second.module.named_children()] == ["0", "1"]
    assert all(map(torch.equal, second.module[0].parameters(), weights))


def test_neighbours_of_the_same_name_are_not_mixed_up(tmp_path):
    one, two = folder(tmp_path / "a", "1"), folder(tmp_path / "b", "2")
    assert ask(f"{one}:small").module.stem.stride == (1, 1)
    assert ask(f"{two}:small").module.stem.stride == (2, 2)


LATE = """
    import sys
    from torch import nn
    class Late(nn.Module):
        def forward(self, x):
            import {name}
            return x * {name}.FACTOR
    def make():
        {also}
        return Late()
"""


@pytest.mark.parametrize("also", ["pass", "sys.path.pop(0)", "sys.path[:] = sys.path[1:-1]"])
def test_a_forward_may_import_what_lies_beside_its_file(tmp_path, monkeypatch, also):
    monkeypatch.setattr("sys.path", list(sys.path))
    built = []
    for factor in (2, 3):
        home, name = tmp_path / str(factor), f"late_neighbour_{factor}"
        home.mkdir()
        (home / f"{name}.py").write_text(f"FACTOR = {factor}\n")
        built.append(ask(f"{file(home, LATE.format(name=name, also=also))}:make"))
    for name in ("late_neighbour_2", "late_neighbour_3"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for factor, model in zip((2, 3), built, strict=True):
        torch.testing.assert_close(model.module(*model.inputs), factor * model.inputs[0])


def test_a_file_beside_it_hides_no_library_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "wave.py").write_text("MINE = True\n")
    ask(f"{file(tmp_path, LATE.format(name='math', also='pass').replace('FACTOR', 'pi'))}:make")
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert not hasattr(importlib.import_module("wave"), "MINE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\n\n1 / 0\n", r"one\.py:3 cannot be imported: ZeroDivisionError"),
        ("import torch\ndef f(:\n", r"one\.py:2 cannot be imported: SyntaxError"),
        ("import nothing_of_the_sort\n", r"one\.py:1 cannot be imported: ModuleNotFoundError"),
        ("def f():\n    return g()\ndef g():\n    raise KeyError('w')\n", r":4 fails in f\(\)"),
        ("import sys\ndef f():\n    sys.exit(3)\n", r":3 fails in f\(\): SystemExit"),
        ("def f():\n    return 3\n", "must return a torch.nn.Module: it gave int"),
        ("def fff():\n    pass\n", "no function or class named 'f'"),
        ("import torch\nf = torch.nn.ReLU()\n", "is a model already, not what builds one"),
        (
            "def f(width, *, depth, act=None):\n    pass\n",
            r"f needs width, depth\nGive: --model-arg width=… --model-arg depth=…",
        ),
    ],
)
def test_files_that_fail(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        ask(f"{file(tmp_path, text)}:f")


def test_arguments_that_do_not_fit(tmp_path):
    path = folder(tmp_path, "1")
    with pytest.raises(InputError, match=r"takes no argument 'widht'\nDid you mean width\?"):
        ask(f"{path}:small", model_args={"widht": "3"})
    with pytest.raises(InputError, match="width must be int, not 'wide'"):
        ask(f"{path}:small", model_args={"width": "wide"})
    with pytest.raises(InputError, match=r"model\.py:6 fails in small\(\): AssertionError"):
        ask(f"{path}:small", model_args={"name": "bad"})
    with pytest.raises(InputError, match="takes no num_classes"):
        ask(f"{file(tmp_path, 'def f(): pass')}:f", num_classes=3)


def test_sources_that_are_incomplete(tmp_path):
    path = folder(tmp_path, "1")
    with pytest.raises(InputError, match=r"model\.py:small"):
        ask(path)
    with pytest.raises(InputError, match="there is no file"):
        ask(f"{tmp_path / 'absent.py'}:f")
    with pytest.raises(InputError, match="--pretrained"):
        ask(f"{path}:small", pretrained=True)


def test_a_file_alone_says_what_is_in_it(tmp_path):
    path = file(tmp_path, "".join(f"def f{index}(): pass\n" for index in range(9)))
    with pytest.raises(InputError, match=r"one\.py:f0 \(it has f0, f1, .*, f7, …\)\."):
        ask(path)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "gives no tensor"),
        ("[None, {}]", "gives no tensor"),
        ("(x, {'a': 3})", "gives a value of type int"),
    ],
)
def test_what_the_forward_gives_must_be_tensors(tmp_path, returned, message):
    text = f"""
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                return {returned}
    """
    with pytest.raises(InputError, match=message):
        ask(f"{file(tmp_path, text)}:Net")


def test_a_model_of_several_inputs_wants_as_many_shapes(tmp_path):
    text = """
        from torch import nn
        class Net(nn.Module):
            def forward(self, x, y):
                return x + y, None
    """
    source = f"{file(tmp_path, text)}:Net"
    with pytest.raises(InputError, match=r"does not take 1 input: .*\nGive --shape once per input"):
        ask(source)
    built = build(ModelRequest(source=source, shapes=((2, 3), (2, 1))))
    assert [tuple(value.shape) for value in built.inputs] == [(2, 3), (2, 1)]


def test_every_module_is_in_eval_mode_whatever_the_model_thinks(tmp_path):
    text = """
        from torch import nn
        class Net(nn.Sequential):
            def __init__(self):
                super().__init__(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
            def eval(self):
                return self
    """
    built = ask(f"{file(tmp_path, text)}:Net")
    assert not any(module.training for module in built.module.modules())


def test_a_class_with_any_arguments(tmp_path):
    text = """
        from torch import nn
        class Net(nn.Conv2d):
            def __init__(self, **kw):
                super().__init__(3, **kw)
    """
    built = ask(f"{file(tmp_path, text)}:Net", model_args={"out_channels": "2", "kernel_size": "1"})
    assert built.module(torch.zeros(1, 3, 4, 4)).shape == (1, 2, 4, 4)


CAMERA = """
    import torch
    from torch import nn
    class Camera(nn.Module):
        def __init__(self, strict: bool = True):
            super().__init__()
            self.conv, self.strict = nn.Conv2d(3, 2, 1), strict
        def forward(self, image):
            if self.strict and image.dtype != torch.uint8:
                raise TypeError(f"no bytes of a camera: {image.dtype}")
            return self.conv(image.permute(0, 3, 1, 2).float() / 255)
"""


def test_inputs_of_the_type_that_is_asked(tmp_path):
    source = f"{file(tmp_path, CAMERA)}:Camera"
    built = build(ModelRequest(source=source, shapes=(Shape((1, 8, 8, 3), "uint8"),)))
    (image,) = built.inputs
    assert image.dtype == torch.uint8
    assert image.max() > 200
    assert not built.notes
    with pytest.raises(InputError, match=r"1x8x8x3, in its root: .*\n.*type, as in --shape 1x224"):
        build(ModelRequest(source=source, shapes=((1, 8, 8, 3),)))


def test_a_model_that_makes_floats_itself_is_told_of(tmp_path):
    request = ModelRequest(
        source=f"{file(tmp_path, CAMERA)}:Camera",
        shapes=((1, 8, 8, 3),),
        model_args={"strict": "false"},
    )
    (note,) = build(request).notes
    assert note.endswith("say so: --shape 1x8x8x3:uint8")


@pytest.mark.parametrize(
    ("forward", "drawn"),
    [("x / size.view(-1, 1)", {1}), ("x[:, :2] * self.table[size]", {0, 1}), ("x * size", {0, 1})],
)
def test_whole_numbers_are_such_that_the_model_runs(tmp_path, forward, drawn):
    text = f"""
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Parameter(torch.ones(2, 2))
            def forward(self, x, size):
                return {forward}
    """
    shapes = (Shape((8, 8)), Shape((8,), "int64"))
    built = build(ModelRequest(source=f"{file(tmp_path, text)}:Net", shapes=shapes))
    assert set(built.inputs[1].tolist()) == drawn
