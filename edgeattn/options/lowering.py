"""The options of lowering and simplifying, which export and optimize share."""

from __future__ import annotations

from pathlib import Path
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
DEVICE: Final = Flag(
    "--device NAME",
    "The device that it is for, or the path of a file of your own: it says what is not given. See:"
    " edgeattn devices list.",
    takes=str,
)
JETPACK: Final = Flag("--jetpack VERSION", "The device's JetPack, such as 5.1. [its newest]")
DLA: Final = Flag("--dla", "For the device's DLA.")
TENSORRT: Final = Flag(
    "--tensorrt VERSION",
    "The TensorRT that it is for, such as 8.5: before 10.12, only forms that rest on fusions which"
    " NVIDIA documents. [that of the device's JetPack, or any]",
    takes=str,
)
FORMS: Final = Flag(
    "--forms FILE", "Forms that were measured on a device, as --save-forms wrote them.", takes=Path
)
TUNE: Final = Flag(
    "--tune", "Let forms compete, measured: on --on HOST by time there; takes a while, once."
)
TUNE_LIMIT: Final = Flag(
    "--tune-limit S", "Seconds after which no further form is tried on the host.", min=1
)
SAVE_FORMS: Final = Flag(
    "--save-forms FILE.json", "Write the forms that --tune --on HOST measured, for others."
)
SIMPLIFY: Final = Flag("--no-simplify", "Leave onnxsim out.")
SIMPLIFY_TIMEOUT: Final = Flag("--simplify-timeout S", "Seconds that onnxsim gets.", min=1)
