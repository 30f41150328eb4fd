"""A heap of keys whose ranks may change, as large as the number of its keys and not more.

``heapq`` cannot change or remove an entry, so one that was replaced stays until it comes up and is
skipped. Where keys are replaced much more often than they come up – a resync in an hour, put off
again by every event – those entries would pile up without end: the heap is rebuilt from its keys
as soon as most of it is of no use. That takes O(n) once in n replacements.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Any, Generic, Protocol, TypeVar

_FEW = 16
"""A heap of so few unused entries is not worth rebuilding."""


class Ordered(Protocol):
    """What can be compared with its like."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether it comes before ``other``."""


Key = TypeVar("Key", bound=Hashable)
Rank = TypeVar("Rank", bound=Ordered)


class LazyHeap(Generic[Key, Rank]):
    """Each key once, with its rank; of equal ranks, the one that has had it longest comes first."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._entries: dict[Key, tuple[Rank, int, Key]] = {}
        # Contains all values of _entries, and some that were such values once.
        self._heap: list[tuple[Rank, int, Key]] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """The length of the heap with its unused entries."""
        return len(self._heap)

    def rank(self, key: Key) -> Rank | None:
        """The rank of a key; None if it is not there."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: Key, rank: Rank) -> None:
        """Add a key, or give it another rank; with the same rank it keeps its turn."""
        if self.rank(key) == rank:
            return
        entry = self._entries[key] = (rank, next(self._order), key)
        heapq.heappush(self._heap, entry)
        self._shrink()

    def discard(self, key: Key) -> None:
        """Remove a key, if it is there."""
        if self._entries.pop(key, None) is not None:
            self._shrink()

    def first(self) -> tuple[Rank, Key] | None:
        """The first key and its rank; None if there is none."""
        while self._heap:
            entry = self._heap[0]
            rank, order, key = entry
            current = self._entries.get(key)
            if current is not None and current[1] == order:
                return rank, key
            heapq.heappop(self._heap)
        return None

    def _shrink(self) -> None:
        if len(self._heap) > 2 * len(self._entries) + _FEW:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)
