"""The registry: names, options by signature, refusals with their reasons, and lazy imports."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from edgeattn.attention import registry
from edgeattn.attention.registry import ATTENTIONS, AttentionSpec, SiteShape
from edgeattn.base.errors import InputError

OURS = list(ATTENTIONS)
SITE = SiteShape(channels=64, height=28, width=28)


def site(spec: AttentionSpec, **changes) -> SiteShape:
    conv = nn.Conv2d(64, 64, 3, padding=1) if spec.replaces_conv else None
    return dataclasses.replace(SITE, conv=conv, **changes)


def test_names_in_order():
    names = registry.names()
    assert names[: len(OURS)] == OURS
    assert {"timm-se", "timm-gca", "timm-bat"} <= set(names[len(OURS) :])
    assert len(set(names)) == len(names)


def test_every_attention_is_registered_and_tested():
    registered = {spec.target for spec in ATTENTIONS.values()}
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    for file in Path(registry.__file__).parent.glob("*.py"):
        for name in re.findall(r"^class (\w+)\(Attention\)", file.read_text(), re.MULTILINE):
            assert f"edgeattn.attention.{file.stem}:{name}" in registered, (
                f"{file}: {name} needs an entry in OURS of edgeattn/attention/ours.py"
            )
            assert f"edgeattn.attention.{file.stem} import {name}" in tests, (
                f"{file}: {name} needs a test, export_tests/attention/test_{file.stem}.py"
            )


def test_importing_the_registry_imports_no_torch():
    code = (
        "import sys\n"
        "from edgeattn.attention import registry\n"
        "registry.find('cbam'), registry.find('timm-se')\n"
        "heavy = {'torch', 'timm', 'torchvision', 'onnxruntime'} & set(sys.modules)\n"
        "print(*heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", OURS)
def test_every_module_is_built_with_typed_documented_options(name):
    spec = registry.find(name)
    module = registry.build(spec, site(spec), {})
    assert isinstance(module.note, str)
    assert spec.paper
    assert spec.summary
    for option in registry.options_of(spec):
        assert option.help, option.name
        assert option.type
        # A default given as text on the command line is the default again.
        text = registry.check_options(spec, {option.name: str(option.default)})
        again = registry.build(spec, site(spec), text)
        assert str(again) == str(module)


@pytest.mark.parametrize("name", OURS)
def test_options_are_the_keyword_only_parameters(name):
    offered = {option.name for option in registry.options_of(registry.find(name))}
    assert not offered & {"channels", "height", "width", "family", "stage", "stages", "blocks"}
    assert not offered & {"out_channels", "stride", "dilation_of_conv", "conv_groups"}


def test_options_reach_the_module():
    spec = registry.find("se")
    options = registry.check_options(spec, {"reduction": "8", "bias": "false"})
    assert options == {"reduction": 8, "bias": False}
    module = registry.build(spec, SITE, options)
    assert module.fc1.out_channels == 8
    assert module.fc1.bias is None


def test_facts_of_the_site_reach_the_module():
    facts = {"family": "resnet", "stage": 2, "stages": 4, "blocks": 33}
    module = registry.build(registry.find("eca"), site(ATTENTIONS["eca"], **facts), {})
    assert module.note == "kernel_size=3, by the formula"  # no block ends on 64 channels in stage 2
    facts = {**facts, "channels": 512}
    module = registry.build(registry.find("eca"), site(ATTENTIONS["eca"], **facts), {})
    assert module.note == "kernel_size=3, published for ResNet-101"
    module = registry.build(registry.find("stn"), site(ATTENTIONS["stn"], height=40), {})
    assert module.localisation[-1].kernel_size == (2, 1)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("ulsm", "ulsam"), ("CBAM", "cbam"), ("non-local", "nonlocal"), ("timm-cbm", "timm-cbam")],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(InputError, match=f"Did you mean {nearest}"):
        registry.find(name)


def test_an_unknown_name_like_no_other():
    with pytest.raises(InputError, match="no attention module named 'qqqq'") as caught:
        registry.find("qqqq")
    assert caught.value.mend.startswith("`edgeattn list attentions` shows them all")


def test_a_misspelt_option_is_refused_with_the_nearest_and_all():
    with pytest.raises(InputError, match="se has no option 'reducton'") as caught:
        registry.check_options(registry.find("se"), {"reducton": "8"})
    assert caught.value.mend == (
        "Did you mean reduction? Its options: reduction=16 (int), bias=True (bool)."
    )


@pytest.mark.parametrize(
    ("name", "option", "value", "reason"),
    [
        ("se", "reduction", "many", "takes int, not 'many'"),
        ("se", "reduction", "2.5", "takes int"),
        ("se", "bias", "perhaps", "takes bool"),
        ("bam", "combine", "sum", r"takes multiply \| add"),
        ("sa", "groups", "all", r"takes int \| auto"),
        ("simam", "e_lambda", "", "takes float"),
        ("timm-nl", "use_scale", "maybe", "takes bool"),
        ("timm-se", "rd_channels", "x", r"takes int \| none"),
    ],
)
def test_an_option_of_another_type(name, option, value, reason):
    with pytest.raises(InputError, match=reason):
        registry.check_options(registry.find(name), {option: value})


@pytest.mark.parametrize(
    ("name", "changes", "options", "reason"),
    [
        ("sa", {"channels": 15}, {}, "15 is odd"),
        ("sa", {}, {"groups": "64"}, "64 channels do not divide into 64 groups"),
        ("ulsam", {"channels": 30}, {}, "30 channels do not divide into 4 groups"),
        ("se", {}, {"reduction": "0"}, "reduction must be at least 1"),
        ("simam", {"height": 1, "width": 1}, {}, "needs at least 2 positions, and there is 1"),
        ("sge", {"height": 1, "width": 1}, {}, "needs at least 2 positions"),
        ("stn", {"height": 20}, {}, "at least 26x26, and gets 20x28"),
        ("eca", {}, {"kernel_size": "4"}, "must be odd"),
    ],
)
def test_a_module_that_cannot_sit_there(name, changes, options, reason):
    spec = registry.find(name)
    typed = registry.check_options(spec, options)
    with pytest.raises(InputError, match=reason) as caught:
        registry.build(spec, site(spec, **changes), typed)
    assert caught.value.fact.startswith(f"{name} cannot sit on a ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (None, "there is none here"),
        (nn.Conv2d(64, 64, 1), "this one is 1x1"),
        (nn.Conv2d(64, 64, 3, stride=(1, 2)), "differs between rows and columns"),
    ],
)
@pytest.mark.parametrize("name", ["sk", "timm-sk"])
def test_a_convolution_that_cannot_be_replaced(name, conv, reason):
    place = dataclasses.replace(SITE, conv=conv)
    with pytest.raises(InputError, match=reason):
        registry.build(registry.find(name), place, {})


def test_sk_takes_the_convolutions_shape():
    conv = nn.Conv2d(64, 128, 3, stride=2, padding=1)
    module = registry.build(ATTENTIONS["sk"], dataclasses.replace(SITE, conv=conv), {})
    assert [b[0].stride for b in module.branches] == [(2, 2), (2, 2)]
    assert module.branches[1][0].out_channels == 128
    depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64)
    module = registry.build(ATTENTIONS["sk"], dataclasses.replace(SITE, conv=depthwise), {})
    assert module.branches[0][0].groups == 64
