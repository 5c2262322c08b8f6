"""Check on a host: what the device itself says of a model goes before what is known of its kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import is_part
from edgeattn.devices.choice import jetpack_of
from edgeattn.devices.profile import find, names
from edgeattn.graph.nodes import static_sizes
from edgeattn.graph.reading import read
from edgeattn.hosts.asked import HostAnswers, asked
from edgeattn.hosts.machine import gpu_of
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Guest, guests
from edgeattn.options.check import CheckOptions
from edgeattn.options.hosts import only
from edgeattn.support.answers import Answer


@contextlib.contextmanager
def there(
    options: CheckOptions, on_stage: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[CheckOptions, Guest | None]]:
    """Connect to the host that is to be asked, for as long as the block lasts.

    Yields:
        The options, with what the host says of itself; and the host, None if none is to be asked.

    Raises:
        InputError: The host is another device, or has other versions, than the options say.
        MissingError: It cannot be reached, or has no trtexec that can be used.
    """
    if not options.on:
        if options.dla_core:
            raise InputError("--dla-core is for a host that is asked.", mend="Add --on HOST.")
        yield options, None
        return
    with guests([only(options.on)], on_stage) as (guest,):
        yield of_host(options, guest.facts), guest


def of_host(options: CheckOptions, facts: HostFacts) -> CheckOptions:
    """Return the options with the device, the JetPack and the TensorRT of a host."""
    device = gpu_of(facts)
    if facts.trtexec is None and facts.device is not None and device is None:  # a processor
        raise MissingError(
            f"{facts.address} is a {facts.title}, without TensorRT, and --on asks that.",
            mend=f"Ask the ONNX Runtime that is here: --device {facts.device}, without --on.",
        )
    tensorrt = ".".join(map(str, Trtexec.of(facts).version))
    if options.device is None and device is None:
        raise InputError(
            f"{facts.address} is a {facts.title}, whose GPU no device profile is known of.",
            mend="Add --device NAME, or the path of a file of your own.",
        )
    named = device if options.device is None else find(options.device)
    assert named is not None
    if device is not None and named.name in names() and named.name != device.name:
        raise InputError(
            f"{facts.address} is a {device.title}, and --device says {named.name}.",
            mend="Leave --device out.",
        )
    versions = (
        ("tensorrt", "TensorRT", options.tensorrt, tensorrt),
        ("jetpack", "JetPack", options.jetpack, facts.jetpack),
    )
    for option, title, said, have in versions:
        if said is not None and have is not None and not is_part(said, have):
            raise InputError(
                f"{facts.address} has {title} {have}, and --{option} says {said}.",
                mend=f"Leave --{option} out.",
            )
    jetpack = None
    with contextlib.suppress(InputError):  # one that the profile does not know, or upgraded
        jetpack = facts.jetpack if jetpack_of(named, facts.jetpack, tensorrt=tensorrt) else None
    device_named = options.device or named.name
    return replace(options, device=device_named, jetpack=jetpack, tensorrt=tensorrt)


@dataclass(frozen=True, slots=True)
class There:
    """What a host says, to go before what tables say."""

    answers: HostAnswers

    @property
    def source(self) -> str:
        """What a reader is told of where an answer is from."""
        return f"measured: {self.answers.title}"

    @property
    def refused(self) -> dict[str, str]:
        """Why the parser stopped, by node."""
        said = self.answers.parsed.items()
        return {name: one.reason for name, one in said if one.verdict == "no"}

    @property
    def is_parsed(self) -> bool:
        """Whether the parser takes the whole."""
        return bool(self.answers.parsed) and not self.refused

    @property
    def notes(self) -> list[str]:
        """What a reader should know of where nodes run."""
        if self.answers.placed or not self.is_parsed:
            return []
        said = f"The log of {self.answers.title} does not say where layers run"
        return [f"{said}: that is answered by what is documented."]

    def placed(self, answers: Mapping[ir.Node, Answer]) -> dict[ir.Node, Answer]:
        """Return where nodes run: as the host says, and as was known where it does not say."""
        found = {}
        for node, known in answers.items():
            said = self.answers.placed.get(str(node.name), known)
            found[node] = replace(said, mend=known.mend) if said.verdict == "no" else said
        return found


def ask(
    file: Path,
    model: ir.Model,
    options: CheckOptions,
    guest: Guest,
    on_stage: Callable[[str], None],
) -> There:
    """Ask a host about a file.

    Args:
        file: The file; its nodes are named.
        model: Its model, with the sizes that it is checked for.
        options: What it is checked for.
        guest: The host.
        on_stage: Called with what is done.

    Raises:
        MissingError: Memory or space there ran out.
    """
    sizes = {str(value.name): static_sizes(value) or () for value in model.graph.inputs}
    shapes = {
        name: tuple(one for one in shape if one is not None)
        for name, shape in sizes.items()
        if None not in shape
    }
    core = options.dla_core if options.dla else None
    with guest.visit() as visit:
        return There(asked(visit, read(file), core, shapes=shapes, on_stage=on_stage))
