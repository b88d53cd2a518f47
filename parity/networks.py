"""The networks under test: those the witness knows, and any that a configuration file adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parity.witness import witnesses

_CONFIGURATIONS = Path(__file__).parents[1] / "conf" / "model"


@dataclass(frozen=True)
class NetworkCase:
    """One network to hold both sides to.

    Attributes:
        name: file stem on both sides.
        arguments: arguments of the network's class.
        input: shape of one sample, (C, H, W).
    """

    name: str
    arguments: dict[str, Any]
    input: tuple[int, ...]

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.name}({options})" if options else self.name


def network_cases() -> list[NetworkCase]:
    """Return the witness's networks, then those that only ``conf/model`` has."""
    cases = [NetworkCase(w.network, w.arguments, w.input) for w in witnesses()]
    known = {case.name for case in cases}
    for path in sorted(_CONFIGURATIONS.glob("*.yaml")):
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        name, size = settings.get("name", path.stem), int(settings.get("image_size", 28))
        if name not in known:
            cases.append(NetworkCase(name, dict(settings.get("arguments") or {}), (1, size, size)))
    return cases


def pair(name: str, dtype: str = "float32", batch: int = 5, **arguments: Any) -> Any:
    """Return a network's two sides as a `parity.factory.Pair`, with random images and its loss.

    Args:
        name: file stem on both sides.
        dtype: "float32" or "float64".
        batch: number of images.
        arguments: of the network's class.
    """
    import numpy as np
    import torch
    from torch import nn

    import numpy_models
    import torch_models
    from parity.factory import Pair

    shape = next((case.input for case in network_cases() if case.name == name), (1, 28, 28))
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    return Pair(
        torch_models.build(name, **arguments),
        numpy_models.build(name, **arguments).to(np.dtype(dtype)),
        rng.random((batch, *shape)).astype(dtype),
        rng.integers(0, 10, batch),
        nn.CrossEntropyLoss(),
        numpy_models.CrossEntropyLoss(),
    )
