"""Scalars for TensorBoard, by its own writer: torch's would import torch for either backend."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any

from training.config.schema import Config
from training.errors import ConfigError


def check_logger(config: Config) -> None:
    """Find out whether the chosen log can be written.

    Raises:
        ConfigError: if its package is not installed.
    """
    if config.logger.name == "tensorboard" and find_spec("tensorboard") is None:
        raise ConfigError(
            "logger=tensorboard needs the package tensorboard: "
            "install it with pip install 'lenet-twins[tensorboard]'"
        )


class LiveLog:
    """An event file in a folder.

    Args:
        directory: what `tensorboard --logdir` is given.
        done: the step after which a resumed run goes on; what is logged beyond it is dropped.
    """

    def __init__(self, directory: Path, done: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events, self._summaries = event_pb2, summary_pb2
        self._writer = EventFileWriter(str(directory))
        if done:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(done + 1, session_log=start)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a number at a step of the run."""
        entry = self._summaries.Summary.Value(tag=name, simple_value=value)
        self._add(step, summary=self._summaries.Summary(value=[entry]))

    def flush(self) -> None:
        """Make what has been added visible."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._events.Event(step=step, wall_time=time(), **content))
