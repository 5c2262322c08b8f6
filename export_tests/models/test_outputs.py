"""What outputs are called: by the keys of what a model returns."""

import json
from typing import NamedTuple

import pytest
import torch

from edgeattn.models.probe import keys_of


class Found(NamedTuple):
    boxes: torch.Tensor
    scores: torch.Tensor


ONE = torch.zeros(1)


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ({"out": ONE, "aux": ONE}, ("out", "aux")),
        ({"maps": [ONE, ONE], "none": None}, ("maps_0", "maps_1")),
        ({"a": {"b": ONE}, 3: ONE}, ("a_b", "output_3")),
        ([{"boxes": ONE}, {"boxes": ONE}], ("output_0_boxes", "output_1_boxes")),
        (({"boxes": ONE}, ONE), ("output_0_boxes", "output_1")),
        (Found(ONE, ONE), ("boxes", "scores")),
        ((ONE, ONE), ()),
        (ONE, ()),
        ({"a_b": ONE, "a": {"b": ONE}}, ()),  # two of one name
    ],
)
def test_keys_name_outputs(outputs, names):
    assert keys_of(outputs) == names


@pytest.mark.parametrize(
    ("key", "names"), [("map", ["logits", "map"]), ("input", ["output_0", "output_1"])]
)
def test_a_file_has_them_unless_an_input_is_called_so(tmp_path, edgeattn, key, names):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, input):\n"
        "        x = self.conv(input)\n"
        f"        return {{'logits': x.mean((2, 3)), {key!r}: x.relu()}}\n"
    )
    done = edgeattn("export", "net.py:Net", "--shape", "1x3x16x16", "-o", "a.onnx", "--json")
    assert [one["name"] for one in json.loads(done.stdout)["outputs"]] == names
