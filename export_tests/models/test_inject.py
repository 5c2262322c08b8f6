"""Injected attention acts where it should, and changes nothing else."""

import copy

import pytest
import torch
from torch import nn

from edgeattn.attention.registry import AttentionSpec
from edgeattn.base.errors import InputError
from edgeattn.models.inject import Wanted, inject
from edgeattn.models.probe import probe

from .conftest import Gain, Own, randomise

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def wanted(at, make=lambda spec, site: Gain(site.channels), *, replaces=False):
    spec = AttentionSpec(
        name="gain", target="", paper="", summary="", place=None, replaces_conv=replaces
    )
    return Wanted(spec=spec, at=at, build=make)


def put(model, *at):
    return inject(model, probe(model, [X]), [wanted(one) for one in at])


def test_it_acts_as_by_hand(own):
    randomise(own)
    by_hand = copy.deepcopy(own)
    with torch.no_grad():
        for blocks in (by_hand.one, by_hand.two):
            for block in blocks:  # a factor after a norm is a factor on its weight and bias
                scale = Gain(len(block.n2.bias)).scale
                block.n2.weight *= scale
                block.n2.bias *= scale
    sites = put(own, "block-end")
    assert [site.path for site in sites] == [
        f"{stage}.{i}.attention" for stage in ("one", "two") for i in (0, 1)
    ]
    assert [site.params for site in sites] == [8, 8, 16, 16]
    torch.testing.assert_close(own(X), by_hand(X))
    assert {site.path for site in sites} <= {call.path for call in probe(own, [X]).calls}


ONE = Gain(16)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda spec, site: ONE, "gain is the same module at two.* as at another"),
        (lambda spec, site: torch.jit.script(nn.ReLU()), "at two.*is TorchScript"),
    ],
)
def test_what_each_site_cannot_have(own, make, said):
    with pytest.raises(InputError, match=said):
        inject(own, probe(own, [X]), [wanted("two.*", make)])


def test_its_path_is_told_where_a_module_has_two_names(own):
    own.again = own.two[0].n1
    sites = put(own, "block-end", "input")
    program = torch.export.export(own, (X,), strict=False)
    stacks = [node.meta.get("nn_module_stack") or {} for node in program.graph.nodes]
    paths = {path for stack in stacks for path, _ in stack.values()}
    assert {site.path for site in sites} <= paths


def test_a_wrapper_of_training_is_taken_off(own):
    inject(own, probe(own, [X]), [wanted("last", lambda spec, site: nn.DataParallel(Gain(16)))])
    assert isinstance(own.two[1].attention, Gain)


def test_at_the_input_and_last(own):
    randomise(own)
    plain = copy.deepcopy(own)
    sites = put(own, "input", "last")
    assert [(site.path, site.target) for site in sites] == [
        ("attention", ""),
        ("two.1.attention", "two.1"),
    ]
    x = plain.two(plain.one(plain.stem(Gain(3)(X)).relu()))
    torch.testing.assert_close(own(X), plain.head(Gain(16)(x).mean((2, 3))))


def test_keys_of_the_backbone_stay(own):
    keys = list(own.state_dict())
    put(own, "block-end", "stage-end")
    assert [key for key in own.state_dict() if "attention" not in key] == keys


def test_a_copy_calls_its_own_attention(own):
    randomise(own)
    put(own, "block-end")
    twin = copy.deepcopy(own)
    before = own(X)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if "attention" in name:
                value.zero_()
    torch.testing.assert_close(own(X), before)
    assert not torch.allclose(twin(X), before)


def test_several_at_one_place_take_the_next_names(own):
    randomise(own)
    sites = put(own, "one.0.n2", "one.0.n2")
    assert [site.path for site in sites] == ["one.0.attention", "one.0.attention2"]
    twice = randomise(Own())
    with torch.no_grad():
        scale = Gain(8).scale ** 2
        twice.one[0].n2.weight *= scale
        twice.one[0].n2.bias *= scale
    torch.testing.assert_close(own(X), twice(X))


def test_precision_follows_the_host(own):
    own.double()
    sites = inject(own, probe(own, [X.double()]), [wanted("block-end")])
    assert own.get_submodule(sites[0].path).scale.dtype == torch.float64


def test_export_names_it(own):
    put(own, "block-end")
    program = torch.export.export(own, (X,))
    scopes = {
        name
        for node in program.graph.nodes
        for name, _ in node.meta.get("nn_module_stack", {}).values()
    }
    assert "one.0.attention" in scopes


def test_a_replaced_convolution_keeps_its_path_and_takes_the_norm(own):
    class Own3x3(nn.Module):
        def __init__(self, conv):
            super().__init__()
            self.inner = nn.Conv2d(conv.in_channels, conv.out_channels, 3, conv.stride, 1)
            self.norm = nn.BatchNorm2d(conv.out_channels)

        def forward(self, x):
            return self.norm(self.inner(x)).relu()

    conv = own.two[0].c1
    make = wanted("two.0.c1", lambda spec, site: Own3x3(site.conv), replaces=True)
    sites = inject(own, probe(own, [X]), [wanted("two.0.c1"), make])
    assert [site.path for site in sites] == ["two.0.attention", "two.0.c1"]
    assert isinstance(own.two[0].n1, nn.Identity)
    assert own.two[0].c1.inner.stride == conv.stride
    assert {site.path for site in sites} <= {call.path for call in probe(own, [X]).calls}


def test_a_norm_that_holds_its_activation_leaves_it():
    import timm

    from edgeattn.attention import registry

    model = timm.create_model("mobilenetv2_100").eval()
    spec = registry.find("sk")
    one = Wanted(spec=spec, at=None, build=lambda s, site: registry.build(s, site, {}))
    sites = inject(model, probe(model, [X]), [one])
    assert len(sites) == 17
    assert isinstance(model.blocks[1][0].bn2, nn.ReLU6)
    assert isinstance(model.blocks[1][0].bn3, nn.Module)
    assert "blocks.1.0.bn3.weight" in model.state_dict()
    assert {site.path for site in sites} <= {call.path for call in probe(model, [X]).calls}


def test_a_shape_that_changes_is_refused(own):
    with pytest.raises(
        InputError, match=r"gain at two\.1 must return a 16x8x8 map: it gives 16x4x4"
    ):
        inject(own, probe(own, [X]), [wanted("last", lambda s, site: nn.AvgPool2d(2))])


def test_an_attention_that_raises_is_named(own):
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("not on a Friday")

    with pytest.raises(InputError, match=r"gain at one\.0\.n2 fails on a 8x16x16 map: .*Friday"):
        inject(own, probe(own, [X]), [wanted("one.0.n2", lambda s, site: Broken())])


def test_a_refusal_names_the_place(own):
    def refuse(spec, site):
        raise InputError("too few positions")

    with pytest.raises(InputError, match=r"at one\.0\.n2: too few positions"):
        inject(own, probe(own, [X]), [wanted("one.0.n2", refuse)])


def test_the_probe_leaves_no_trace(own):
    own.train()
    own.one.eval()
    before = copy.deepcopy(own.state_dict())
    modes = [module.training for module in own.modules()]
    probe(own, [X])
    assert [module.training for module in own.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in own.modules())
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())
