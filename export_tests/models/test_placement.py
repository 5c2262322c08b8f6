"""Sites by path and count, in timm's, torchvision's and a user's own models."""

import dataclasses

import pytest
import torch
from torch import nn

from edgeattn.attention.registry import ATTENTIONS, AttentionSpec
from edgeattn.base.errors import InputError
from edgeattn.models.placement import default_place, family_of, place
from edgeattn.models.probe import probe
from edgeattn.models.sites import Survey

X = AttentionSpec(name="x", target="", paper="", summary="", place=None)


def at(survey, where):
    return [site.path for site in place(survey, X, where)]


def published(survey, name):
    return place(survey, ATTENTIONS[name], None)


RESNET50 = [f"layer{i}.{j}" for i, depth in enumerate((3, 4, 6, 3), 1) for j in range(depth)]
RESNET18 = [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]


@pytest.mark.parametrize("origin", ["", "tv:"])
def test_resnet50(zoo, origin):
    survey = zoo(f"{origin}resnet50")
    assert family_of(survey) == "resnet"
    assert at(survey, "block-end") == [f"{block}.bn3" for block in RESNET50]
    assert at(survey, "conv2") == [f"{block}.conv2" for block in RESNET50]
    assert at(survey, "stage-end") == ["layer1.2", "layer2.3", "layer3.5", "layer4.2"]
    assert at(survey, "last") == ["layer4.2"]
    paths = [site.path for site in published(survey, "nonlocal")]
    assert paths == ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]
    assert [s.path for s in published(survey, "bam")] == ["layer1.2", "layer2.3", "layer3.5"]
    assert [s.path for s in published(survey, "gc")] == [f"{b}.bn3" for b in RESNET50[3:]]
    assert [s.path for s in published(survey, "simam")] == [f"{b}.conv2" for b in RESNET50]
    assert [s.path for s in published(survey, "sk")] == [f"{b}.conv2" for b in RESNET50]
    assert {s.side for s in published(survey, "sk")} == {"replace"}
    assert survey.norm_after("layer1.0.conv2") == "layer1.0.bn2"
    assert [s.path for s in published(survey, "ca")] == [f"{b}.bn3" for b in RESNET50]
    assert [s.stage for s in published(survey, "se")] == [int(b[5]) for b in RESNET50]
    assert [s.host for s in published(survey, "se")] == RESNET50


@pytest.mark.parametrize("origin", ["", "tv:"])
def test_resnet18(zoo, origin):
    survey = zoo(f"{origin}resnet18")
    assert at(survey, "block-end") == [f"{block}.bn2" for block in RESNET18]
    assert [s.path for s in published(survey, "sk")] == [f"{b}.conv1" for b in RESNET18]
    assert [s.path for s in published(survey, "nonlocal")] == ["layer2.1", "layer3.1"]


def test_mobilenetv1(zoo):
    survey = zoo("mobilenetv1_100")
    assert family_of(survey) == "mobilenetv1"
    assert len(at(survey, "block-end")) == len(at(survey, "after-dw")) == 13
    sites = published(survey, "ulsam")
    assert [site.shape[0] for site in sites] == [512, 512, 1024]
    assert [site.path for site in sites] == ["blocks.3.4", "blocks.3.5", "blocks.4.0"]
    assert all(site.path.endswith("conv_dw") for site in published(survey, "simam"))


def test_mobilenetv2(zoo):
    for name in ("mobilenetv2_100", "tv:mobilenet_v2"):
        survey = zoo(name)
        assert family_of(survey) == "mobilenetv2"
        ends = published(survey, "se")
        assert len(ends) == 17
        assert [site.shape[0] for site in published(survey, "ulsam")] == [160]
        assert [site.shape[0] for site in survey.last()] == [1280]
        # Behind the expansion, where the depthwise convolution is: not behind the projection.
        assert published(survey, "simam")[1].shape[0] == 96
        assert ends[1].shape[0] == 24
        assert len(published(survey, "gc")) == 17
        widths = [site.shape[0] for site in published(survey, "ca")]
        assert widths == [96, *[144] * 2, *[192] * 3, *[384] * 4, *[576] * 3, *[960] * 3]
    assert zoo("mobilenetv2_100").last()[0].path == "bn2"
    assert zoo("tv:mobilenet_v2").last()[0].path == "features.18.2"


