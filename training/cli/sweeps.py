"""A sweep's settings: from several values for a key to one list of settings for each job."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.types import Override

from training.errors import ConfigError


def check_sweeps(overrides: Iterable[Override]) -> None:
    """Refuse what gives no list of values.

    Raises:
        ConfigError: for an interval, and for one of Hydra's own settings.
    """
    for override in overrides:
        if override.is_interval_sweep():
            raise ConfigError(
                f"{override.input_line} gives an interval, but a sweep takes single values: "
                f"write {override.get_key_element()}=a,b,c"
            )
        if override.is_sweep_override() and override.is_hydra_override():
            raise ConfigError(f"{override.input_line}: Hydra's own settings cannot be swept over")


def jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """Return each job's settings; the first key varies slowest, a key's last override counts."""
    values = {override.get_key_element(): _values(override) for override in overrides}
    return [list(job) for job in itertools.product(*values.values())]


def first_values(overrides: Iterable[Override]) -> list[str]:
    """Return the settings of the first job.

    Raises:
        ConfigError: if a sweep has no values.
    """
    first = []
    for override in overrides:
        values = _values(override)
        if not values:
            raise ConfigError(f"{override.input_line} gives no value at all")
        first.append(values[0])
    return first


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
