"""An author's own attention: taken as papers write it, and refused with what is wrong and where."""

import re
import textwrap
from pathlib import Path

import pytest
import torch

from edgeattn.attention import registry
from edgeattn.attention.registry import SiteShape
from edgeattn.base.errors import InputError

PAPERS = Path(__file__).with_name("papers.py")
SITE = SiteShape(channels=32, height=6, width=6)
OBLONG = SiteShape(channels=64, height=4, width=6)
READ = {
    "SELayer": "channel",
    "CoordAtt": "inp oup",
    "CBAM": "gate_channels",
    "EMA": "channels",
    "GAM_Attention": "in_channels out_channels",
    "simam_module": "channels",
    "eca_layer": "",
    "ECA": "channel",
    "SpatialAttention": "",
    "MultiSpectralAttentionLayer": "channel dct_h dct_w",
    "MHSA": "n_dims width height",
    "Windowed": "dim input_resolution",
    "FeatureSized": "features feat_size",
    "C2Attention": "c1 c2",
    "SpatialGroupEnhance": "",
    "SubSE": "channel",
    "SqueezeOfSize": "in_size",
    "se_of_four": "planes",
    "se_of_eight": "channel",
}


def build(name, site=SITE, **options):
    spec = registry.find(name)
    return registry.build(spec, site, registry.check_options(spec, options))


def write(folder, text, name="mine.py"):
    path = folder / name
    path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
    return path


@pytest.mark.parametrize("name", READ)
def test_signatures_of_papers(name):
    for site in (SITE, OBLONG) if name != "FeatureSized" else (SITE,):
        module = build(f"{PAPERS}:{name}", site)
        given = dict(one.split("=", 1) for one in re.split(r", (?=\w+=)", module.note) if one)
        assert list(given) == READ[name].split()
        sizes = {"dct_h": site.height, "height": site.height, "dct_w": site.width,
                 "width": site.width, "feat_size": site.height,
                 "input_resolution": (site.height, site.width)}  # fmt: skip
        assert given == {one: str(sizes.get(one, site.channels)) for one in given}
        assert module.training
    assert registry.find(f"{PAPERS}:{name}").name == name


def test_options_are_typed_and_overrule_the_site(tmp_path):
    assert build(f"{PAPERS}:SELayer", reduction="8").fc[0].out_features == 4
    assert build(f"{PAPERS}:CBAM", no_spatial="yes", pool_types="['max']").pool_types == ["max"]
    assert build(f"{PAPERS}:simam_module", e_lambda="0.1").e_lambda == 0.1
    module = build(f"{PAPERS}:MultiSpectralAttentionLayer", dct_h="1", dct_w="6")
    assert module.weight.shape == (32, 1, 6)
    text = """
        def make(dim, act: float | None = None, **more):
            module = nn.Conv2d(dim, dim, 1)
            module.said = (act, more)
            return module
    """
    path = write(tmp_path, text)
    assert build(f"{path}:make", act="3", extra="2").said == (3.0, {"extra": 2})
    with pytest.raises(InputError, match="takes no argument 'acts'\nDid you mean act"):
        build(f"{path}:make", acts="3")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("SELayer", {"reducton": "8"}, "takes no argument 'reducton'\nDid you mean reduction"),
        ("SubSE", {"reducton": "8"}, "takes no argument 'reducton'\nDid you mean reduction"),
        (
            "SELayer",
            {"reduction": "eight"},
            "reduction must be int, not 'eight'\nIts default is 16",
        ),
        ("CBAM", {"pool_types": "max"}, r"must be list, not 'max'\nIts default is \['avg'"),
        ("SqueezeOfSize", {"act": "nn.SiLU"}, r"act is code \(ReLU\).*\n.*def mine\(channels\)"),
    ],
)
def test_options_that_do_not_fit(name, options, said):
    with pytest.raises(InputError, match=said):
        build(f"{PAPERS}:{name}", **options)


