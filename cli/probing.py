"""`edgeattn devices probe`: what is on a host, what works there, and how to mend what does not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import EdgeattnError, MissingError
from edgeattn.options.flags import Flag
from edgeattn.report.grid import columns, table

from .groups import grouped
from .screen import Screen
from .tables import print_notes, size

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.hosts.checks import Check
    from edgeattn.hosts.probe import HostFacts


@grouped
def probe(
    *,
    hosts: Annotated[
        list[str],
        Flag("[USER@]HOST[:PORT]…", "Machines reached by SSH; a name of ~/.ssh/config will do."),
    ],
    screen: Screen,
) -> None:
    """Say what is on a host, what works there, and how to mend what does not.

    Nothing is written there, and nothing is run as root. Ends with 3 if a host cannot be reached.
    """
    with screen.working() as stage:
        from edgeattn.hosts.address import addresses
        from edgeattn.hosts.checks import checks
        from edgeattn.hosts.connection import connect
        from edgeattn.hosts.probe import probe as ask

        found: list[tuple[HostFacts, tuple[Check, ...]] | tuple[str, EdgeattnError]] = []
        asked = addresses(hosts)
        for place, address in enumerate(asked, 1):
            stage(f"asking {address} {place}/{len(asked)}")
            try:
                with connect(address) as host:
                    facts = ask(host)
                found.append((facts, checks(facts)))
            except EdgeattnError as error:
                if len(asked) == 1:
                    raise
                found.append((str(address), error))
    screen.show([_document(*one) for one in found], lambda console: _print(console, found))
    if any(isinstance(said, EdgeattnError) for _, said in found):
        raise typer.Exit(MissingError.exit_code)


def _document(of: HostFacts | str, said: tuple[Check, ...] | EdgeattnError) -> dict[str, Any]:
    if isinstance(said, EdgeattnError) or isinstance(of, str):
        return {"address": of, "error": str(said)}
    return {
        **dataclasses.asdict(of),
        "opset": of.opset,
        "checks": [dataclasses.asdict(one) for one in said],
    }


def _print(console: Console, found: list[Any]) -> None:
    for place, (of, said) in enumerate(found):
        if place:
            console.print()
        if isinstance(said, EdgeattnError):
            console.print(of, style="bold")
            console.print(said.fact, style="red")
            console.print(said.mend)
            continue
        console.print(f"{of.address}  {of.title}", style="bold")
        console.print(columns(_facts(of)))
        console.print()
        rows = table("", "", "found")
        colours = {"works": "green", "limited": "yellow", "absent": "red"}
        for check in said:
            rows.add_row(check.title, check.state, check.detail, style=colours[check.state])
        console.print(rows)
        console.print()
        for check in said:
            if check.mend:
                console.print(f"{check.title}: {check.mend}")
        print_notes(console, of.notes)


def _facts(facts: HostFacts) -> list[tuple[str, str]]:
    modes = ", ".join(f"{name} ({number})" for number, name in facts.power_modes.items())
    cpu = f"{facts.cores} processors, {facts.architecture}"
    clocks = [f"{name} {mhz:.0f} MHz" for name, mhz in facts.clocks_mhz.items()]
    if facts.l4t and "memory" not in facts.clocks_mhz:
        clocks.append("memory: told to root alone")
    rows = (
        ("calls itself", facts.model),
        ("device", facts.device or "none of ours"),
        ("system", ", ".join(filter(None, (facts.system, f"Linux {facts.kernel}")))),
        ("JetPack", facts.jetpack and f"{facts.jetpack} (L4T {facts.l4t})"),
        ("CUDA", facts.cuda),
        ("TensorRT", facts.tensorrt),
        ("trtexec", facts.trtexec),
        *((f"Python {one.version}", _python(one)) for one in facts.pythons),
        ("GPU", facts.gpu),
        ("processor", ", ".join(filter(None, (facts.cpu, cpu)))),
        ("memory", f"{size(facts.memory_bytes)}, {size(facts.memory_free_bytes)} to be had"),
        ("disk", f"{size(facts.disk_free_bytes)} free in {facts.folder}"),
        ("DLA cores", str(facts.dla_cores) if facts.l4t else None),
        ("power mode", facts.power_mode and f"{facts.power_mode}{modes and f', of {modes}'}"),
        ("clocks", ", ".join(clocks)),
        (
            "temperatures",
            ", ".join(f"{name} {one:.0f} °C" for name, one in facts.temperatures_c.items()),
        ),
        ("power", ", ".join(facts.rails)),
    )
    return [(name, said) for name, said in rows if said]


def _python(one: Any) -> str:
    said = [f"ONNX Runtime {one.onnxruntime}" if one.onnxruntime else "no ONNX Runtime"]
    said += [f"OpenVINO {one.openvino}"] if one.openvino else []
    said += [f"numpy {one.numpy}" if one.numpy else "no numpy", *one.providers, *one.devices]
    return f"{one.path}: {', '.join(said)}"
