"""Packages that only some comparisons need."""

from __future__ import annotations

import importlib
from typing import Any

from parity.protocol import ParityError


def require(package: str, extra: str) -> Any:
    """Import a package of one of the project's extras.

    Raises:
        ParityError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ParityError(
            f"{package} is not installed: pip install 'lenet-twins[{extra}]'"
        ) from error
