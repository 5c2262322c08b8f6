"""From a request to a model: names, seeds, weights under attention, inputs that do not fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgeattn.base.errors import InputError, MissingError
from edgeattn.models.build import AttentionRequest, ModelRequest, build
from edgeattn.models.names import ALIASES, available, nearest, timm_names, torchvision_names

ROOT = Path(__file__).parents[2]
SMALL = ((1, 3, 64, 64),)
SE = AttentionRequest(name="se")


def ask(source="resnet18", **options):
    return build(ModelRequest(source=source, **{"shapes": SMALL, **options}))


def test_names():
    assert ask("resnet18").source == "timm:resnet18"
    assert ask("timm:resnet18").params == 11_689_512
    assert ask("torchvision:resnet18").params == 11_689_512
    assert ask("mobilenetv2").params == 3_504_872
    assert ask("mobilenet_v2").source == "timm:mobilenetv2_100"
    assert ask("mobilenetv1").params == 4_231_976
    assert ask("squeezenet1_1").source == "torchvision:squeezenet1_1"
    assert ask("resnet18.a1_in1k").source == "timm:resnet18.a1_in1k"


def test_every_alias_leads_somewhere():
    known = {"timm": set(timm_names()), "torchvision": set(torchvision_names())}
    for target in ALIASES.values():
        origin, _, name = target.partition(":")
        assert name in known[origin]


def test_available_filters():
    found = available("mobilenet*v2*")
    assert "mobilenetv2" in found.aliases
    assert "mobilenetv2_100" in found.timm
    assert "squeezenet1_1" in available().torchvision
    assert not set(available().torchvision) & set(found.timm)


@pytest.mark.parametrize("name", ["resnet5", "timm:resnet5", "torchvision:resnet5"])
def test_an_unknown_name_names_the_nearest(name):
    with pytest.raises(InputError, match=rf"no model named '{name}'\nDid you mean .*resnet50"):
        ask(name)


def test_nearest_sees_misspelt_aliases():
    assert "mobilenetv2" in nearest("mobilnetv2")
    assert nearest("zzzzzz") == []


def test_arguments():
    assert ask(num_classes=7).module.fc.out_features == 7
    assert ask("torchvision:resnet18", num_classes=7).module.fc.out_features == 7
    built = build(ModelRequest(source="resnet18", model_args={"in_chans": "1"}))
    assert tuple(built.inputs[0].shape) == (1, 1, 224, 224)
    with pytest.raises(InputError, match="unexpected keyword argument 'widht'"):
        ask(model_args={"widht": "3"})


def test_default_shape_is_the_models():
    assert tuple(build(ModelRequest(source="mobilenetv3_small_050")).inputs[0].shape[2:]) == (
        224,
        224,
    )
    from edgeattn.models.zoo import from_timm

    _, shape = from_timm("test_vit", ModelRequest(source="test_vit"))
    assert shape == (3, 160, 160)


PRINT_SUMS = (
    "from edgeattn.models.build import build\n"
    "from edgeattn.options.model import AttentionRequest, ModelRequest\n"
    "built = build(ModelRequest(source='resnet18', seed=4, shapes=((1, 3, 64, 64),),\n"
    "    attentions=(AttentionRequest(name='se'),)))\n"
    "print([float(v.double().sum()) for v in built.module.state_dict().values()],\n"
    "    float(built.inputs[0].double().sum()))"
)


def test_a_seed_decides_everything_in_any_process(capsys):
    other = subprocess.run(
        [sys.executable, "-c", PRINT_SUMS],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={
            "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
            "PATH": "",
            "PYTHONHASHSEED": "1",
            "PYTHONPATH": str(ROOT),
        },
    )
    exec(PRINT_SUMS, {})
    assert capsys.readouterr().out == other.stdout


def test_seeds_differ_and_the_callers_numbers_stay():
    state = torch.get_rng_state()
    one, two = (ask(seed=seed, attentions=(SE,)) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for key in ("conv1.weight", "layer1.0.attention.fc1.weight"):
        if key in one.module.state_dict():
            assert not torch.equal(one.module.state_dict()[key], two.module.state_dict()[key])
    assert not torch.equal(one.inputs[0], two.inputs[0])
    # The backbone's weights do not depend on what is put into it.
    plain = ask(seed=1).module.state_dict()
    assert all(torch.equal(one.module.state_dict()[key], plain[key]) for key in plain)


def test_none_is_the_plain_model():
    assert ask(attentions=(AttentionRequest(name="none"),)).params == 11_689_512
    with pytest.raises(InputError, match="'none' takes neither"):
        ask(attentions=(AttentionRequest(name="none", at="last"),))


def test_several_attentions():
    built = ask(
        attentions=(SE, AttentionRequest(name="simam"), AttentionRequest(name="sam", at="last"))
    )
    assert len(built.sites) == 17
    assert built.sites[-1].path == "layer4.1.attention3"
    assert sum(site.params for site in built.sites) == built.params - 11_689_512


def test_options_reach_the_module():
    thin = ask(attentions=(AttentionRequest(name="se", options={"reduction": "32"}),))
    assert thin.params < ask(attentions=(SE,)).params
    with pytest.raises(InputError, match="no option 'ratio'"):
        ask(attentions=(AttentionRequest(name="se", options={"ratio": "3"}),))


def test_backbone_weights_under_attention_and_under_sk(tmp_path):
    path = tmp_path / "w.pt"
    plain = ask(seed=9)
    torch.save(plain.module.state_dict(), path)
    for name in ("se", "sk"):
        built = ask(weights=path, attentions=(AttentionRequest(name=name),))
        assert "holds the backbone only" in built.notes[0]
        fc = built.module.get_submodule("fc").weight
        assert torch.equal(fc, plain.module.get_submodule("fc").weight)
        torch.save(built.module.state_dict(), tmp_path / "all.pt")
        again = ask(weights=tmp_path / "all.pt", seed=1, attentions=(AttentionRequest(name=name),))
        assert again.notes == ()
        torch.testing.assert_close(again.module(*built.inputs), built.module(*built.inputs))


@pytest.mark.parametrize(
    ("source", "shape", "message"),
    [
        ("vgg11", (1, 3, 8, 8), r"input of 1x3x8x8, in features\.15 \(MaxPool2d\): Given input"),
        ("resnet18", (1, 4, 64, 64), r"in conv1 \(Conv2d\).*to have 3 channels"),
        ("resnet18", (1, 3, 0, 8), "a size below 1"),
        ("resnet18", (1, 3, 10**8, 10**8), "does not fit into memory"),
    ],
)
def test_inputs_that_do_not_fit(source, shape, message):
    with pytest.raises(InputError, match=message):
        ask(source, shapes=(shape,))


def test_too_few_positions_name_the_site():
    with pytest.raises(InputError, match=r"at layer4\.0\.conv2: simam cannot sit on a 512x1x1"):
        ask(shapes=((1, 3, 32, 32),), attentions=(AttentionRequest(name="simam"),))


def test_weights_that_cannot_be_fetched(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"could not be fetched[\s\S]*--weights FILE"):
        ask(pretrained=True)


# The papers' own numbers; those of other backbones to the papers' digits.
@pytest.mark.parametrize(
    ("source", "name", "options", "params"),
    [
        ("resnet18", "none", {}, 11_689_512),
        ("resnet34", "none", {}, 21_797_672),
        ("resnet50", "none", {}, 25_557_032),
        ("resnet101", "none", {}, 44_549_160),
        ("mobilenetv2", "none", {}, 3_504_872),
        ("mobilenetv1", "none", {}, 4_231_976),
        ("resnet50", "se", {}, 28_088_024),
        ("resnet50", "se", {"bias": "false"}, 28_071_976),
        ("resnet50", "cbam", {}, 28_089_624),
        ("resnet50", "bam", {}, 25_915_099),
        ("resnet50", "sge", {}, 25_559_080),
        ("resnet50", "sa", {}, 25_557_740),
        ("resnet50", "eca", {}, 25_557_112),
        ("resnet50", "gc", {}, 28_078_773),
        ("resnet50", "simam", {}, 25_557_032),
        ("resnet50", "srm", {}, 25_617_448),  # 25.62M
        ("resnet50", "fca", {}, 28_071_976),  # 28.07M
        ("resnet50", "nam", {}, 25_557_032 + 2 * 15_104),
        ("resnet50", "ema", {}, 25_557_032 + 198_368),
        ("resnet18", "se", {}, 11_778_592),  # 11.78M
        ("resnet18", "cbam", {}, 11_779_392),  # 11.78M
        ("resnet18", "bam", {}, 11_712_503),  # 11.71M
        ("resnet34", "cbam", {}, 21_960_468),  # 21.96M
        pytest.param("resnet101", "se", {}, 49_326_872, marks=pytest.mark.slow),  # 49.33M
        pytest.param("resnet101", "cbam", {}, 49_330_172, marks=pytest.mark.slow),  # 49.33M
        pytest.param("resnet101", "bam", {}, 44_907_227, marks=pytest.mark.slow),  # 44.91M
        ("mobilenetv1", "bam", {}, 4_323_480),  # 4.32M
        ("resnet18", "eca", {}, 11_689_512 + 2 * (3 + 5 + 7 + 7)),
        ("resnet34", "eca", {}, 21_797_672 + 3 * 3 + 4 * 3 + 6 * 5 + 3 * 7),
        pytest.param(
            "resnet101",
            "eca",
            {},
            44_549_160 + 3 * 3 + 4 * 3 + 23 * 5 + 3 * 7,
            marks=pytest.mark.slow,
        ),
        ("mobilenetv2", "eca", {}, 3_504_872 + 13 * 1 + 4 * 3),
        ("mobilenetv1", "ulsam", {}, 4_231_976 + 5 * (512 + 512 + 1024) + 3 * 4 * 3),
        ("mobilenetv2", "ulsam", {}, 3_504_872 + 5 * 160 + 3 * 4),
        ("mobilenetv2", "ca", {}, 3_950_648),  # 3.95M
        ("resnet50", "triplet", {}, 25_557_032 + 16 * 300),  # 25.56M
        ("mobilenetv2", "triplet", {}, 3_504_872 + 17 * 300),  # 3.51M
        ("mobilenetv2", "triplet", {"kernel_size": "3"}, 3_504_872 + 17 * 60),  # 3.506M
        pytest.param("resnet101", "sge", {}, 44_549_160 + 33 * 2 * 64, marks=pytest.mark.slow),
        ("resnet101", "sa", {}, 44_549_160 + 3 * (3 * 4 + 4 * 8 + 23 * 16 + 3 * 32)),
    ],
)
def test_published_parameters(source, name, options, params):
    asked = AttentionRequest(name=name, options=options)
    assert ask(source, attentions=(asked,)).params == params


def test_what_is_assumed_is_said(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("from torch import nn\n\ndef make():\n    return nn.Conv2d(3, 4, 3)\n")
    source = f"{path}:make"
    shape = "An input of 1x3x224x224 is assumed; --shape says another."
    random = "The weights are random, of seed 3; --pretrained or --weights FILE gives others."
    assert build(ModelRequest(source=source)).notes == (shape,)
    assert build(ModelRequest(source=source, shapes=SMALL)).notes == ()
    assert ask("resnet18", seed=3).notes == (random,)
    torch.save(build(ModelRequest(source=source)).module.state_dict(), tmp_path / "w.pt")
    weights = tmp_path / "w.pt"
    assert "random" not in str(build(ModelRequest(source=source, weights=weights)).notes)


def test_published_weights_are_named(monkeypatch):
    import timm
    import torchvision

    create, get = timm.create_model, torchvision.models.get_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **how: create(name, **how))
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights, **how: get(name))
    assert ask("timm:resnet18", pretrained=True).notes == (
        "The weights are timm's resnet18.a1_in1k.",
    )
    (note,) = ask("torchvision:resnet18", pretrained=True, attentions=(SE,)).notes
    assert note.startswith("The weights are torchvision's ResNet18_Weights.IMAGENET1K_V1; those of")
    assert note.endswith("the attention are random, of seed 0.")
