"""The ladder passes what is right, and names the first rung and tensor of what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from edgeattn import legalise
from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.lowering import pipeline
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.compare import Reference, Run
from edgeattn.parity.floor import Floor
from edgeattn.parity.metrics import tolerance_of
from edgeattn.precision import cast as casting
from edgeattn.records.parity import OutputParity
from edgeattn.runtimes.onnxruntime import Session
from edgeattn.workflows import engine_step as engines
from edgeattn.workflows.climb import climb
from edgeattn.workflows.ladder import climb_file, climb_model
from edgeattn.workflows.pipeline import Candidate, Step
from export_tests.foreign import net

MODEL = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 5)
        self.mean = nn.Conv2d(16, 16, 3)

    def forward(self, x):
        return self.head(self.mean(self.norm(self.conv(x)).relu()).mean((2, 3)))

def make():
    return Small()
"""
HALF = CastOptions(precision="fp16")
PLAIN = {"simplify": False}


@pytest.fixture(scope="module")
def request_of(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.py"
    path.write_text(MODEL)
    attention = AttentionRequest(name="se", at="norm", options={"reduction": "4"})
    return ModelRequest(source=f"{path}:make", attentions=(attention,), shapes=((1, 3, 16, 16),))


def states(ladder):
    return {rung.rung: rung.state for rung in ladder.rungs}


def spoil(model, name, factor=1.1):
    value = model.graph.initializers[name]
    value.const_value = ir.tensor((value.const_value.numpy() * factor).astype(np.float32))


def test_what_is_right_stands_on_every_rung(request_of):
    seen = []
    ladder = climb_model(
        request_of, ExportOptions(cast=HALF, dynamic_batch=True, **PLAIN), on_stage=seen.append
    )
    assert (ladder.start, ladder.first_fall, ladder.first_difference) == ("torch", None, None)
    assert list(states(ladder).items()) == [
        ("onnx", "passed"), ("lowered", "passed"), ("cast", "passed"), ("engine", "not climbed")
    ]  # fmt: skip
    against = {
        rung.rung: [(one.against, one.weights) for one in rung.comparisons] for rung in ladder.rungs
    }
    assert against["onnx"] == [("torch", "model"), ("torch", "random")]
    assert against["lowered"] == [
        ("onnx", "model"), ("torch", "model"), ("onnx", "random"), ("torch", "random")
    ]  # fmt: skip
    assert against["cast"] == [("lowered", "model"), ("torch", "model")]
    for rung in ladder.rungs[:3]:
        assert {one.runs for one in rung.comparisons} == {8}  # batches 1, 2, 3, 8; twice
        assert rung.seconds > 0
    ratios = [rung.comparisons[0].outputs[0].sqnr_db for rung in ladder.rungs[:3]]
    assert min(ratios[:2]) > 100 > ratios[2] > 40
    assert seen[-4:] == ["onnx", "lowered", "cast", "engine"]
    assert json.loads(ladder.model_dump_json())["schema_version"] == 1


def test_an_engine_that_no_gpu_is_here_for_is_not_passed(request_of, monkeypatch):
    monkeypatch.setattr("edgeattn.workflows.engine_step.local_gpu", lambda: None)
    ladder = climb_model(request_of, ExportOptions(**PLAIN))
    assert list(states(ladder)) == ["onnx", "lowered", "engine"]
    assert ladder.rungs[-1].state == "not climbed"
    assert "No NVIDIA GPU" in ladder.rungs[-1].reason
    assert ladder.rungs[-1].comparisons == ()


def test_a_fall_of_the_export_is_named(request_of, monkeypatch):
    real = legalise.legalise

    def wrong(model, opset):
        spoil(model, "mean.weight")
        return real(model, opset)

    monkeypatch.setattr(legalise, "legalise", wrong)
    ladder = climb_model(request_of, ExportOptions(**PLAIN))
    assert (ladder.first_fall, ladder.first_difference) == ("onnx", "mean")
    assert "It differs from torch" in ladder.rungs[0].reason
    assert states(ladder) == {"onnx": "fell", "lowered": "not climbed", "engine": "not climbed"}
    assert "stands on onnx" in ladder.rungs[1].reason


def test_a_fall_of_lowering_is_named(request_of, monkeypatch):
    real = pipeline.lower

    def wrong(model, **options):
        spoil(model, "attention.fc1.weight")
        return real(model, **options)

    monkeypatch.setattr(pipeline, "lower", wrong)
    ladder = climb_model(request_of, ExportOptions(cast=HALF, **PLAIN))
    assert (ladder.first_fall, ladder.first_difference) == ("lowered", "attention")
    assert "It differs from onnx" in ladder.rungs[1].reason
    assert states(ladder)["onnx"] == "passed"
    assert states(ladder)["cast"] == "not climbed"


def test_a_fall_that_only_random_weights_show(request_of, monkeypatch):
    real = pipeline.lower

    def wrong(model, **options):  # the norm's shift, which is 0 at first
        done = real(model, **options)
        if model.graph.initializers["norm.bias"].const_value.numpy().any():
            spoil(model, "norm.bias", 2)
        return done

    monkeypatch.setattr(pipeline, "lower", wrong)
    ladder = climb_model(request_of, ExportOptions(rules=(), **PLAIN))
    assert (ladder.first_fall, ladder.first_difference) == ("lowered", "norm")
    assert "random weights" in ladder.rungs[1].reason
    assert [one.passed for one in ladder.rungs[1].comparisons] == [True, True, False, False]


@pytest.fixture
def file(tmp_path):
    return net(tmp_path / "net.onnx", shape=("n", 3, 12, 12))


def test_from_a_file(file):
    ladder = climb_file(file, OptimizeOptions(**PLAIN), cast=HALF)
    assert (ladder.start, ladder.model) == ("onnx", str(file))
    assert states(ladder) == {"lowered": "passed", "cast": "passed", "engine": "not climbed"}
    cast = ladder.rungs[1]
    assert cast.precision == "fp16"
    assert [one.against for one in cast.comparisons] == ["lowered", "onnx"]


def test_a_fall_of_the_cast_is_named(file, monkeypatch):
    real = casting.cast_file

    def wrong(source, destination, options, **how):
        real(source, destination, options, **how)
        model = onnx.load(destination)
        weight = next(one for one in model.graph.initializer if one.name == "b3")
        array = numpy_helper.to_array(weight) * np.float16(1.5)
        weight.CopyFrom(numpy_helper.from_array(array, "b3"))
        onnx.save(model, destination)

    monkeypatch.setattr(casting, "cast_file", wrong)
    ladder = climb_file(file, OptimizeOptions(rules=(), **PLAIN), cast=HALF)
    assert (ladder.first_fall, ladder.first_difference) == ("cast", "e")
    assert "It differs from lowered" in ladder.rungs[1].reason


def test_what_the_casts_own_gate_says_is_a_fall(file):
    strict = CastOptions(precision="fp16", min_sqnr_db=150.0)
    ladder = climb_file(file, OptimizeOptions(**PLAIN), cast=strict)
    assert ladder.first_fall == "cast"
    assert ladder.first_difference is not None
    assert ladder.rungs[1].comparisons[0].min_sqnr_db == 150

    def refuse(*_, **__):
        raise CheckError("It says no.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(casting, "cast_file", refuse)
        ladder = climb_file(file, OptimizeOptions(**PLAIN), cast=HALF)
    assert (ladder.first_fall, ladder.rungs[1].reason) == ("cast", "It says no.")


def test_what_does_not_run_falls(file, monkeypatch):
    def broken(_source, destination, _options, **_how):
        destination.write_bytes(b"broken")

    monkeypatch.setattr(casting, "cast_file", broken)
    ladder = climb_file(file, OptimizeOptions(**PLAIN), cast=HALF)
    assert ladder.first_fall == "cast"
    assert "cast.onnx is no ONNX model" in ladder.rungs[1].reason


def test_real_data_is_compared_on(file, tmp_path, monkeypatch):
    seen = []
    real = Session.run
    monkeypatch.setattr(Session, "run", lambda s, i: seen.append(i[0]) or real(s, i))
    data = np.random.default_rng(1).normal(5, 1, (2, 3, 12, 12)).astype(np.float32)
    climb_file(file, OptimizeOptions(**PLAIN), inputs=[data])
    assert all(np.array_equal(one, data) for one in seen)
    np.savez(tmp_path / "data.npz", x=data)
    seen.clear()
    cast = CastOptions(precision="fp16", calibration=str(tmp_path / "data.npz"))
    climb_file(file, OptimizeOptions(**PLAIN), cast=cast)
    assert min(one.mean() for one in seen) > 4


# No GPU is here: an engine is stood in for by the file that it would be built from.


class StandIn:
    """Runs a file as an engine is run."""

    def __init__(self, path, spoiled=""):
        self._session = Session(path)
        self._spoiled = spoiled
        self.inputs = {value.name: value.shape for value in self._session.inputs}
        self.output_names = self._session.output_names

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, feeds):
        outputs = self._session.run([feeds[name] for name in self.inputs])
        found = dict(zip(self.output_names, outputs, strict=True))
        late = False
        for name in sorted(found, key=list("cmsregay").index):  # in order of execution
            late = late or name == self._spoiled
            found[name] = found[name] * 2 if late or self._spoiled == "all" else found[name]
        return found


def test_an_engine_that_agrees_passes(file, monkeypatch):
    monkeypatch.setattr(engines, "_built", lambda path, *_: StandIn(path))
    ladder = climb_file(file, OptimizeOptions(rules=(), **PLAIN))
    assert states(ladder) == {"lowered": "passed", "engine": "passed"}
    assert ladder.rungs[1].precision == "tf32"
    assert [one.runs for one in ladder.rungs[1].comparisons] == [4, 4]


def test_a_fall_of_the_engine_is_named(file, monkeypatch):
    def built(path, *_):
        return StandIn(path, "all" if "exposed" not in path.name else "g")

    monkeypatch.setattr(engines, "_built", built)
    ladder = climb_file(file, OptimizeOptions(rules=(), **PLAIN))
    assert (ladder.first_fall, ladder.first_difference) == ("engine", "g")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (MissingError("No library.", mend="Get one."), "not climbed"),
        (CheckError("It builds nothing."), "fell"),
    ],
)
def test_an_engine_that_is_not_built(file, monkeypatch, error, state):
    def refuse(*_):
        raise error

    monkeypatch.setattr(engines, "_built", refuse)
    rung = climb_file(file, OptimizeOptions(**PLAIN)).rungs[1]
    assert rung.state == state
    assert error.fact in rung.reason
    assert error.mend in rung.reason