A = "class A(nn.Module):\n"
TAKES = A + "    def __init__(self, {}): ..."
FORWARD = A + "    n = 0\n    def forward(self, x):\n        "
BUFFER = """
    class A(nn.BatchNorm2d):
        def forward(self, x):
            return x * self.running_mean.mul_(0.9).add_(x.mean()).mean()
"""
CACHE = """
    class A(nn.Module):
        gate = None
        def forward(self, x):
            if self.gate is None:
                self.gate = x.sigmoid()
            return x * self.gate
"""
BAD = [
    (TAKES.format("in_channels, c_m, c_n"), r"c_m, c_n, which.*\nGive: --attention-arg A.c_m=… -"),
    (TAKES.format("groups"), "A needs groups"),
    (TAKES.format("dim, h, d_k"), "A needs h, d_k"),
    (TAKES.format("cfg"), "A needs cfg"),
    (A + "    def __init__(self, dim): raise KeyError(dim)", r":4 fails in A\(dim=32\): KeyError"),
    ("def A(c): return nn.Conv2d(c, 2 * c, 1)", "as its input, 32x6x6: it gives 1x64x6x6"),
    (FORWARD + "return x.mean(1, keepdim=True)", r"gives 1x1x6x6\n.*gate alone: return x \* gate"),
    (FORWARD + "return x, x.mean((2, 3))", r"a tuple of 1x32x6x6, 1x32\nReturn the attended map"),
    (FORWARD + "return x.double()", "gives float64"),
    (FORWARD + "return x @ x[:, :2].sum()", ":6 fails in forward on a 32x6x6 map: RuntimeError"),
    (FORWARD + "self.n += 1; return self.n * x", r"run again: its forward changes n\n"),
    (BUFFER, r"its forward changes running_mean\n"),
    (CACHE, r"its forward changes gate\n"),
    (FORWARD + "return nn.functional.dropout(x)", r"draws random.*\n.*training=self\.training"),
    ("A = nn.ReLU()", "is a module already, and each site needs one of its own"),
    ("def A(): return nn.ReLU", r"must return a torch.nn.Module: it gave the class ReLU\nCall"),
    ("class A(nn.Module): ...\nclass A(nn.ReLU): ...", "defines A more than once, in lines 3, 4"),
    ("class Aa(nn.Module): ...", "no function or class named 'A'\nDid you mean Aa"),
    ("import nothing_of_the_sort", "mine.py:3 cannot be imported: ModuleNotFoundError"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD, ids=range(len(BAD)))
def test_what_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        build(f"{write(tmp_path, text)}:A")


def test_what_forward_keeps_for_its_author_is_let_be(tmp_path):
    text = """
        class A(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.seen = nn.BatchNorm2d(32), []
            def forward(self, x):
                self.last = self.norm(x).sigmoid()
                self.seen.append(self.last)
                return x * self.last
    """
    assert build(f"{write(tmp_path, text)}:A").seen


def test_parameters_that_the_first_run_makes(tmp_path):
    text = """
        class A(nn.Module):
            def __init__(self):
                super().__init__()
                self.gate = nn.LazyConv2d(1, 1)
            def forward(self, x):
                return x * self.gate(x).sigmoid()
    """
    assert build(f"{write(tmp_path, text)}:A").gate.in_channels == 32


def test_it_imports_what_lies_beside_it_and_is_found_as_a_module(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    home = tmp_path / "research_of_mine"
    home.mkdir()
    (home / "__init__.py").touch()
    write(home, "class Gate(nn.Sigmoid): ...", "gates.py")
    text = """
        from .gates import Gate
        class A(nn.Module):
            def __init__(self, dim):
                super().__init__()
                self.gate = Gate()
            def forward(self, x):
                return x * self.gate(x)
    """
    write(home, text, "net.py")
    monkeypatch.chdir(tmp_path)
    x = torch.ones(1, 32, 6, 6)
    for name in ("research_of_mine/net.py:A", "research_of_mine.net:A"):
        assert torch.equal(build(name)(x), x * x.sigmoid())
    assert registry.sources("research_of_mine.net:A")[0] == Path("research_of_mine/net.py")
    assert len(registry.sources("research_of_mine.net:Gate")) == 2
    assert build("torch.nn:BatchNorm2d").note == "num_features=32"
    with pytest.raises(InputError, match="needs num_heads, which"):
        build("torch.nn:MultiheadAttention")
    with pytest.raises(InputError, match=r"there is no module research_of_mine\.nets, neither in"):
        build("research_of_mine.nets:A")
    with pytest.raises(
        InputError, match=r"net.py does not say what builds the attention\n.*net.py:A"
    ):
        build("research_of_mine/net.py")
    with pytest.raises(InputError, match=r"there is no file no/such\.py"):
        build("no/such.py:A")
