"""Plans: what is told while one is made, and when it is given up."""

from __future__ import annotations

import pytest

from edgeattn.base.errors import InputError
from edgeattn.base.worker import SlowError
from edgeattn.devices.profile import find
from edgeattn.engine import apart
from edgeattn.graph.reading import read
from edgeattn.profiling.sources.engines.plans import build_plan
from export_tests.foreign import net

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")


def test_one_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    model = read(net(tmp_path / "a.onnx")).model
    seen = []

    def slow(*_given, on_progress, limit_s):
        on_progress(1, 9)
        raise SlowError(f"{limit_s} s")

    monkeypatch.setattr(apart, "build", slow)
    with pytest.raises(
        InputError, match="has not planned the model's 8 nodes within 5 s"
    ) as caught:
        build_plan(
            model,
            find("jetson-orin-nano"),
            tmp_path,
            timeout_s=5.0,
            on_progress=lambda *said: seen.append(said),
        )
    assert "--plan-timeout" in caught.value.mend
    assert seen == [(1, 9)]