@pytest.mark.parametrize(
    ("options", "cast", "said"),
    [
        ({"opset": 12}, None, "Opset 12"),
        ({"target": "tpu"}, None, "no target"),
        ({"shapes": ((1, 3, 13, 12),)}, None, "takes"),
        ({}, CastOptions(precision="int8"), "calibrate"),
    ],
)
def test_bad_input_is_refused(file, options, cast, said):
    with pytest.raises(InputError, match=said):
        climb_file(file, OptimizeOptions(**options), cast=cast)


def floor_of(db):
    """A floor this high, of one output."""
    own = OutputParity(
        name="y", max_abs=0, max_rel=0, sqnr_db=db, cosine=1, argmax_agreement=1, passed=True
    )
    return Floor(off=[own], on=[own], lowest_db=45, reason="it is {db:.0f} dB from itself")


def noisy(ratio_db, floor_db, *weights):
    """Climbs one rung, whose outputs are this far from the start's, on a model with this floor."""
    generator = np.random.default_rng(0)
    want = generator.normal(size=(1, 1000)).astype(np.float32)
    noise = generator.uniform(-1, 1, want.shape)
    noise *= np.sqrt(np.sum(want**2) / np.sum(noise**2)) * 10 ** (-ratio_db / 20)
    run = Run(optimisations="off", batch=1, names=["y"], outputs=[(want + noise).astype("f4")])
    references = [
        Reference(
            weights=kind,
            inputs={1: []},
            outputs={1: [want]},
            locate=lambda _path, _tolerance: "there",
            measure_floor=lambda: floor_of(floor_db),
        )
        for kind in weights
    ]
    made = Candidate(path=Path("made.onnx"), runs=[run])
    step = Step(name="onnx", tolerance=tolerance_of("fp32"), make=lambda *_: made)
    return climb("net", "torch", references, [step], notes=[])


