"""The options of lowering and simplifying, which export and optimize share."""

from __future__ import annotations

from typing import Final

from edgeattn.options.flags import Flag

TARGET: Final = Flag(
    names=("--target",),
    metavar="NAME",
    takes=str,
    help="What to lower for: tensorrt or onnxruntime. [tensorrt]",
)
RULES: Final = Flag(
    names=("--rules",),
    metavar="+A,-B",
    takes=str,
    help="Rules to add to those that are used, or to leave out; without a sign, the only ones."
    " See: edgeattn list rules.",
)
SIMPLIFY: Final = Flag(names=("--no-simplify",), help="Leave onnxsim out.")
SIMPLIFY_TIMEOUT: Final = Flag(
    names=("--simplify-timeout",), metavar="S", min=1, help="Seconds that onnxsim gets."
)
