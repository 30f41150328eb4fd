"""How long to wait before what has failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Longer after each failure, up to a limit, with a little chance in it.

    Attributes:
        first: seconds after the first failure; each further one doubles them.
        most: the longest wait, in seconds.
        jitter: the share of the wait by which it is made longer or shorter, so that those who
            failed together do not come again together.
        chance: a number from 0 to 1.
    """

    first: float = 1.0
    most: float = 900.0
    jitter: float = 0.1
    chance: Callable[[], float] = field(default=random.random)

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures, 1 or more."""
        # The exponent is bounded: after months of failures 2ⁿ is no number to multiply by.
        wait = min(self.first * 2.0 ** min(failures - 1, 32), self.most)
        return wait * (1 + self.jitter * (2 * self.chance() - 1))
