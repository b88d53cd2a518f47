"""Random streams that depend on the seed, a purpose and a counter, and on nothing else.

No generator is ever carried from one step to the next: a run can be resumed anywhere, and
both backends draw the same numbers. Purposes in use: "init <parameter>" (counter 0), "order" and
"augment" (counter: epoch), "dropout" (counter: step; layers draw in the network's order).
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str, counter: int = 0) -> np.random.Generator:
    """Return the generator of (seed, purpose, counter): equal arguments give equal draws."""
    return np.random.default_rng(np.random.SeedSequence((seed, crc32(purpose.encode()), counter)))
