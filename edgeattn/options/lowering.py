"""The options of lowering and simplifying, which export and optimize share."""

from __future__ import annotations

from typing import Final

from edgeattn.options.flags import Flag

#: The target of lowering if none is asked for.
DEFAULT_TARGET: Final = "tensorrt"

#: Which targets there are is for the command line to fill in.
TARGET: Final = Flag(
    "--target NAME", f"What to lower for: {{targets}}. [{DEFAULT_TARGET}]", takes=str
)
RULES: Final = Flag(
    "--rules +A,-B",
    "Rules to add to those that are used, or to leave out; without a sign, the only ones."
    " See: edgeattn list rules.",
    takes=str,
)
SIMPLIFY: Final = Flag("--no-simplify", "Leave onnxsim out.")
SIMPLIFY_TIMEOUT: Final = Flag("--simplify-timeout S", "Seconds that onnxsim gets.", min=1)
