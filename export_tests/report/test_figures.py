"""Figures: files that open, say what they show, and are the same each time."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from edgeattn.base.errors import InputError
from edgeattn.report.figures import PICTURES, draw
from export_tests.report.traces import HOSTILE, plain, report, trace

SVG = "{http://www.w3.org/2000/svg}"


def drawn(tmp_path, made, picture):
    """The SVG of a picture; matplotlib writes each text beside its outlines, as a comment."""
    path = tmp_path / "figure.svg"
    draw(made, picture, path)
    text = path.read_text(encoding="utf-8")
    ET.fromstring(text)
    return text


#: The one that is of a model at several batches.
OF_SEVERAL = {"batches"}
OF_ONE = len(PICTURES.keys() - OF_SEVERAL)


def test_there_are_five():
    assert set(PICTURES) == {"icicle", "kinds", "hidden-cost", "roofline"} | OF_SEVERAL


def test_every_figure_says_how_its_figures_were_got(tmp_path):
    measured = drawn(tmp_path, report(), None)
    assert measured.count("measured on A Device, ONNX Runtime 1.2") == len(
        PICTURES.keys() - OF_SEVERAL
    )
    predicted = drawn(tmp_path, report(trace(predicted=True)), None)
    assert predicted.count("predicted on A Device, TensorRT 1.2") == len(
        PICTURES.keys() - OF_SEVERAL
    )


def test_a_plan_for_another_device_says_so(tmp_path):
    machine = trace().machine.model_copy(update={"not_for": "built for sm_86"})
    assert "built for sm_86" in drawn(tmp_path, report(trace(machine=machine)), "kinds")


def test_hidden_cost_shows_sites_without_macs(tmp_path):
    text = drawn(tmp_path, report(), "hidden-cost")
    assert "sites 0" in text
    assert "sites 26.8 %" in text
    assert "0 parameters, 0 MACs" in text


def test_hidden_cost_of_several_has_a_line_for_each(tmp_path):
    made = report(plain(), trace("one"), trace("two"), trace("three", predicted=True))
    text = drawn(tmp_path, made, "hidden-cost")
    assert text.count("26.8 % of time") == 3
    assert text.count("<!-- measured -->") == text.count("<!-- predicted -->") == 1


def test_the_icicle_names_modules_and_their_shares(tmp_path):
    text = drawn(tmp_path, report(), "icicle")
    assert "layer1 37.8 %" in text
    assert "conv1 24.4 %" in text


def test_kinds_keep_measured_and_predicted_on_axes_of_their_own(tmp_path):
    text = drawn(tmp_path, report(plain(), trace("other", predicted=True)), "kinds")
    assert "ms, measured" in text
    assert "ms, predicted" in text
    assert "reduction" in text
    assert "Σ 410 µs" in text


@pytest.mark.parametrize("bounds", [(5.0, 9.0), (0.0, 1e-6)])
def test_an_interval_beside_the_latency_is_drawn(bounds, tmp_path):
    odd = trace(predicted=True).model_copy(update={"interval_ms": bounds})
    assert "A Device" in drawn(tmp_path, report(odd), "kinds")


def test_the_roofline_has_its_roofs(tmp_path):
    text = drawn(tmp_path, report(), "roofline")
    assert "50 GB/s" in text
    assert "1.5 TFLOP/s" in text
    assert "copies, by bandwidth" in text


def test_the_roofline_without_a_device_or_bytes(tmp_path):
    machine = trace().machine.model_copy(update={"bandwidth_gbps": None, "peak_tflops": None})
    assert "GB/s" not in drawn(tmp_path, report(trace(machine=machine)), "roofline")
    kernels = tuple(one.model_copy(update={"traffic_bytes": None}) for one in trace().kernels)
    assert "bytes of no kernel" in drawn(tmp_path, report(trace(kernels=kernels)), "roofline")


def test_names_are_text_and_long_ones_are_cut(tmp_path):
    made = report(plain(), trace(HOSTILE * 3, site="$\\frac{$"))
    assert "alert(1)</script>" not in drawn(tmp_path, made, None)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_report_gives_the_same_bytes(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw(report(), "roofline", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"<dc:date>" not in paths[0].read_bytes()


def test_a_png_opens(tmp_path):
    draw(report(), None, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        image.verify()
        assert image.width > 2000


def test_thirteen_models_have_a_line_each(tmp_path):
    made = report(plain(), *(trace(f"net-{at}") for at in range(12)))
    text = drawn(tmp_path, made, "kinds")
    assert all(f"<!-- net-{at} -->" in text for at in range(12))


def test_a_reader_s_own_settings_and_pyplot_are_left_alone(tmp_path):
    import matplotlib as mpl

    mpl.rcParams["font.size"] = 31.0
    try:
        draw(report(), "kinds", tmp_path / "figure.svg")
        assert mpl.rcParams["font.size"] == 31.0
    finally:
        mpl.rcdefaults()
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("picture", "name", "said"),
    [("pie", "figure.svg", "no picture 'pie'"), ("kinds", "figure.gif", "'.gif'")],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, picture, name, said):
    with pytest.raises(InputError, match=said):
        draw(report(), picture, tmp_path / name)
    assert not list(tmp_path.iterdir())
