"""The exceptions for data that a user can put right."""

from __future__ import annotations

from os import PathLike

from training.errors import ConfigError


class DataError(ConfigError):
    """Data that cannot be used, told in one sentence: what is at fault, why, and what to do.

    Args: the culprit (a file, a folder, a setting), the reason, and the remedy.
    """

    def __init__(self, culprit: str | PathLike[str], reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(f"{culprit}: {reason}; {remedy}.")


class MnistAbsentError(DataError):
    """No file of MNIST is there and none can be had: the one case in which `auto` takes digits."""
