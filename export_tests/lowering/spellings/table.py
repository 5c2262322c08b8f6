"""Every spelling by its name, attention by attention."""

from __future__ import annotations

from export_tests.lowering.spellings import (
    bam,
    cbam,
    eca,
    ema,
    gc,
    nam,
    sa,
    se,
    sge,
    shuffle,
    simam,
    srm,
    ulsam,
)

SPELLINGS = {
    name: spelling
    for room in (se, eca, simam, sa, cbam, ulsam, sge, gc, bam, srm, nam, ema, shuffle)
    for name, spelling in room.SPELLINGS.items()
}
