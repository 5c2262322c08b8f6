"""Files inside packages, imported as their authors do."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.base.importing import with_imports
from edgeattn.models.build import ModelRequest, build

BLOCKS = """
    from torch import nn
    class Gate(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(width, width, 1)
        def forward(self, x):
            return self.conv(x).sigmoid() * x
"""
MAKE = """
    {imports}
    def make():
        return Gate({width})
"""


@pytest.fixture(autouse=True)
def paths(monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))


def tree(root, **files):
    """Writes files, of which `a__b` is a/b.py and `a__init` is a/__init__.py."""
    for name, text in files.items():
        *folders, stem = name.split("__")
        path = root.joinpath(*folders, f"{'__init__' if stem == 'init' else stem}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def ask(path, width=3):
    return build(ModelRequest(source=f"{path}:make", shapes=((1, width, 8, 8),))).module


def make(imports, width=3):
    return textwrap.dedent(MAKE).format(imports=imports, width=width)


LAYOUTS = {
    "relative": ({"p__init": "", "p__blocks": BLOCKS}, "p__net", "from .blocks import Gate"),
    "absolute": ({"p__init": "", "p__blocks": BLOCKS}, "p__net", "from p.blocks import Gate"),
    "beside it": ({"p__init": "", "p__blocks": BLOCKS}, "p__net", "from blocks import Gate"),
    "no __init__, relative": ({"p__blocks": BLOCKS}, "p__net", "from .blocks import Gate"),
    "no __init__, absolute": ({"p__blocks": BLOCKS}, "p__net", "from p.blocks import Gate"),
    "from another folder": ({"utils__blocks": BLOCKS}, "p__net", "from utils.blocks import Gate"),
    "two levels up": (
        {"p__deep__keep": "", "p__blocks": BLOCKS}, "p__deep__net", "from ..blocks import Gate",
    ),
    "a src folder": (
        {"src__lib__init": "", "src__lib__blocks": BLOCKS}, "src__lib__net",
        "from lib.blocks import Gate",
    ),
    "its package imports it": (
        {"p__init": "from .net import make\nfrom .blocks import Gate", "p__blocks": BLOCKS},
        "p__net", "from p.blocks import Gate",
    ),
    "a package of a library's name": (
        {"torch__init": "", "torch__blocks": BLOCKS}, "torch__net", "from .blocks import Gate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_file_imports_is_found_without_running_it(tmp_path, monkeypatch, layout):
    files, net, imports = LAYOUTS[layout]
    tree(tmp_path, **files, **{net: make(imports)}, other="A = 1")
    monkeypatch.chdir(tmp_path)
    path = tmp_path.joinpath(*net.split("__")).with_suffix(".py")
    found = with_imports(path)
    assert found[0] == path
    assert [one.name for one in found].count("blocks.py") == 1
    assert "other.py" not in {one.name for one in found}
    relative = with_imports(path.relative_to(tmp_path))
    assert [one.resolve() for one in relative] == [one.resolve() for one in found]
    assert not any(one.is_absolute() for one in relative)


def test_of_a_library_the_file_alone():
    path = Path(pytest.__file__)
    assert with_imports(path) == [path]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("from_root", [True, False])
def test_where_imports_begin(tmp_path, monkeypatch, layout, from_root):
    files, name, imports = LAYOUTS[layout]
    tree(tmp_path, **files, **{name: make(imports)})
    monkeypatch.chdir(tmp_path if from_root else tmp_path.parent)
    path = tmp_path / f"{name.replace('__', '/')}.py"
    module = ask(path.relative_to(tmp_path) if from_root else path)
    assert sys.modules[type(module).__module__].__file__.startswith(str(tmp_path))


def test_packages_of_the_same_name_are_not_mixed_up(tmp_path):
    for width in (3, 5):
        files = {"models__init": "", "models__blocks": BLOCKS, "utils__init": f"WIDTH = {width}"}
        text = "from torch import nn\nimport utils\nfrom models.blocks import Gate\n"
        text += "def make():\n    return Gate(utils.WIDTH)\n"
        tree(tmp_path / str(width), **files, models__net=text)
    for width in (3, 5, 3):
        assert ask(tmp_path / f"{width}/models/net.py", width).conv.in_channels == width


def test_what_lies_there_hides_no_library_afterwards(tmp_path, monkeypatch):
    tree(tmp_path, wave="MINE = True", p__init="", p__blocks=BLOCKS)
    ask(tree(tmp_path, p__net=make("from p.blocks import Gate")) / "p/net.py")
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert not hasattr(importlib.import_module("wave"), "MINE")


def test_a_library_is_not_taken_from_a_folder_above(tmp_path):
    tree(tmp_path, timm__notes="", json__init="1 / 0", p__blocks=BLOCKS)
    imports = "import timm.layers, json; from blocks import Gate"
    ask(tree(tmp_path, p__net=make(imports)) / "p/net.py")
    assert "site-packages" in sys.modules["timm"].__file__


def test_a_file_is_run_again_only_when_it_has_changed(tmp_path):
    text = "import p.kept\np.kept.RUNS.append(1)\n" + make("from .blocks import Gate")
    path = (
        tree(tmp_path, p__init="", p__kept="RUNS = []", p__blocks=BLOCKS, p__net=text) / "p/net.py"
    )
    ask(path)
    ask(path)
    assert sys.modules["p.kept"].RUNS == [1]
    path.write_text(text.replace("Gate(3)", "Gate(4)"))
    assert ask(path, 4).conv.in_channels == 4


def test_a_package_that_fails_is_left_out_where_the_file_does_not_need_it(tmp_path):
    tree(tmp_path, p__init="1 / 0", p__blocks=BLOCKS)
    ask(tree(tmp_path, p__net=make("from blocks import Gate")) / "p/net.py")
    with pytest.raises(InputError, match=r"net\.py cannot be imported: .* \(.*__init__\.py:1\)"):
        ask(tree(tmp_path, p__other_net=make("from .blocks import Gate")) / "p/other_net.py")


def test_what_is_not_installed_is_named(tmp_path):
    path = tree(tmp_path, p__net=make("import nowhere.at_all")) / "p/net.py"
    with pytest.raises(
        InputError, match=r"net\.py:2 cannot be imported: .*\nInstall nowhere where"
    ):
        ask(path)
