"""What trtexec says: its log, and what went wrong, with what to do about it."""

from __future__ import annotations

import re
from typing import Final

from edgeattn.base.errors import EdgeattnError, InputError, MissingError
from edgeattn.base.legible import legible
from edgeattn.engine.libraries import Capability
from edgeattn.engine.log import Log
from edgeattn.graph.names import module_of

_LINE: Final = re.compile(r"(?:\[[^\]]*\] )?\[(?P<letter>[FEWIV])\] (?:\[TRT\] )?(?P<text>.*)")
_SEVERITIES: Final = {
    "F": "INTERNAL_ERROR", "E": "ERROR", "W": "WARNING", "I": "INFO", "V": "VERBOSE",
}  # fmt: skip
_CAPABILITY: Final = re.compile(r"Compute Capability: (\d{1,3})\.(\d{1,3})")
# A process that the kernel ends for its memory says nothing; a shell says `Killed` in its place.
_KILLED: Final = (137, -9)
_NO_MEMORY: Final = re.compile(
    r"out of memory|OutOfMemory|std::bad_alloc|insuff?icient memory|cannot allocate memory"
    r"|NvMapMemAlloc\w* error|\bKilled\b",
    re.IGNORECASE,
)
_NO_SPACE: Final = re.compile(r"Saving engine to file failed|No space left on device")
# What is left where every tactic was skipped for its memory.
_NO_TACTIC: Final = re.compile(r"Could not find any implementation for node")
_OTHER_DEVICE: Final = re.compile(
    r"incompatible device, expecting compute (\d+\.\d+) got compute (\d+\.\d+)"
)
_OTHER_VERSION: Final = re.compile(
    r"not compatible with this version of TensorRT, expecting library version ([\d.]+) got ([\d.]+)"
    r"|stdVersionRead == \w*erializationVersion|Version tag does not match"
    r"|magicTagRead == \w*MAGIC_TAG|Magic tag does not match",
    re.IGNORECASE,
)
_NODE: Final = re.compile(
    r"(?:node of type|Parsing node:|In node \d+ with name:|\bname:) *\"?([^\s\"]+)"
)
# What stands around the reason: a node in full, and which step could not go on without it.
_AROUND: Final = re.compile(
    r"(?:\w+\.cpp:\d+: )?(?:--- (?:Begin|End) node ---|input: )|Failed to parse onnx file"
    r"|Parsing model failed|Failed to create engine from model|Engine set up failed"
    r"|Building engine failed|Engine could not be created|Engine deserialization failed"
    r"|Got invalid engine|Inference set up failed"
)
_MOST_ERRORS: Final = 4
#: What is said where the parser does not take a file.
UNPARSED: Final = "Failed to parse onnx file"
MORE_MEMORY: Final = (
    "A builder needs several times what the engine does. What helps: a smaller workspace"
    " (--workspace 512); fewer tactics (--optimization-level 1, from TensorRT 8.6 on); a smaller"
    " batch (--max-shapes); close the desktop there (sudo systemctl isolate multi-user.target) and"
    " what else runs; more swap on its disk than zram gives."
)


class RefusedError(InputError):
    """trtexec does not build, load or run what it was given: its own words are the fact."""


def log_of(text: str) -> Log:
    """Read what trtexec printed; a line without a severity behind an error belongs to it."""
    log = Log()
    for line in text.splitlines():
        severity, said = log.messages[-1] if log.messages else ("", "")
        if found := _LINE.match(line):
            log.add(_SEVERITIES[found["letter"]], found["text"])
        elif severity == "ERROR" and line.strip() and not line.startswith("&&&&"):
            log.messages[-1] = (severity, f"{said}\n{line}")
        elif line.strip():
            log.add("INFO", line)
    return log


def capability_of(log: Log) -> Capability | None:
    """Return the compute capability of the GPU that trtexec took; None if it does not say."""
    for _, text in log.messages:
        if found := _CAPABILITY.search(text):
            return int(found[1]), int(found[2])
    return None


def failed(fact: str, log: Log, code: int, *, host: str) -> EdgeattnError:
    """Return the error that says why trtexec failed.

    Args:
        fact: What was tried, as in "orin builds no engine of m.onnx".
        log: What it said.
        code: Its exit code.
        host: What the host is called.

    Returns:
        A `MissingError` where memory, space, the device or the version is what is missing; else a
        `RefusedError`.
    """
    all_errors = list(dict.fromkeys(map(legible, log.errors)))
    errors = [one for one in all_errors if not _AROUND.match(one)] or all_errors
    said = "\n".join(text for _, text in log.messages)
    # Tactics that are skipped for their memory are warnings, and no death.
    words = "\n".join(text for severity, text in log.messages if severity != "WARNING")
    is_starved = _NO_TACTIC.search(words) and _NO_MEMORY.search(said)
    if code in _KILLED or is_starved or _NO_MEMORY.search(words):
        how = "it was killed (signal 9)" if code in _KILLED else last(errors, words)
        return MissingError(f"{fact}: its memory ran out: {how}.", mend=MORE_MEMORY)
    if found := _NO_SPACE.search(words):
        return MissingError(
            f"{fact}: {found[0]}: its disk is full, or cannot be written to.",
            mend="Free some space there, or have its login set TMPDIR to a folder with space.",
        )
    if found := _OTHER_DEVICE.search(said):
        return MissingError(
            f"{fact}: the engine was built for compute capability {found[2]}, and the GPU of {host}"
            f" has {found[1]}.",
            mend=f"Build it there: edgeattn build MODEL.onnx --on {host}",
        )
    if found := _OTHER_VERSION.search(said):
        built = f"TensorRT {found[2]}" if found[2] else "another version of TensorRT"
        have = f", and {host} has {found[1]}" if found[1] else f" than {host} has"
        return MissingError(
            f"{fact}: the engine was built with {built}{have}.",
            mend=f"Build it there: edgeattn build MODEL.onnx --on {host}",
        )
    modules = [module_of(one) for one in _NODE.findall(said) if module_of(one)]
    advice = [f"The whole log is kept by edgeattn build MODEL.onnx --on {host} --log FILE"]
    if modules:
        named = ", ".join(dict.fromkeys(map(str, modules)))
        advice.append(f"Try what lowering makes of {named}: edgeattn optimize IN.onnx -o OUT.onnx")
    reason = "\n  ".join(errors[:_MOST_ERRORS]) or last(errors, said) or f"exit code {code}"
    return RefusedError(f"{fact}:\n  {reason}", mend="\n".join(advice))


def last(errors: list[str], said: str) -> str:
    """Return the last error, or else the last line that was said."""
    lines = [line.strip() for line in (*errors[-1:], *said.splitlines()[-1:]) if line.strip()]
    return legible(lines[0]).rstrip(".") if lines else ""
