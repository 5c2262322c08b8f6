"""Pooling with a ceiling: a window that would start in the end padding is none, at every opset."""

import numpy as np
import pytest
import torch

from edgeattn.base.errors import InputError


def _pool(op, build, x, opset, **attributes):
    """Gives a model with the shapes that torch writes, which are those of opset 22."""
    model = build(op, {"x": x}, {"ceil_mode": 1, **attributes}, opset=22)
    model.opset_import[0].version = opset
    return model


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (2, 3), (3, 3)])
@pytest.mark.parametrize("end", [0, 1])
def test_maxima(size, kernel, stride, end, rng, build, prove):
    x = rng.normal(size=(2, 3, size, size + 1)).astype(np.float32)
    pads = [min(1, kernel // 2)] * 2 + [end, end]
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads}
    for source, opset in ((22, 13), (18, 20), (18, 18), (13, 22)):
        assert prove(_pool("MaxPool", build, x, source, **attributes), opset, {"x": x}) == [
            "MaxPool"
        ]


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("include", [0, 1])
def test_means_are_those_of_torch(size, kernel, include, rng, build, prove):
    x = rng.normal(size=(2, 3, size, size)).astype(np.float32)
    module = torch.nn.AvgPool2d(kernel, 2, 1, ceil_mode=True, count_include_pad=bool(include))
    want = [module(torch.from_numpy(x)).numpy()]
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [2, 2],
        "pads": [1] * 4,
        "count_include_pad": include,
    }
    for source, opset in ((22, 13), (18, 20), (18, 17), (13, 22)):
        model = _pool("AveragePool", build, x, source, **attributes)
        assert prove(model, opset, {"x": x}, want=want) == ["AveragePool"]


def test_open_sizes_stay_as_they_are(rng, build, legal):
    x = rng.normal(size=(2, 3, 7, 7)).astype(np.float32)
    model = _pool("MaxPool", build, x, 18, kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4)
    for info in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            info.type.tensor_type.shape.dim[axis].dim_param = f"{info.name}_{axis}"
    (node,) = legal(model, 13).graph.node
    assert {a.name: a.i for a in node.attribute}["ceil_mode"] == 1


def test_a_cut_window_beside_a_dropped_one_is_refused(rng, build, legal):
    """Only a mean that counts the padding can tell."""
    x = rng.normal(size=(2, 3, 7, 8)).astype(np.float32)
    attributes = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1] * 4}
    model = _pool("AveragePool", build, x, 22, **attributes, count_include_pad=1)
    with pytest.raises(InputError, match="lowest opset that works is 22"):
        legal(model, 17)
