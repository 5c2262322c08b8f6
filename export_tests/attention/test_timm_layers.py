"""timm's layers: where they agree with ours once the weights are copied, and where they do not."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from edgeattn.attention import registry, timm_layers
from edgeattn.attention.cbam import CBAM
from edgeattn.attention.eca import ECA
from edgeattn.attention.gc import GC
from edgeattn.attention.nonlocal_ import NonLocal
from edgeattn.attention.registry import SiteShape
from edgeattn.attention.se import SE
from edgeattn.attention.sk import SK
from edgeattn.base.errors import InputError

SITE = SiteShape(channels=32, height=14, width=21)


def theirs(name, channels=32, conv=None, **options):
    spec = registry.find(f"timm-{name}")
    place = dataclasses.replace(SITE, channels=channels, conv=conv)
    return registry.build(spec, place, options)


def copy(target: nn.Module, source: nn.Module) -> None:
    """Copies the tensors in their order, which is the order of the formula in both."""
    pairs = zip(target.state_dict().values(), source.state_dict().values(), strict=True)
    with torch.no_grad():
        for into, tensor in pairs:
            into.copy_(tensor.reshape(into.shape))


def compare(ours, timms, channels=32, *, same=True):
    ours, timms = ours.double().eval(), timms.double().eval()
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, channels, 6, 5, generator=generator, dtype=torch.float64) + 0.4
    with torch.no_grad():
        difference = (ours(x) - timms(x)).abs().max().item()
    assert difference < 1e-10 if same else difference > 1e-3


def test_se(ref):
    ours, timms = ref.randomise(SE(32, reduction=4)), theirs("se", rd_channels=8)
    copy(timms, ours)
    compare(ours, timms)


def test_se_rounds_the_hidden_width():
    assert theirs("se").fc1.out_channels == 8
    assert SE(32).fc1.out_channels == 2


@pytest.mark.parametrize("channels", [16, 64, 128])
def test_eca(ref, channels):
    ours, timms = ref.randomise(ECA(channels, kernel_size="auto")), theirs("eca", channels)
    copy(timms, ours)
    compare(ours, timms, channels)


def test_ceca_wraps_around(ref):
    ours, timms = ref.randomise(ECA(32, kernel_size="auto")), theirs("ceca")
    copy(timms, ours)
    compare(ours, timms, same=False)


def copied_cbam(ref, *, swap, biases):
    ours, timms = ref.randomise(CBAM(32, reduction=4)), theirs("cbam", rd_ratio=0.25)
    with torch.no_grad():
        if not biases:
            ours.channel.mlp[0].bias.zero_()
            ours.channel.mlp[2].bias.zero_()
        timms.channel.fc1.weight.copy_(ours.channel.mlp[0].weight[:, :, None, None])
        timms.channel.fc2.weight.copy_(ours.channel.mlp[2].weight[:, :, None, None])
        kernel = ours.spatial.conv.weight
        timms.spatial.conv.conv.weight.copy_(kernel.flip(1) if swap else kernel)
    timms.spatial.conv.bn.load_state_dict(ours.spatial.norm.state_dict())
    return ours, timms


def test_cbam(ref):
    compare(*copied_cbam(ref, swap=True, biases=False))


def test_cbam_concatenates_the_mean_first(ref):
    compare(*copied_cbam(ref, swap=False, biases=False), same=False)


def test_cbam_has_no_mlp_biases(ref):
    compare(*copied_cbam(ref, swap=True, biases=True), same=False)


def copied_gc(ref, name):
    ours, timms = ref.randomise(GC(32, reduction=8)), theirs(name)
    timms.conv_attn.load_state_dict(ours.mask.state_dict())
    mlp = timms.mlp_add if name == "gca" else timms.mlp_scale
    for module, index in ((mlp.fc1, 0), (mlp.norm, 1), (mlp.fc2, 3)):
        copy(module, ours.transform[index])
    return ours, timms, mlp


def test_gca_is_the_papers(ref):
    ours, timms, mlp = copied_gc(ref, "gca")
    assert mlp.norm.eps == 1e-6  # the paper's code has 1e-5
    mlp.norm.eps = 1e-5
    compare(ours, timms)


def test_gc_is_a_gate(ref):
    ours, timms, _ = copied_gc(ref, "gc")
    compare(ours, timms, same=False)


def sk_pair(ref, **options):
    conv = nn.Conv2d(64, 64, 3, stride=2, padding=1)
    timms = theirs("sk", 64, conv, groups=32, rd_channels=32, **options)
    return ref.randomise(SK(64, 64, 2)), timms


def test_sk(ref):
    ours, timms = sk_pair(ref, split_input=False)
    copy(timms, ours)
    compare(ours, timms, 64)


def test_sk_splits_the_input(ref):
    ours, timms = sk_pair(ref)
    assert timms.paths[0].conv.in_channels == 32
    assert ours.branches[0][0].in_channels == 64


def test_nl_scales_by_the_channels(ref):
    ours, timms = ref.randomise(NonLocal(32, reduction=4)), theirs("nl", rd_ratio=0.25)
    copy(timms, ours)
    compare(ours, timms, same=False)
    timms.scale = 8**-0.5  # the inner width's
    compare(ours, timms)


def test_every_layer_is_built_or_refused_with_a_reason():
    refused = {}
    place = dataclasses.replace(SITE, channels=64)
    for name in timm_layers.available():
        spec = registry.find(name)
        conv = nn.Conv2d(64, 64, 3, padding=1) if spec.replaces_conv else None
        try:
            module = registry.build(spec, dataclasses.replace(place, conv=conv), {})
        except InputError as error:
            refused[name] = error.fact
            continue
        x = torch.randn(2, 64, 14, 21)
        assert module.eval()(x).shape == x.shape
        assert module.note == ""
    # 14x21 is no multiple of 8, and timm 1.0.31 cannot build ge's MLP (it unpacks a dict's keys).
    assert "H % self.block_size == 0" in refused.pop("timm-halo")
    assert set(refused) <= {"timm-ge"}


def test_ge_without_its_mlp():
    x = torch.randn(1, 32, 14, 21)
    gate = x.mean((2, 3), keepdim=True).sigmoid()
    torch.testing.assert_close(theirs("ge", use_mlp=False).eval()(x), x * gate)


def test_feature_size_is_filled_in():
    spec = registry.find("timm-bottleneck")
    module = registry.build(spec, SITE, {})
    assert (module.pos_embed.height, module.pos_embed.width) == (14, 21)
    assert "feat_size" not in {option.name for option in registry.options_of(spec)}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("strip", "redution"),  # timm itself swallows it
        ("nl", "sub_sample"),
        ("se", "channels"),
        ("se", "act_layer"),
        ("eca", "kernel_size"),  # timm ignores it once it knows the channels
        ("ecam", "use_mlp"),
        ("gca", "fuse_add"),
        ("sk", "stride"),
        ("splat", "out_channels"),
    ],
)
def test_only_what_the_signature_offers(name, option):
    with pytest.raises(InputError, match=f"timm-{name} has no option '{option}'"):
        registry.check_options(registry.find(f"timm-{name}"), {option: "1"})


def test_options_of_partials_and_of_bare_parameters():
    spec = registry.find("timm-nl")
    assert registry.check_options(spec, {"use_scale": "no", "rd_channels": "4"}) == {
        "use_scale": False,
        "rd_channels": 4,
    }
    names = [option.name for option in registry.options_of(registry.find("timm-gca"))]
    assert "rd_ratio" in names


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("se", {"gate_layer": "no-such-gate"}),
        ("se", {"rd_divisor": 0}),
        ("se", {"rd_ratio": float("inf")}),
        ("se", {"rd_channels": -4}),
        ("bottleneck", {"num_heads": 5}),
        ("bat", {"block_size": 5}),
    ],
)
def test_what_timm_refuses_is_an_input_error(name, options):
    with pytest.raises(InputError, match=f"timm-{name} cannot sit on a 32x14x21 feature map"):
        theirs(name, **options)


def test_a_silent_assertion_is_quoted():
    with pytest.raises(InputError, match="dim_out % num_heads == 0"):
        theirs("bottleneck", num_heads=5)


def test_papers_and_summaries():
    for spec in timm_layers.TIMM.values():
        assert spec.paper
        assert 0 < len(spec.summary) < 100
    assert np.all([name.startswith("timm-") for name in timm_layers.TIMM])
