"""The heap against a plain dictionary, under any sequence of calls; and how large it may become."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconvirt.controller.lazy_heap import LazyHeap

KEYS = st.sampled_from("abcdefgh")
RANKS = st.integers(0, 5)


class Model(RuleBasedStateMachine):
    """A dictionary in the order in which keys got their ranks, searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.heap: LazyHeap[str, int] = LazyHeap()
        self.ranks: dict[str, int] = {}

    @rule(key=KEYS, rank=RANKS)
    def put(self, key: str, rank: int) -> None:
        self.heap.put(key, rank)
        if self.ranks.get(key) != rank:
            self.ranks.pop(key, None)
            self.ranks[key] = rank

    @rule(key=KEYS)
    def discard(self, key: str) -> None:
        self.heap.discard(key)
        self.ranks.pop(key, None)

    @rule()
    def pop(self) -> None:
        found = self.heap.first()
        if found is not None:
            self.heap.discard(found[1])
            del self.ranks[found[1]]

    @rule(key=KEYS, times=st.integers(1, 100))
    def put_off(self, key: str, times: int) -> None:
        for rank in range(times):
            self.put(key, 6 + rank)

    @invariant()
    def the_first_is_the_first(self) -> None:
        first = min(self.ranks, key=self.ranks.__getitem__, default=None)
        assert (None if first is None else (self.ranks[first], first)) == self.heap.first()
        assert len(self.ranks) == len(self.heap)

    @invariant()
    def it_is_bounded_by_its_keys(self) -> None:
        assert self.heap.size <= 2 * len(self.ranks) + 16


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_keys_that_cannot_be_compared_are_taken() -> None:
    heap: LazyHeap[frozenset[str], int] = LazyHeap()
    heap.put(frozenset("a"), 1)
    heap.put(frozenset("b"), 1)

    assert (1, frozenset("a")) == heap.first()
