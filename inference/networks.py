"""What either twin says about images, from the same weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrained import Weights
from training.backends.models import build_network
from training.config.schema import ModelConfig
from training.errors import ConfigError, first_line

BACKENDS = ("numpy", "torch")
#: Images that go through the network at a time.
BATCH = 500


def add_backend(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options that choose the twin."""
    choice = parser.add_mutually_exclusive_group()
    words = "which twin computes (default: %(default)s)"
    choice.add_argument("--backend", choices=(*BACKENDS, "both"), default=default, help=words)
    choice.add_argument("--both", dest="backend", action="store_const", const="both")


def chosen_backends(choice: str) -> tuple[str, ...]:
    """Return the backends that an option of `add_backend` stands for."""
    return BACKENDS if choice == "both" else (choice,)


def network(weights: Weights, backend: str = "numpy") -> Any:
    """Return the network with its weights, in evaluation mode; only "torch" imports torch.

    Raises ConfigError if there is no such network, or the weights are not its.
    """

    def build(name: str, **arguments: Any) -> Any:
        if backend == "torch":
            import torch_models as models
        else:
            import numpy_models as models  # type: ignore[no-redef]
        return models.build(name, weights=weights, **arguments)

    config = ModelConfig(weights.model, weights.preprocessing.image_size, dict(weights.arguments))
    return build_network(build, f"{backend}_models", config)


def logits(
    weights: Weights, images: NDArray[np.uint8], backend: str = "numpy"
) -> NDArray[np.float32]:
    """Return the logits, (N, 10), of images (N, 28, 28), 0 background and 255 ink."""
    net = network(weights, backend)
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    inputs = map(weights.preprocessing, batches)
    try:
        return np.concatenate([forward(net, batch, backend) for batch in inputs])
    except (ValueError, RuntimeError) as error:
        side = weights.preprocessing.image_size
        words = f"{weights.model} cannot take {side}×{side} images"
        raise ConfigError(f"{words} ({first_line(error)})") from error


def forward(net: Any, inputs: NDArray[np.float32], backend: str) -> NDArray[np.float32]:
    """Return a network's output for its inputs (N, 1, H, W)."""
    if backend == "numpy":
        from numpy_models import outputs

        return outputs(net, inputs)
    import torch

    with torch.inference_mode():
        return net(torch.from_numpy(inputs)).numpy()


def largest_difference(outputs: Sequence[NDArray]) -> float | None:
    """Return the largest absolute difference between two backends' outputs; None for one."""
    return float(np.abs(outputs[0] - outputs[1]).max()) if len(outputs) > 1 else None
