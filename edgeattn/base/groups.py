"""Disjoint sets of things that are tied together, directly or through others."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class Groups:
    """A disjoint-set forest; what was never tied is a set of its own."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}

    def root(self, key: Hashable) -> Hashable:
        """Return the thing that stands for all of its set."""
        self._parents.setdefault(key, key)
        while self._parents[key] != key:
            self._parents[key] = self._parents[self._parents[key]]
            key = self._parents[key]
        return key

    def tie(self, keys: Iterable[Hashable]) -> None:
        """Make one set of the sets of some things; the root of the first stands for it."""
        roots = [self.root(key) for key in keys]
        for one in roots[1:]:
            self._parents[one] = roots[0]
