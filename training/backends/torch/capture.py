"""A function recorded as CUDA graphs, one for each argument it is called with."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

#: Calls that are made one by one first: lazily made state, workspaces and choices of algorithms
#: must be there before a recording.
WARM_UP = 3


class GraphRecorder:
    """Records actions as CUDA graphs on a stream of its own, where warming up must happen too.

    Each graph keeps its memory to itself, so they may be replayed in any order.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def __call__(self, action: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of the recorded action."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            action()
        return graph.replay

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work on the stream, in order with what comes before and after."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream), warnings.catch_warnings():
                # torch warns of a capturable optimizer without a graph: the warming up.
                warnings.filterwarnings("ignore", ".*without CUDA graph capture", UserWarning)
                yield
        finally:
            outside.wait_stream(self._stream)


class CapturedCalls:
    """Calls of a function that takes a whole number and reads all else from fixed places.

    It works on the device without waiting for it. Without a recorder it is called each time.
    """

    def __init__(self, function: Callable[[int], None], recorder: GraphRecorder | None) -> None:
        self._function, self._recorder = function, recorder
        self.forget()

    def forget(self) -> None:
        """Drop what was recorded: the places it reads from have changed."""
        self._replays: dict[int, Callable[[], None]] = {}
        self._calls: Counter[int] = Counter()

    def working(self) -> AbstractContextManager[None]:
        """Return the context in which the calls are to be made."""
        return self._recorder.working() if self._recorder else nullcontext()

    def __call__(self, argument: int) -> None:
        """Call the function, or replay its recording for this argument."""
        if self._recorder and argument not in self._replays and self._calls[argument] >= WARM_UP:
            self._replays[argument] = self._recorder(lambda: self._function(argument))
        if argument in self._replays:
            self._replays[argument]()
        else:
            self._function(argument)
            self._calls[argument] += 1


#: The devices whose work can be recorded.
RECORDERS: dict[str, Callable[[], GraphRecorder]] = {"cuda": GraphRecorder}
