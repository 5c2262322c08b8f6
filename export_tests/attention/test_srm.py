"""SRM against its formula, its counts and its start."""

import torch

from edgeattn.attention.srm import SRM


def test_formula(ref):
    def formula(x, w):
        mean, std = x.mean(axis=(2, 3)), x.std(axis=(2, 3), ddof=1)
        style = mean * w["style"][:, 0] + std * w["style"][:, 1]
        return x * ref.sigmoid(ref.batch_norm(style, w, "norm"))[:, :, None, None]

    ref.agree(SRM(7), formula, 7)


def test_counts(ref):
    channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(SRM(c)) for c in channels) == 60_416  # 25.56M to 25.62M


def test_starts_as_a_gate_of_one_half():
    x = torch.randn(2, 8, 3, 5)
    torch.testing.assert_close(SRM(8).eval()(x), x / 2)
