"""Random choices that are the same on every Python: of its generator, only `random()` promises that."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """One stream of choices. Each table has its own, so that changing one leaves the others alone."""

    def __init__(self, seed: int, stream: str) -> None:
        self._random = random.Random(f"{seed}:{stream}").random

    def between(self, low: int, high: int) -> int:
        """Draw a whole number, both ends included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[self.between(0, len(items) - 1)]

    def distinct(self, count: int, highest: int) -> list[int]:
        """Draw up to `count` different whole numbers from 1 to `highest`, in the order of their drawing."""
        drawn: dict[int, None] = {}
        while len(drawn) < min(count, highest):
            drawn[self.between(1, highest)] = None
        return list(drawn)
