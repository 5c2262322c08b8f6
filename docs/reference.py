"""Write reference.md: every command, attention, rule, target and device, as the code has them.

python docs/reference.py [--check]

With --check nothing is written, and a file that is stale is an error.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeattn.attention.registry import AttentionSpec

PAGE = Path(__file__).with_name("reference.md")
MEND = "docs/reference.md is stale. Write it anew: python docs/reference.py"
WIDTH = 100


def main() -> None:
    """Write the page, or say that it is stale."""
    text = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(MEND)


def page() -> str:
    """Return the page as it should be."""
    parts = [
        "# Reference",
        "Made from the code by `python docs/reference.py`; do not edit it here.",
        "## Commands",
        *commands(),
        "## Exit codes",
        exit_codes(),
        "## Models",
        *models(),
        "## Attentions",
        *attentions(),
        "## Targets and rules of lowering",
        *lowering(),
        "## Devices",
        *devices(),
    ]
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[str]:
    """Yield each command with what it takes; what all of them take is said once."""
    import typer

    from edgeattn.cli.commands import app  # noqa: TID251  # a page of what the command line takes

    root = typer.main.get_command(app)
    leaves = dict(_leaves(root, "edgeattn"))
    common = set.intersection(*({p.name for p in one.params} for one in leaves.values()))
    first = next(iter(leaves.values()))
    yield "`edgeattn --version` prints the version. Every command takes `-h`, `--help` and:"
    yield _parameters(first, lambda name: name in common)
    for path, command in leaves.items():
        yield f"### `{path}`"
        yield from (_fill(paragraph) for paragraph in command.help.split("\n\n"))
        if len(command.params) > len(common):
            yield _parameters(command, lambda name: name not in common)


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    else:
        for name, one in inner.items():
            yield from _leaves(one, f"{path} {name}")


def _parameters(command: Any, is_taken: Callable[[str], bool]) -> str:
    import typer

    context = typer.Context(command)
    rows = [
        (_spelled(one, context), _text(one.help), _default(one))
        for one in command.params
        if is_taken(one.name)
    ]
    return _table(("option", "does", "default"), rows)


def _spelled(parameter: Any, context: Any) -> str:
    """Return how a parameter is written, as in `--output FILE`, `-o FILE`."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    # Typer's own word for a value is taken where it lists choices, as in `<engine|bytes>`.
    made = parameter.get_help_record(context)[0].rpartition(" ")[2].strip("<>[]")
    metavar = parameter.metavar or (made if "|" in made else "N")
    value = "" if parameter.is_flag else f" {metavar}"
    return ", ".join(f"`{one}{value}`" for one in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    value = parameter.default
    is_said = value is not None and value is not False and value != "" and not callable(value)
    return f"`{getattr(value, 'value', value)}`" if is_said else ""


def exit_codes() -> str:
    """Return the table of exit codes."""
    from edgeattn.base.errors import CheckError, InputError, MissingError
    from edgeattn.cli import app  # noqa: TID251  # the codes that they end with

    rows = [
        (0, "Done."),
        *((one.exit_code, one.__doc__ or "") for one in (CheckError, InputError, MissingError)),
        (app.FAULT, "A fault of edgeattn's own; its traceback is kept in a file."),
        (
            app.INTERRUPTED,
            "Interrupted by Ctrl-C, SIGTERM or SIGHUP; files are as they were.",
        ),
        (app.BROKEN_PIPE, "Whoever read the output left, as `head` does."),
    ]
    return _table(("code", "means"), [(str(code), text) for code, text in rows])


def models() -> Iterator[str]:
    """Yield the ways in which a model is given, and the short names."""
    from edgeattn.models.names import ALIASES, FORMS

    yield "A model is given as one of:"
    yield "\n".join(f"- `{form}`" for form in FORMS)
    yield "Names that stand for another:"
    yield _table(("name", "stands for"), [(f"`{k}`", f"`{v}`") for k, v in ALIASES.items()])


def attentions() -> Iterator[str]:
    """Yield the attentions of this package with their options, then timm's."""
    from edgeattn.attention import registry, timm_layers
    from edgeattn.models.placement import PLACES

    head = ("name", "does", "paper", "published place")
    yield _fill(
        f"A place is one of {', '.join(f'`{name}`' for name in PLACES)}, which `--at` takes by"
        " name, or a rule of its paper. The end of a block is after its last norm, before the"
        " residual addition."
    )
    yield _table(head, [_attention(spec) for spec in registry.ATTENTIONS.values()])
    yield "Their options, given as `--attention-arg NAME=VALUE`:"
    yield _table(
        ("attention", "option", "takes", "default", "does"),
        [
            (f"`{name}`", f"`{one.name}`", one.type, f"`{one.default}`", _text(one.help))
            for name, spec in registry.ATTENTIONS.items()
            for one in registry.options_of(spec)
        ],
    )
    yield _fill(
        "Of timm's layers, those that the installed timm has; `edgeattn list attentions` shows"
        " their options too:"
    )
    yield _table(head, [_attention(spec) for spec in timm_layers.TIMM.values()])


def _attention(spec: AttentionSpec) -> tuple[str, ...]:
    from edgeattn.models.placement import PLACES, default_place

    place = default_place(spec)
    place = f"`{place}`" if place in PLACES else place
    said = place if spec.place else f"none published: {place}"
    return f"`{spec.name}`", _text(spec.summary), spec.paper, said


def lowering() -> Iterator[str]:
    """Yield the targets and the rules."""
    from edgeattn.lowering.target import RTX_GENERATION, RULES, TARGETS

    yield _table(
        ("target", "stands for", "`--tune` compares by"),
        [(f"`{name}`", one.title, one.measured_by) for name, one in TARGETS.items()],
    )
    yield (
        "Forms of the target `tensorrt`, by family; what is taken is the first, and before TensorRT"
        f" {'.'.join(map(str, RTX_GENERATION))} the first that rests on a fusion which NVIDIA"
        " documents ([sources.md](sources.md#fusions-that-tensorrt-documents)):"
    )
    forms = TARGETS["tensorrt"].writer.forms
    yield _table(
        ("family", "form", "rests on"),
        [
            (f"`{family}`", f"`{one.name}`", one.rests_on or "plans of TensorRT-RTX")
            for family, several in forms.items()
            for one in several
        ],
    )
    yield "Rules, in the order in which they run:"
    yield _table(("rule", "does"), [(f"`{name}`", _text(text)) for name, text in RULES.items()])


def devices() -> Iterator[str]:
    """Yield the devices that come with edgeattn."""
    from edgeattn.devices import profile

    rows = []
    for name in profile.names():
        one = profile.find(name)
        spelled = ", ".join(f"`{word}`" for word in (one.name, *one.aliases))
        capability = "{}.{}".format(*one.compute_capability) if one.compute_capability else ""
        modes = ", ".join(
            f"**{mode.name}**" if mode.name == one.default_power_mode else mode.name
            for mode in one.power_mode
        )
        packs = "; ".join(f"{row.jetpack}: {row.tensorrt} ({row.opset})" for row in one.jetpack)
        runtimes = ", ".join(one.runtimes) or "onnxruntime"
        rows.append((spelled, one.title, capability, runtimes, modes, packs))
    yield "`edgeattn devices show NAME` shows all figures of one."
    yield _table(
        (
            "device",
            "title",
            "compute capability",
            "runtimes",
            "power modes (default)",
            "JetPack: its TensorRT (highest opset)",
        ),
        rows,
    )


def _text(text: str) -> str:
    """Return text as Markdown shows it."""
    for character in "*<":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _fill(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), WIDTH, break_on_hyphens=False)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(c.replace("|", r"\|") for c in r) for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)


if __name__ == "__main__":
    main()
