"""When a command is to fail: above which limit, against what, and where it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.options.flags import flag

_COUNTS: Final = ("pass", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """A gate.

    Attributes:
        cannot_tell: How it counts where the limit lies in an interval: a run that shows nothing
            does not fail by default, for one that fails without a reason is soon passed over.

    Raises:
        InputError: There is no such way to count, or what a gate compares with is given, and none.
    """

    fail_above: str | None = flag(
        "--fail-above LIMIT",
        "End with 1 if an interval is above this: 3% or +0.4ms above what a model is compared with,"
        " or 8ms in all.",
    )
    baseline: Path | None = flag(
        "--baseline SAVED.json",
        "What the limit is above: the same models in what -o wrote before, in other rounds."
        " [what they are run with]",
    )
    cannot_tell: str = flag(
        "--cannot-tell pass|fail",
        "What counts if the limit lies in an interval, and --limit has to be longer.",
        default="pass",
    )

    def __post_init__(self) -> None:
        if self.cannot_tell not in _COUNTS:
            raise InputError(
                f"--cannot-tell takes {' or '.join(_COUNTS)}, not {self.cannot_tell!r}.",
                mend=did_you_mean(nearest(self.cannot_tell, _COUNTS)),
            )
        if self.baseline is not None and self.fail_above is None:
            raise InputError(
                "--baseline is what a limit is above, and there is none.",
                mend="Add --fail-above 3%",
            )
