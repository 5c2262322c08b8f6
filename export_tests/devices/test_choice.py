"""What is chosen for a device, by its JetPack."""

from __future__ import annotations

from typing import Any

import pytest

from edgeattn.base.errors import InputError
from edgeattn.devices.choice import choice_of
from edgeattn.devices.profile import find, names
from edgeattn.support.tensorrt import Parser


@pytest.mark.parametrize(
    ("device", "jetpack", "dla", "expected"),
    [
        ("jetson-nano", None, False, ("8.2.1", "4.6.1", 13, "tensorrt", "fp16")),
        ("jetson-nano", "4.6", False, ("8.0.1", "4.6", 13, "tensorrt", "fp16")),
        ("jetson-tx2", "4.6.3", False, ("8.2.1", "4.6.3", 13, "tensorrt", "fp16")),
        ("jetson-xavier-nx", "5.1.2", True, ("8.5.2", "5.1.2", 16, "dla", "fp16")),
        ("jetson-orin-nx-8gb", "6.2.1", True, ("10.3", "6.2.1", 17, "dla", "fp16")),
        ("jetson-agx-xavier", "5", False, ("8.5.2", "5.1", 16, "tensorrt", "fp16")),
        ("jetson-orin-nx-8gb", "6.0", False, ("8.6.2", "6.0", 17, "tensorrt", "fp16")),
        ("jetson-orin-nano-8gb", "7", False, ("10.16.2", "7.2", 17, "tensorrt", "fp16")),
        ("jetson-agx-thor-t5000", "7.1", False, ("10.13.3", "7.1", 17, "tensorrt", "fp16")),
        ("rtx-4090", None, False, (None, "", 17, "tensorrt", "fp16")),
        ("raspberry-pi-5", None, False, (None, "", 17, "onnxruntime", "fp32")),
    ],
)
def test_chosen(device: str, jetpack: str | None, dla: bool, expected: tuple[object, ...]) -> None:
    found = choice_of(find(device), jetpack=jetpack, dla=dla)
    assert (found.tensorrt, found.jetpack, found.opset, found.target, found.precision) == expected


def test_every_device_has_a_choice_with_its_reasons() -> None:
    for name in names():
        found = choice_of(find(name))
        assert set(found.why) == {"opset", "target", "precision"}, name


def test_fp16_only_where_it_is_faster() -> None:
    device = find("rtx-3090")
    slow = device.model_copy(update={"peak_tflops": {"fp32": 10.0, "fp16": 5.0}})
    assert choice_of(slow).precision == "fp32"


def test_a_version_of_tensorrt_finds_its_jetpack() -> None:
    found = choice_of(find("jetson-agx-xavier"), tensorrt="8.2")
    assert (found.jetpack, found.opset, found.tensorrt) == ("4.6.1", 13, "8.2")
    # Of a JetPack that it never had, the parser's own table says the opset.
    found = choice_of(find("rtx-3090"), tensorrt="8.0.3")
    assert (found.jetpack, found.opset, found.tensorrt) == ("", 13, "8.0.3")
    assert choice_of(find("rtx-3090"), tensorrt="10.16").opset == 17
    assert choice_of(find("jetson-orin-nx"), tensorrt="10").tensorrt == "10.16.2"
    assert choice_of(find("rtx-3090"), tensorrt="11").tensorrt == "11.0"


@pytest.mark.parametrize(
    ("device", "asked", "is_cast"),
    [
        ("jetson-xavier-nx", {}, False),  # TensorRT 8.5 takes fp16 as a permission
        ("jetson-orin-nx-8gb", {"jetpack": "6.2"}, True),
        ("jetson-orin-nx-8gb", {"jetpack": "6.2", "dla": True}, False),
        ("jetson-agx-orin-64gb", {"tensorrt": "11.4.1", "dla": True}, True),
        ("rtx-4090", {}, True),
    ],
)
def test_the_file_is_cast_where_its_types_say_the_precision(
    device: str, asked: dict[str, Any], is_cast: bool
) -> None:
    found = choice_of(find(device), **asked)
    assert found.precision == "fp16"
    assert found.is_cast == is_cast
    assert ("--fp16" in found.why["precision"]) == (not is_cast)


@pytest.mark.parametrize(
    ("device", "asked", "fact", "mend"),
    [
        ("jetson-nano", {"jetpack": "5.1"}, "no JetPack '5.1'", "4.6, 4.6.1"),
        ("jetson-nano", {"jetpack": "newest"}, "no JetPack 'newest'", "4.6, 4.6.1"),
        # TensorRT 8.4, which no profile has.
        ("jetson-agx-xavier", {"jetpack": "5.0.2"}, "no JetPack '5.0.2'", "5.1"),
        ("jetson-orin-nx-8gb", {"jetpack": "6"}, "several JetPacks 6", "6.0, 6.1-6.2"),
        ("rtx-4090", {"jetpack": "6.2"}, "no Jetson", "--jetpack"),
        ("jetson-orin-nano-8gb", {"dla": True}, "no DLA", "Orin NX"),
        ("raspberry-pi-5", {"dla": True}, "no DLA", "--dla"),
        ("raspberry-pi-5", {"tensorrt": "10.3"}, "no TensorRT", "--tensorrt"),
        ("jetson-orin-nx-8gb", {"jetpack": "6.2", "tensorrt": "8.6"}, "TensorRT 10.3", "one"),
    ],
)
def test_refused(device: str, asked: dict[str, Any], fact: str, mend: str) -> None:
    with pytest.raises(InputError) as error:
        choice_of(find(device), **asked)
    assert fact in error.value.fact
    assert mend in error.value.mend


def test_profiles_and_the_parsers_tables_have_the_same_opsets() -> None:
    rows = {(row.tensorrt, row.opset) for name in names() for row in find(name).jetpack}
    assert rows
    for tensorrt, opset in rows:
        parser = Parser(tensorrt)
        assert parser.takes_opset(opset).verdict == "yes", tensorrt
        assert parser.takes_opset(opset + 1).verdict == "unknown", tensorrt
