"""Ranks that are threads of the tests' own process, where a fault in what they share is seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from training.backends.ranks import Ranks

Result = TypeVar("Result")


class Team:
    """What the threads have in common."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.barrier = threading.Barrier(world, timeout=30)
        self.given: list[Any] = [None] * world

    def run(self, work: Callable[[Ranks], Result]) -> list[Result]:
        """Have each rank do its work; return the results, or raise what the first raised."""
        results: list[Any] = [None] * self.world
        errors: list[BaseException] = []

        def guarded(rank: int) -> None:
            try:
                results[rank] = work(ThreadRanks(rank, self))
            except BaseException as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=guarded, args=(rank,)) for rank in range(self.world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results


class ThreadRanks(Ranks):
    """One of the threads; arrays are NumPy's or torch's."""

    def __init__(self, rank: int, team: Team) -> None:
        self.rank, self.world, self._team = rank, team.world, team
        self.note = f"{team.world} threads"

    def all_reduce(self, array: Any) -> Any:
        first, *others = self.all_gather(array)
        array[...] = sum(others, first)
        return array

    def all_gather(self, array: Any) -> list[Any]:
        self._team.given[self.rank] = array + 0
        self._team.barrier.wait()
        gathered = [given + 0 for given in self._team.given]
        self._team.barrier.wait()
        return gathered

    def broadcast(self, array: Any) -> None:
        array[...] = self.all_gather(array)[0]