@pytest.mark.parametrize(
    ("name", "family", "blocks", "first"),
    [
        ("mobilenetv3_large_100", None, 15, "blocks.0.0.bn2"),
        ("convnext_atto", None, 12, "stages.0.blocks.0.mlp.fc2"),
        ("tv:convnext_tiny", None, 18, "features.1.0.block.6"),
        ("tv:shufflenet_v2_x1_0", None, 16, "stage2.0"),
        ("densenet121", None, 58, "features.denseblock1.denselayer1.conv2"),
        ("ghostnet_100", None, 16, "blocks.0.0.ghost2"),
        ("skresnet18", "resnet", 8, "layer1.0.conv2.bn"),
        ("tv:squeezenet1_1", None, 8, "features.3"),
        ("resnetv2_50", "resnet", 16, "stages.0.blocks.0.conv3"),
        ("vgg11", None, 1, "features.18"),
    ],
)
def test_other_families(zoo, name, family, blocks, first):
    survey = zoo(name)
    assert family_of(survey) == family
    assert len(survey.blocks) == blocks
    assert at(survey, "block-end")[0] == first


@pytest.mark.parametrize(
    ("name", "end", "stages"),
    [
        # A layer of a dense block gives 32 channels; the block gives all, side by side.
        ("densenet121", "features.denseblock1.denselayer1.conv2", (256, 512, 1024, 1024)),
        # A CSP stage joins its blocks with a branch of its own.
        ("cspdarknet53", "stages.0.blocks.0.conv2.bn", (64, 128, 256, 512, 1024)),
        # RepVGG's kernels are added: attention is not for one of them.
        ("repvgg_a0", "stem.attn", (48, 48, 96, 192, 1280)),
    ],
)
def test_what_lies_around_blocks_and_beside_kernels(zoo, name, end, stages):
    survey = zoo(name)
    assert at(survey, "block-end")[0] == end
    assert tuple(site.shape[0] for site in survey.stage_ends()) == stages


def test_branches_that_pool_are_put_side_by_side_with_those_that_convolve(zoo):
    survey = zoo("tv:googlenet")
    assert [s.shape[0] for s in place(survey, X, "block-end")][:2] == [
        256,
        480,
    ]
    pooled = zoo("inception_v3", 96)
    ends = place(pooled, X, "block-end")
    assert [(s.path, s.shape[0]) for s in ends if s.path.endswith("a")][:1] == [("Mixed_6a", 768)]


def test_sites_do_not_move_with_the_input(zoo):
    for where in ("block-end", "stage-end", "conv2", "last"):
        assert at(zoo("resnet18", 32), where) == at(zoo("resnet18", 96), where)
    assert zoo("resnet18", 16).stages == 4  # both last stages are of one position here


def test_squeeze_convolutions_are_no_block_ends(zoo):
    ends = at(zoo("mobilenetv3_large_100"), "block-end")
    assert not [path for path in ends if ".se" in path]
    assert len(ends) == 15


def test_a_users_own_network(own):
    survey = Survey.of(probe(own, [torch.zeros(1, 3, 32, 32)]))
    assert at(survey, "block-end") == ["one.0.n2", "one.1.n2", "two.0.n2", "two.1.n2"]
    assert at(survey, "stage-end") == ["one.1", "two.1"]
    assert at(survey, "last") == ["two.1"]
    assert at(survey, "conv2") == ["one.0.c2", "one.1.c2", "two.0.c2", "two.1.c2"]
    assert at(survey, "two.*.n1") == ["two.0.n1", "two.1.n1"]


def test_a_sequential_root():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    survey = Survey.of(probe(model, [torch.zeros(1, 3, 16, 16)]))
    assert [(s.path, s.host) for s in place(survey, X, "last")] == [("2", "2")]


class Plus(nn.Sequential):
    """A block that inherits from the container that it is."""

    def forward(self, x):
        return x + super().forward(x)


def test_a_sequential_with_a_forward_of_its_own_is_a_block():
    def block(c):
        return Plus(nn.Conv2d(c, c, 3, 1, 1), nn.ReLU(), nn.Conv2d(c, c, 3, 1, 1))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 1), block(8), block(8))

        def forward(self, x):
            return self.body(x).mean((2, 3))

    survey = Survey.of(probe(Model(), [torch.zeros(1, 3, 8, 8)]))
    assert at(survey, "block-end") == ["body.1.2", "body.2.2"]
    (last,) = place(survey, X, "last")
    # It cannot hold the attention itself: it would call it.
    assert (last.path, last.host) == ("body.2", "")


