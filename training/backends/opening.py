"""Opening a backend."""

from __future__ import annotations

from training.backends.protocol import Backend
from training.backends.ranks import Ranks
from training.config.schema import Config
from training.errors import ConfigError


def open_backend(config: Config, ranks: Ranks) -> Backend:
    """Build the configured network on the configured side, with its initial weights.

    Raises:
        ConfigError: if the network, one of its arguments or the device cannot be had.
    """
    backend = _open(config, ranks)
    try:
        backend.layer_table()
    except (ValueError, RuntimeError) as error:
        name, size = config.model.name, config.model.image_size
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"model.image_size={size}: {name} cannot take {size}×{size} images ({reason})"
        ) from error
    return backend


def _open(config: Config, ranks: Ranks) -> Backend:
    if config.backend.name == "torch":
        from training.backends.torch import TorchBackend

        return TorchBackend(config)
    from training.backends.numpy import NumpyBackend

    return NumpyBackend(config)
