"""A function recorded as CUDA graphs, one for each argument it is called with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

#: Calls that are made one by one first: lazily made state, workspaces and choices of algorithms
#: must be there before a recording.
WARM_UP = 3

Record = Callable[[Callable[[], None]], Callable[[], None]]


class CapturedCalls:
    """Calls of a function that takes a whole number and reads all else from fixed places.

    Args:
        function: does its work on the device without waiting for it.
        record: takes an action, records it without doing it, and returns what replays it; None
            to call the function each time.
    """

    def __init__(self, function: Callable[[int], None], record: Record | None) -> None:
        self._function, self._record = function, record
        self.forget()

    def forget(self) -> None:
        """Drop what was recorded: the places it reads from have changed."""
        self._replays: dict[int, Callable[[], None]] = {}
        self._calls: Counter[int] = Counter()

    def __call__(self, argument: int) -> None:
        """Call the function, or replay its recording for this argument."""
        if self._record and argument not in self._replays and self._calls[argument] >= WARM_UP:
            self._replays[argument] = self._record(lambda: self._function(argument))
        if argument in self._replays:
            self._replays[argument]()
        else:
            self._function(argument)
            self._calls[argument] += 1


class GraphRecorder:
    """Records actions as CUDA graphs on a stream of its own, where warming up must happen too.

    Each graph keeps its memory to itself, so they may be replayed in any order.
    """

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    def __call__(self, action: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of the recorded action."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            action()
        return graph.replay
