"""Where a file that was lowered for one runtime is run by another: that it is, and what to type.

Forms that are fast on one runtime can be far slower on another than what the exporter wrote, and
lowering again does not mend that: a form of another target may not be recognised. What mends it is
to lower the file that the forms were put into, by the command that did, for the other target.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from edgeattn.lowering.target import DLA, TARGETS
from edgeattn.records import sidecar

# What a command says of how to lower, and where to write: that is to be said anew.
_VALUED: Final = (
    "--target", "--device", "--jetpack", "--tensorrt", "--forms", "--on", "--tune-limit",
    "--save-forms", "--output", "-o",
)  # fmt: skip
_BARE: Final = ("--tune", "--json", "--quiet", "-q", "--verbose", "-v", "--explain")
_LOWER: Final = ("export", "optimize")
_FROM_STOCK: Final = (
    "edgeattn optimize STOCK.onnx --target {} -o {} (STOCK.onnx: the file as its exporter wrote"
    " it; edgeattn export --no-lower writes one)"
)


def strangers(forms: Iterable[str], runtime: str) -> tuple[str, ...]:
    """Return the targets, of those whose forms a file holds, that are of other runtimes."""
    runtime = "tensorrt" if runtime == "tensorrt-rtx" else runtime
    homes = {one: TARGETS[one].runtime or (one if one == DLA else "") for one in TARGETS}
    return tuple(one for one in forms if homes.get(one, "") not in ("", runtime))


def misfit(onnx: Path, forms: Iterable[str], runtime: str, *, mend: str = "") -> str:
    """Say that a file was lowered for another runtime than the one that it is for now.

    Args:
        onnx: The file.
        forms: The targets whose forms it holds, as `graph.marks` tells them.
        runtime: The runtime that runs it, or that it is built for ("dla" for TensorRT on one); or
            the target that it is lowered for once more.
        mend: What to do about it; "" for the command that lowers what the file was made from.

    Returns:
        A sentence or two, and what to type; "" if there is nothing to say.
    """
    found = strangers(forms, runtime)
    if not found:
        return ""
    target = "tensorrt" if runtime == "tensorrt-rtx" else runtime
    was = " and ".join(found)
    return (
        f"{onnx.name} was lowered for {was}, and is for {runtime} now: such forms can be far slower"
        f" there than what it was made from. {mend or f'Type: {_command(onnx, target)}'}"
    )


def _command(onnx: Path, target: str) -> str:
    """Return the commands that make a file again, lowered for another target."""
    made = [(path, words, said) for path, said in sidecar.chain(onnx) if (words := _words(said))]
    made.reverse()
    first = next((place for place, one in enumerate(made) if one[2].get("target")), None)
    if first is not None and made[first][1][1] == "build" and target == "tensorrt":
        return shlex.join(made[first][1])  # which lowers for that, unless told otherwise
    if first is None or made[first][1][1] not in _LOWER:
        name = onnx.with_name(f"{onnx.stem}-{target}.onnx")
        return _FROM_STOCK.format(target, shlex.quote(str(name)))
    # What lowered it once more did so for what the first one wrote.
    steps = [made[first], *(one for one in made[first + 1 :] if one[1][1] == "cast")]
    names = {path.name for path, _, _ in made}
    commands: list[str] = []
    read = ""
    for place, (path, said, _) in enumerate(steps):
        home = onnx if place == len(steps) - 1 else path
        written = home.with_name(f"{home.stem}-{target}.onnx")
        if place:
            words = [read if Path(word).name in names else word for word in said]
        else:
            words = [*said, "--target", target]
        read = str(written)
        commands.append(shlex.join([*words, "-o", read]))
    return " && ".join(commands)


def _words(said: dict[str, Any]) -> list[str]:
    """Return the words of the command that a manifest has, but for how to lower and where to write.

    No words if it is no command of edgeattn's.
    """
    try:
        words = shlex.split(str(said.get("command")))
    except ValueError:
        return []
    if len(words) < 3 or words[0] != "edgeattn":
        return []
    kept: list[str] = []
    is_value = False
    bare = _BARE if words[1] == "build" else (*_BARE, "--dla")  # of a build it has a value
    for word in words:
        name = word.partition("=")[0]
        if is_value or name in bare or name in _VALUED or re.match("-o.", word):
            is_value = not is_value and word in _VALUED
        else:
            kept.append(word)
    return [*kept, *_taken(words, said)]


def _taken(words: list[str], said: dict[str, Any]) -> list[str]:
    """Return the options that an export took from its device, which is not to be said again."""
    names = {word.partition("=")[0] for word in words}
    if words[1] != "export" or "--device" not in names:
        return []
    options = said.get("options")
    options = options if isinstance(options, dict) else {}
    cast = options.get("cast")
    precision = cast.get("precision") if isinstance(cast, dict) else None
    values = {"--opset": options.get("opset"), "--precision": precision}
    pairs = ((name, value) for name, value in values.items() if value and name not in names)
    return [text for name, value in pairs for text in (name, str(value))]