def test_the_input_of_a_sequential_root_is_held_by_its_first_module():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 6, 3))
    (site,) = Survey.of(probe(model, [torch.zeros(1, 3, 16, 16)])).input()
    assert (site.path, site.host, site.side, site.shape) == ("0.0", "0.0", "input", (3, 16, 16))


class Pyramid(nn.Module):
    """Returns several maps, as a feature extractor does."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)

    def forward(self, x):
        fine = self.one(x)
        return {"fine": fine, "coarse": self.two(fine)}


def test_the_last_map_of_a_pyramid_is_its_coarsest():
    survey = Survey.of(probe(Pyramid(), [torch.zeros(1, 3, 16, 16)]))
    assert at(survey, "last") == ["two"]


class Recurrent(nn.Module):
    """Calls what it has more than once: an activation, and where asked a convolution."""

    def __init__(self, times):
        super().__init__()
        self.times = times
        self.stem, self.conv, self.act = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()

    def forward(self, x):
        x = self.act(self.stem(x))
        for _ in range(self.times):
            x = self.act(self.conv(x))
        return x.mean((2, 3))


def test_last_is_not_at_a_module_that_is_called_elsewhere_too():
    inputs = [torch.zeros(1, 3, 8, 8)]
    assert at(Survey.of(probe(Recurrent(1), inputs)), "last") == ["conv"]
    with pytest.raises(InputError, match=r"act, which returns the last .* called 3 times"):
        at(Survey.of(probe(Recurrent(2), inputs)), "last")


def test_blocks_that_are_sequentials():
    def block(c):
        return nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1, groups=c), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c, 1), nn.BatchNorm2d(c), nn.ReLU(),
        )  # fmt: skip

    model = nn.Sequential(nn.Conv2d(3, 8, 1), block(8), block(8))
    survey = Survey.of(probe(model, [torch.zeros(1, 3, 8, 8)]))
    assert at(survey, "block-end") == ["1.4", "2.4"]
    assert at(survey, "after-dw") == ["1.0", "2.0"]


def test_several_places_are_one_set_in_the_order_of_the_forward_pass(zoo):
    survey = zoo("resnet18")
    assert at(survey, "layer4.0.bn2,layer1.*.bn2, layer1.0.bn2") == [
        "layer1.0.bn2", "layer1.1.bn2", "layer4.0.bn2",
    ]  # fmt: skip
    assert at(survey, "last,stage-end") == at(survey, "stage-end")
    assert place(survey, X, "input,layer1.0")[0].side == "input"
    for name in ("se", "simam", "sk"):  # naming each site gives what the published place gives
        sites = published(survey, name)
        assert place(survey, ATTENTIONS[name], ",".join(s.path for s in sites)) == sites
    with pytest.raises(InputError, match=r"no place for 'layer1.0.bn9'\nDid you mean layer1"):
        at(survey, "layer1.0.bn2,layer1.0.bn9")


def test_a_glob_that_matches_nothing_names_the_nearest(zoo):
    with pytest.raises(InputError, match=r"layr3.*\n.*layer3"):
        at(zoo("resnet18"), "layr3.0.bn2")


def test_a_glob_that_matches_no_map_names_it(zoo):
    with pytest.raises(InputError, match=r"at fc \(Linear\)"):
        at(zoo("resnet18"), "fc")


def test_no_place_says_how_to_name_one(zoo):
    with pytest.raises(InputError, match=r"no place for after-dw\n.*--at 'layer4"):
        at(zoo("resnet18"), "after-dw")


def test_sk_goes_nowhere_but_on_3x3_convolutions(zoo):
    survey = zoo("resnet18")
    sites = place(survey, ATTENTIONS["sk"], "layer2.*.conv2")
    assert [site.path for site in sites] == ["layer2.0.conv2", "layer2.1.conv2"]
    with pytest.raises(InputError, match="bn1 is a BatchNorm2d"):
        place(survey, ATTENTIONS["sk"], "layer2.0.bn1")


def test_every_attention_of_ours_has_a_published_place():
    for spec in ATTENTIONS.values():
        try:
            assert default_place(spec)
        except KeyError:
            pytest.fail(
                f"{spec.name}: its entry in edgeattn/attention/ours.py has place={spec.place!r},"
                " which is neither in PLACES nor a rule of edgeattn/models/placement.py"
            )


def test_without_a_published_place_it_goes_to_the_end_of_blocks_or_onto_convolutions():
    assert default_place(X) == "block-end"
    assert default_place(dataclasses.replace(X, replaces_conv=True)).startswith("The 3x3 conv")
