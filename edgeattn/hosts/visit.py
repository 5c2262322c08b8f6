"""Several hosts at once: connected to, looked at, and each had for oneself while something runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from edgeattn.base.errors import EdgeattnError, MissingError
from edgeattn.hosts.address import Address, addresses
from edgeattn.hosts.connection import Host, Room, connect
from edgeattn.hosts.probe import PYTHON_RUNTIMES, HostFacts, probe

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Visit:
    """A host that is ours for a while.

    Attributes:
        host: The connection.
        facts: What is there.
        room: Our folder there.
    """

    host: Host
    facts: HostFacts
    room: Room


@dataclass(frozen=True, slots=True)
class Guest:
    """A host that is connected to, and what is there."""

    host: Host
    facts: HostFacts

    @contextlib.contextmanager
    def visit(self) -> Iterator[Visit]:
        """Have the host for oneself for as long as the block lasts; see `Host.stay`."""
        with self.host.stay() as room:
            yield Visit(self.host, self.facts, room)

    def runtime(self, asked: str | None = None) -> Literal["tensorrt", "onnxruntime", "openvino"]:
        """Return what models are run by there: TensorRT where it is, else ONNX Runtime, OpenVINO.

        Args:
            asked: What is asked for, if something is.

        Raises:
            MissingError: It is not there; or none is.
        """
        if self.facts.trtexec and asked in (None, "tensorrt"):
            return "tensorrt"
        for runtime in PYTHON_RUNTIMES:
            if asked in (None, runtime) and self.facts.python(runtime):
                return runtime
        named = {"tensorrt": "trtexec"}
        named |= {one: f"Python with {one} and numpy" for one in PYTHON_RUNTIMES}
        wanted = " and no ".join(named.values()) if asked is None else named[asked]
        raise MissingError(
            f"There is no {wanted} on {self.host.address}.",
            mend=f"What would help: edgeattn devices probe {self.host.address}",
        )


@contextlib.contextmanager
def guests(
    texts: Sequence[str], on_stage: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Guest, ...]]:
    """Connect to hosts, and look at what is there, for as long as the block lasts.

    Args:
        texts: Their addresses, as `--on` has them.
        on_stage: Called with what is done.

    Raises:
        InputError: An address cannot be read.
        MissingError: A host cannot be reached.
    """
    wanted = addresses(texts)
    on_stage(f"connect to {', '.join(map(str, wanted))}")
    with contextlib.ExitStack() as stack:

        def come(address: Address) -> Guest:
            host = stack.enter_context(connect(address))
            return Guest(host, probe(host))

        found = side_by_side(come, wanted, stack.close)
        for one in found:
            if isinstance(one, EdgeattnError):
                raise one
        yield tuple(one for one in found if isinstance(one, Guest))


def side_by_side(
    work: Callable[[A], T], hosts: Sequence[A], end: Callable[[], None]
) -> list[T | EdgeattnError]:
    """Work on hosts, a thread each, and wait until all are done.

    Args:
        work: Does it on one.
        hosts: The hosts.
        end: Called if an interrupt comes: what goes on is to be ended.

    Returns:
        For each, its result or the error that a user can do something about.
    """

    def tried(host: A) -> T | EdgeattnError:
        try:
            return work(host)
        except EdgeattnError as error:
            return error

    lanes = ThreadPoolExecutor(max_workers=len(hosts))
    try:
        return [one.result() for one in [lanes.submit(tried, host) for host in hosts]]
    except BaseException:
        end()
        raise
    finally:
        lanes.shutdown()
