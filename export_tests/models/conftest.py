"""Models that the tests of edgeattn.models share."""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.base.torchvision_ops import declare_missing_operators

declare_missing_operators()


class Residual(nn.Module):
    """A user's own block: functional activation, shortcut called last, as in timm."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.c1 = nn.Conv2d(channels, out, 3, stride, 1)
        self.n1 = nn.BatchNorm2d(out)
        self.c2 = nn.Conv2d(out, out, 3, 1, 1)
        self.n2 = nn.BatchNorm2d(out)
        self.short = nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x):
        y = F.relu(self.n1(self.c1(x)))
        y = self.n2(self.c2(y))
        y = y + self.short(x)
        return F.relu(y)


class Own(nn.Module):
    """A user's own network: two stages of two blocks, and nothing of timm's."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.one = nn.Sequential(Residual(8, 8), Residual(8, 8))
        self.two = nn.Sequential(Residual(8, 16, 2), Residual(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.two(self.one(F.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Gain(nn.Module):
    """An attention of the tests: a factor per channel, so that its effect is known by hand."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 2.0, channels))

    def forward(self, x):
        return x * self.scale[:, None, None]


class Evil:
    """A thing whose pickle makes a folder when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def randomise(module, seed=0):
    """Draws parameters and statistics, by the seed alone: two models come to hold the same."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(0.3 + 0.5 * torch.rand(value.shape, generator=generator))
    return module.eval()


@pytest.fixture
def own():
    torch.manual_seed(0)
    return Own().eval()


@pytest.fixture(scope="session")
def zoo():
    """Creates models by name, and surveys them once per session."""
    import timm
    import torchvision

    from edgeattn.models.probe import probe
    from edgeattn.models.sites import Survey

    surveys = {}

    def survey(name, size=64):
        if (name, size) not in surveys:
            model = (
                torchvision.models.get_model(name.removeprefix("tv:"))
                if name.startswith("tv:")
                else timm.create_model(name)
            )
            surveys[name, size] = Survey.of(probe(model, [torch.zeros(1, 3, size, size)]))
        return surveys[name, size]

    return survey
