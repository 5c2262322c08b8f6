"""The forms for any runtime: that all of them are equal, what is written, and when."""

from collections import Counter

import pytest

from edgeattn.base.errors import InputError
from edgeattn.lowering.measures import Figures
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.targets.portable import Everywhere, PortableWriter
from edgeattn.workflows.tune import tuned
from export_tests.lowering.kit import as_double, assert_equal64
from export_tests.lowering.targets.test_onnxruntime import Taken
from export_tests.lowering.targets.test_openvino import net


def lowered(model, *, must_pay=True, **forms):
    """Lowers for any runtime, and checks against the model in float64."""
    how = {"target": "portable", "forms": Taken(forms) if forms else None, "must_pay": must_pay}
    double = as_double(model)
    exact = double.clone()
    lower(exact, **how)
    assert_equal64(double, exact, batches=(1,))
    made = model.clone()
    return lower(made, **how), Counter(node.op_type for node in made.graph)


@pytest.mark.parametrize("name", ["se-linear-view", "eca-views", "cbam-views"])
@pytest.mark.parametrize(
    "forms",
    [{}, *({family: forms[-1].name} for family, forms in PortableWriter.forms.items())],
    ids=str,
)
def test_forms_are_equal(name, forms):
    record, ops = lowered(net(name), must_pay=False, **forms)
    assert record.rewrites
    assert not ops["Transpose"] + ops["Gather"] + ops["Resize"]


def test_a_map_is_pooled_as_it_is():
    _, ops = lowered(net("cbam-views"), must_pay=False, squeeze="map")
    assert (ops["AveragePool"], ops["MaxPool"]) == (1, 1)


def figures(*kernels):
    names = ("TensorRT", "ONNX Runtime", "OpenVINO")
    each = {
        name: Figures(kernels=count, traffic_bytes=10_000_000)
        for name, count in zip(names, kernels, strict=True)
    }
    return Everywhere(kernels=sum(kernels), traffic_bytes=0, each=each)


@pytest.mark.parametrize(
    ("kernels", "pays"),
    [((30, 30, 30), False), ((29, 30, 30), True), ((20, 30, 60), False), ((40, 20, 20), False)],
)
def test_a_form_pays_where_no_runtime_pays_for_it(kernels, pays):
    assert figures(*kernels).pays_against(figures(30, 30, 30)) is pays


def test_it_is_tuned_for_no_runtime():
    with pytest.raises(InputError, match="portable is for any"):
        tuned(net("se-linear-view"), target="portable", rules=None)
