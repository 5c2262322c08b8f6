"""A random draw touches every channel, and shows what a fresh initialisation hides."""

from __future__ import annotations

import torch
from torch import nn

from edgeattn.graph.writing import save
from edgeattn.models import capture
from edgeattn.parity import check_file
from edgeattn.parity.randomise import randomise


class Gated(nn.Module):
    """x + gamma·conv(norm(x)), with gamma = 0 at the start, as in dual and non-local attention."""

    def __init__(self, *, with_gate=True):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.with_gate = with_gate

    def forward(self, x):
        x = self.stem(x)
        return x + self.gamma * self.conv(self.norm(x)) if self.with_gate else x


def parameters_and_statistics(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_every_parameter_and_statistic_is_drawn():
    torch.manual_seed(0)
    module = Gated().eval()
    before = parameters_and_statistics(module)
    randomise(module, (torch.randn(2, 3, 8, 8),), seed=5)
    after = parameters_and_statistics(module)
    for name, value in after.items():
        if value.is_floating_point():
            assert (value != before[name]).all(), name
            flat = value.flatten()
            assert len(set(flat.tolist())) == len(flat), f"{name} repeats between channels"
    assert abs(after["gamma"].item()) >= 0.2


def test_the_same_seed_draws_the_same():
    draws = []
    for seed in (7, 7, 8):
        torch.manual_seed(0)
        module = Gated().eval()
        randomise(module, (torch.ones(1, 3, 8, 8).cumsum(-1),), seed=seed)
        draws.append(parameters_and_statistics(module))
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    assert not torch.equal(draws[0]["gamma"], draws[2]["gamma"])


def test_activations_stay_of_order_one_through_depth():
    torch.manual_seed(0)
    layers = []
    for _ in range(40):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    module = nn.Sequential(nn.Conv2d(3, 16, 1), *layers).eval()
    x = torch.randn(1, 3, 8, 8)
    randomise(module, (x,), seed=3)
    rms = module(x).square().mean().sqrt().item()
    assert 0.1 < rms < 10


def test_a_hidden_fault_is_shown(tmp_path):
    torch.manual_seed(0)
    module, inputs = Gated().eval(), (torch.randn(1, 3, 8, 8),)
    faulty = Gated(with_gate=False).eval()
    faulty.load_state_dict(module.state_dict())
    path = tmp_path / "faulty.onnx"

    def parity():
        program = capture.trace(faulty, inputs, dynamic_batch=False)
        model = capture.fold(capture.translate(program))
        capture.name_everything(model, input_names=(), output_names=())
        save(model, path)
        return check_file(path, module, inputs)

    assert parity().passed, "with gamma = 0 the missing branch cannot be seen"
    randomise(module, inputs, seed=1)
    faulty.load_state_dict(module.state_dict())
    assert not parity().passed
