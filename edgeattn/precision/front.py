"""How much of a model's front stays float32, where the rest amplifies rounding.

In some networks a rounding error grows from layer to layer: what the first layers round costs more
of the output's SQNR than all that follows. There the front stays float32, no more of it than the
tolerance asks for. Most networks need none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeattn.graph.reading import Source
from edgeattn.graph.writing import save
from edgeattn.options.cast import CastOptions
from edgeattn.parity import tolerance_of
from edgeattn.precision.calibration import Samples
from edgeattn.precision.half import Halved, to_half
from edgeattn.precision.judge import Judge
from edgeattn.precision.keep import Kept, keep_front
from edgeattn.precision.ranges import Range

#: The parts of a model that are tried, from the front.
_PARTS: Final = (0.0, 0.06, 0.12, 0.18, 0.25, 0.35, 0.5)
#: Other inputs than those that it is chosen on give a little less.
_MARGIN_DB: Final = 2.0


def near_enough(
    found: Source,
    kept: Sequence[Kept],
    ranges: Mapping[str, Range],
    samples: Samples,
    path: Path,
    options: CastOptions,
) -> tuple[tuple[Kept, ...], Halved]:
    """Cast a model to half, with the smallest front in float32 that is near enough to it.

    Args:
        found: The model, after `half.prepare`.
        kept: The nodes that stay float32 in any case.
        ranges: What was measured of its values.
        samples: What the choice is made on.
        path: The file to write.
        options: How to cast.

    Returns:
        All nodes that stay float32, and the cast model; with no front where none helps.
    """
    usual = tolerance_of("fp16", min_sqnr_db=options.min_sqnr_db)
    tolerance = tolerance_of("fp16", min_sqnr_db=usual.min_sqnr_db + _MARGIN_DB)
    judge = Judge(found.path, samples)

    def attempt(part: float) -> tuple[tuple[Kept, ...], Halved]:
        chosen = keep_front(found.model, kept, ranges, part=part)
        halved = to_half(found.model, {one.node for one in chosen}, half_io=options.half_io)
        save(halved.model, path)
        return chosen, halved

    for part in _PARTS:
        chosen, halved = attempt(part)
        if judge.judge(path, tolerance).passed:
            return chosen, halved
    return attempt(0.0)
