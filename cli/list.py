"""`edgeattn list`: the models, attentions and rules of lowering that have names."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean
from edgeattn.options.flags import Flag
from edgeattn.report.grid import table

from .groups import grouped
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="list", help="List what has a name.", rich_markup_mode=None)


@app.command()
@grouped
def attentions(*, screen: Screen) -> None:
    """List attention modules: name, paper, and options with their defaults."""
    with screen.working() as stage:
        stage("reading the modules")
        from edgeattn.attention import registry

        document = [_attention(name) for name in registry.names()]
    screen.show(document, lambda console: _print_attentions(console, document))


@app.command()
@grouped
def models(
    *,
    pattern: Annotated[
        str, Flag("[PATTERN]", "A part of the name, or a glob such as 'mobilenet*'.")
    ] = "*",
    screen: Screen,
) -> None:
    """List models by name: short names first, then timm's, then what only torchvision has."""
    with screen.working() as stage:
        stage("asking timm and torchvision")
        from edgeattn.models.names import available, nearest

        found = available(pattern if set(pattern) & set("*?[") else f"*{pattern}*")
        if not (found.aliases or found.timm or found.torchvision):
            raise InputError(
                f"No model's name matches {pattern!r}.", mend=did_you_mean(nearest(pattern))
            )
    lines = [
        *(f"{name} = {target}" for name, target in found.aliases.items()),
        *found.timm,
        *found.torchvision,
    ]
    screen.show(
        dataclasses.asdict(found),
        lambda console: console.print("\n".join(lines), soft_wrap=True),
    )


@app.command()
@grouped
def rules(*, screen: Screen) -> None:
    """List the rules of lowering, in the order in which they run."""
    with screen.working() as stage:
        stage("reading the rules")
        from edgeattn.lowering.target import RULES

        document = [{"name": name, "summary": summary} for name, summary in RULES.items()]
    screen.show(document, lambda console: _print_rules(console, document))


def _print_rules(console: Console, document: list[dict[str, str]]) -> None:
    rows = table("name", "summary")
    for rule in document:
        rows.add_row(rule["name"], rule["summary"])
    console.print(rows)
    console.print("Choose among them with --rules +NAME,-NAME.")


def _attention(name: str) -> dict[str, Any]:
    """Return what is said of an attention, in JSON's types."""
    from edgeattn.attention import registry
    from edgeattn.models.placement import default_place

    spec = registry.find(name)
    return {
        "name": spec.name,
        "paper": spec.paper,
        "summary": spec.summary,
        "place": default_place(spec),
        "options": [dataclasses.asdict(option) for option in registry.options_of(spec)],
    }


def _print_attentions(console: Console, document: list[dict[str, Any]]) -> None:
    rows = table("name", "summary", "paper", "place", "options")
    for attention in document:
        options = " ".join(f"{o['name']}={o['default']}" for o in attention["options"])
        rows.add_row(
            *(attention[column] for column in ("name", "summary", "paper", "place")), options
        )
    console.print(rows)
    console.print("Give options with --attention-arg NAME=VALUE, another place with --at PLACE.")
