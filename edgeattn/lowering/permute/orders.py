"""Which values share one physical order of channels: union-find, with a permutation on each link.

The order of a value is a permutation `o`: channel i of what is stored is channel o[i] of what the
model means. Two values of a class have orders that determine each other, `o_a = p[o_b]`; a class
whose order is told by its model (an input, an operator that counts channels) holds the fixed key
of that many channels.
"""

from __future__ import annotations

from collections.abc import Hashable

from edgeattn.lowering.permutation import (
    Permutation,
    compose,
    identity,
    inverse,
    is_identity,
)

_Link = Permutation | None


def _then(first: _Link, second: _Link) -> _Link:
    if first is None:
        return second
    return first if second is None else compose(first, second)


def _undo(link: _Link) -> _Link:
    return None if link is None else inverse(link)


class Orders:
    """Classes of values whose orders determine each other."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}
        self._link: dict[Hashable, _Link] = {}
        self._size: dict[Hashable, int] = {}
        self._chosen: dict[Hashable, Permutation] = {}

    @staticmethod
    def fixed(channels: int) -> Hashable:
        """Return the key whose order is the identity."""
        return ("fixed", channels)

    def _find(self, key: Hashable) -> tuple[Hashable, _Link]:
        path = []
        root = key
        while (parent := self._parent.setdefault(root, root)) != root:
            path.append(root)
            root = parent
        link: _Link = None
        for step in reversed(path):
            link = _then(self._link[step], link)
            self._parent[step], self._link[step] = root, link
        return root, link

    def root(self, key: Hashable) -> Hashable:
        """Return the class of a value."""
        return self._find(key)[0]

    def join(self, a: Hashable, b: Hashable, p: Permutation | None) -> bool:
        """Demand `o_a = p[o_b]`.

        Returns:
            Whether that holds now; False where the two are bound to each other in another way.
        """
        if p is not None and is_identity(p):
            p = None
        (root_a, link_a), (root_b, link_b) = self._find(a), self._find(b)
        link = _then(_then(_undo(link_a), p), link_b)
        if root_a == root_b:
            return link is None or is_identity(link)
        if self._size.get(root_a, 1) > self._size.get(root_b, 1):
            root_a, root_b, link = root_b, root_a, _undo(link)
        self._parent[root_a], self._link[root_a] = root_b, link
        self._size[root_b] = self._size.get(root_b, 1) + self._size.get(root_a, 1)
        return True

    def choose(self, key: Hashable, order: Permutation) -> None:
        """Settle the order of a value, and so of its class."""
        root, link = self._find(key)
        self._chosen[root] = order if link is None else compose(inverse(link), order)

    def is_chosen(self, key: Hashable, channels: int) -> bool:
        """Return whether the order of a value is settled."""
        root = self.root(key)
        return root in self._chosen or self.root(self.fixed(channels)) == root

    def order(self, key: Hashable, channels: int) -> Permutation:
        """Return the order of a value; the identity where nothing settled it."""
        root, link = self._find(key)
        if root not in self._chosen:
            fixed, fixed_link = self._find(self.fixed(channels))
            known = _undo(fixed_link) if fixed == root else None
            self._chosen[root] = identity(channels) if known is None else known
        chosen = self._chosen[root]
        return chosen if link is None else compose(link, chosen)

    def between(self, a: Hashable, b: Hashable, channels: int) -> Permutation:
        """Return p with `o_a = p[o_b]` for two values of one class."""
        (_, link_a), (_, link_b) = self._find(a), self._find(b)
        link = _then(link_a, _undo(link_b))
        return identity(channels) if link is None else link
