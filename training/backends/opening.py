"""Open the configured backend."""

from __future__ import annotations

from training.backends.protocol import Backend
from training.backends.ranks import ALONE, Ranks
from training.config.schema import Config
from training.errors import ConfigError


def open_backend(config: Config, ranks: Ranks = ALONE) -> Backend:
    """Build the configured network on the configured side, with its initial weights.

    All ranks open theirs at the same point, on the same kind of device.

    Raises:
        ConfigError: if the network, an argument, the size of its images or the device cannot
            be had, on this rank or another.
    """
    try:
        backend = _open(config, ranks)
    except ConfigError as error:
        ranks.all_gather_text(f"error {error}")
        raise
    found = ranks.all_gather_text(f"device {backend.device}")
    for rank, text in enumerate(found):
        kind, _, words = text.partition(" ")
        if kind == "error":
            raise ConfigError(f"rank {rank}: {words}")
        if words != backend.device:
            raise ConfigError(
                f"device={config.device} means {words} for rank {rank} and {backend.device} for "
                f"rank {ranks.rank}: use device=cpu, or machines that all have CUDA devices"
            )
    return backend


def _open(config: Config, ranks: Ranks) -> Backend:
    backend: Backend
    if config.backend.name == "torch":
        from training.backends.torch import TorchBackend

        backend = TorchBackend(config, ranks)
    else:
        from training.backends.numpy import NumpyBackend

        backend = NumpyBackend(config, ranks)
    size = config.model.image_size
    try:
        backend.layer_table()
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"model.image_size={size}: {config.model.name} cannot take {size}×{size} images "
            f"({reason})"
        ) from error
    return backend
