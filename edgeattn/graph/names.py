"""What a node's name says; `tags` gives the names."""

from __future__ import annotations


def module_of(node_name: str) -> str:
    """Gives the torch module path in a node's name; the root module and untagged nodes give ''."""
    return node_name.rpartition("/")[0]
