"""What lowering and legalisation did to a model."""

from __future__ import annotations

from edgeattn.records.base import Frozen


class Rewrite(Frozen):
    """A part of the graph that lowering replaced.

    Attributes:
        rule: The rule that did it.
        site: The module path of what was replaced, or the name of its last node.
        nodes_before: The names of the nodes that are gone.
        nodes_after: The names of the nodes that stand for them.
        kind: What the tournament tells apart: the rule and the map's channels, rows and columns.
        forms: The form that was taken, by family.
    """

    rule: str
    site: str
    nodes_before: tuple[str, ...]
    nodes_after: tuple[str, ...]
    kind: str = ""
    forms: tuple[tuple[str, str], ...] = ()


class NearMiss(Frozen):
    """A part of the graph that a rule of lowering nearly took.

    Attributes:
        rule: The rule.
        site: The module path of the part, or the name of its last node.
        reason: Why it was left as it is.
    """

    rule: str
    site: str
    reason: str


class Trial(Frozen):
    """A form that the tournament tried in place of the one that stood.

    Attributes:
        kind: The kind of region that it was tried in.
        family: What it is a form of.
        form: Its name.
        instead_of: The name of the form that stood.
        figures: What was measured of the model with it, and of the one that stood, by name.
        is_taken: Whether it was better, and stands now.
        fault: Why it could not be measured; "" if it was.
    """

    kind: str
    family: str
    form: str
    instead_of: str
    figures: dict[str, float]
    is_taken: bool
    fault: str = ""


class LegalisedNode(Frozen):
    """A node that legalisation replaced.

    Attributes:
        node: Its name.
        op_type: Its operator.
        opset: The opset whose change it crossed.
        into: The names of the nodes that stand for it.
    """

    node: str
    op_type: str
    opset: int
    into: tuple[str, ...]
