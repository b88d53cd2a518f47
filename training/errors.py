"""Mistakes a user can repair: one sentence each, shown without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it and what would be accepted."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" for the closest known word, or "" when none is close.

    A dotted word is compared whole, and by its last part with each known word's last part.
    """
    candidates = list(known)
    last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(candidates)}
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7) or [
        last[part]
        for part in difflib.get_close_matches(word.rsplit(".", 1)[-1], last, n=1, cutoff=0.6)
    ]
    close = close or [c for c in candidates if len(word) > 2 and c.startswith(word)][:1]
    return f" (did you mean {close[0]}?)" if close else ""
