"""Where in a model the nodes are that a check speaks of: by torch module and site of attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgeattn.graph.names import module_of, tagged
from edgeattn.graph.nodes import is_standard
from edgeattn.records.check import About, Finding, OperatorAnswer, Verdict
from edgeattn.support.answers import Answer, worst


@dataclass(frozen=True, slots=True)
class Places:
    """Says where nodes are.

    Attributes:
        site_of: The site of each node that is in one, by the node's name.
    """

    site_of: Mapping[str, str]

    def of(self, name: str) -> tuple[str, str]:
        """Return the torch module of a node, and its site; "" for the root, and for none."""
        return module_of(tagged(name)), self.site_of.get(name, "")

    def apart(self, found: Finding) -> Iterator[Finding]:
        """Yield a finding once for each module and site that has nodes of it."""
        groups: dict[tuple[str, str], list[str]] = {}
        for name in found.nodes:
            groups.setdefault(self.of(name), []).append(name)
        for (module, site), names in groups.items():
            yield found.model_copy(update={"nodes": tuple(names), "module": module, "site": site})
        if not groups:
            yield found

    def findings(
        self,
        about: About,
        answers: Mapping[ir.Node, Answer],
        said: Mapping[Verdict, str],
        verdicts: Mapping[Verdict, Verdict] | None = None,
    ) -> Iterator[Finding]:
        """Yield what answers find of nodes, once for each operator, answer and place.

        Args:
            about: What the answers are about.
            answers: The answers.
            said: How a finding begins, behind the operator; answers that it lacks are none.
            verdicts: What an answer's verdict means for the model; none for the same.
        """
        groups: dict[tuple[str, Answer], list[str]] = {}
        for node, answer in answers.items():
            if answer.verdict in said:
                groups.setdefault((operator(node), answer), []).append(str(node.name))
        for (op, answer), names in groups.items():
            reason = f": {answer.reason}" if answer.reason else ""
            whole = Finding(
                about=about,
                verdict=(verdicts or {}).get(answer.verdict, answer.verdict),
                fact=f"{op} {said[answer.verdict]}{reason}.",
                mend=answer.mend,
                source=answer.source,
                op=op,
                nodes=tuple(names),
            )
            yield from self.apart(whole)


def operator(node: ir.Node) -> str:
    """Return a node's operator, with its domain where that is not ONNX's own."""
    return node.op_type if is_standard(node) else f"{node.domain}.{node.op_type}"


def operators(answers: Mapping[ir.Node, Answer]) -> tuple[OperatorAnswer, ...]:
    """Return the answer of each operator, by its name."""
    each: dict[str, list[Answer]] = {}
    for node, answer in answers.items():
        each.setdefault(operator(node), []).append(answer)
    return tuple(
        OperatorAnswer(
            op=op,
            count=len(found),
            verdict=last.verdict,
            reason=last.reason,
            source=last.source,
        )
        for op, found in sorted(each.items())
        for last in [worst(found)]
    )


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts: yes of none."""
    return worst([Answer(verdict="yes"), *(Answer(verdict=one) for one in verdicts)]).verdict