def test_a_model_that_amplifies_rounding_is_held_to_what_torch_itself_reaches():
    (rung,) = noisy(70, 75, "model").rungs
    assert (rung.state, rung.comparisons[0].min_sqnr_db) == ("passed", 65)
    ladder = noisy(70, 120, "model")
    assert (ladder.first_fall, ladder.first_difference) == ("onnx", "there")
    assert noisy(60, 75, "model").first_fall == "onnx"


def test_where_rounding_is_all_there_is_nothing_can_be_told():
    ladder = noisy(5, 20, "model")
    assert ladder.first_fall == "onnx"
    assert "Nothing can be told" in ladder.rungs[0].reason
    ladder = noisy(5, 20, "random")
    assert ladder.first_fall is None
    assert ladder.rungs[0].comparisons == ()
    assert "Not climbed with random weights" in ladder.notes[0]


def test_a_model_that_is_no_function_is_refused(tmp_path):
    path = tmp_path / "noise.py"
    path.write_text(
        "import torch\nclass Noise(torch.nn.Module):\n"
        "    def forward(self, x):\n        return torch.dropout(x, 0.5, True)\n"
    )
    request = ModelRequest(source=f"{path}:Noise", shapes=((1, 3, 8, 8),))
    with pytest.raises(InputError, match="no function of its input"):
        climb_model(request, ExportOptions(**PLAIN))
