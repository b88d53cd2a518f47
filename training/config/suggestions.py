"""One sentence for what is wrong with a setting, and what was probably meant.

Hydra explains a mistake in several lines and names no culprit where several settings are given.
Here a failure is traced to the setting that causes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from training.config.limits import limit_of, two_fractions
from training.config.settings import flatten
from training.errors import ConfigError, did_you_mean, first_line

#: What Hydra and OmegaConf raise on odd text: besides their own errors, what a defect would.
ERRORS = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

#: Launchers that come with the extra `cluster`.
_CLUSTER = ("slurm", "submitit_local", "submitit_slurm")

_TYPES = {
    "Integer": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
    "String": "a text",
}

Compose = Callable[[Sequence[str]], DictConfig]


def explain(compose: Compose, overrides: Sequence[Override], error: Exception) -> ConfigError:
    """Add the overrides one by one, groups first, and describe the first that fails.

    All of them together fail with the error that is given.
    """
    ordered = sorted(overrides, key=lambda o: not options(o.key_or_group))
    lines = [str(override.input_line) for override in ordered]
    once = cache(lambda *settings: compose(settings))
    for count in range(len(lines)):
        try:
            once(*lines[:count])
        except ERRORS as found:
            lines, error = lines[:count], found
            break
    if not lines:
        return ConfigError(first_line(error))
    *accepted, _ = lines
    return _describe(lambda s: once(*s), ordered[len(accepted)], error, accepted)


def groups() -> list[str]:
    """Return the groups of configuration files."""
    found = GlobalHydra.instance().config_loader().list_groups("")
    return [group for group in found if group != "hydra"]


def options(group: str) -> list[str]:
    """Return the files of a group."""
    loader: Any = GlobalHydra.instance().config_loader()
    return loader.repository.get_group_options(group)  # the loader itself would copy all of them


def _describe(
    compose: Compose, override: Override, error: Exception, accepted: list[str]
) -> ConfigError:
    key, value = override.key_or_group, override.get_value_element_as_str()
    if key == "hydra/launcher" and value in _CLUSTER and isinstance(error, MissingConfigException):
        return ConfigError(f"{key}={value} needs pip install 'lenet-twins[cluster]'")
    if known := options(key):
        if value in known:
            chosen = [line for line in accepted if options(line.partition("=")[0])]
            return ConfigError(_clash([*chosen, f"{key}={value}"], error))
        return ConfigError(
            f"{key}={value}: no such {key}; choose {', '.join(known)}{did_you_mean(value, known)}"
        )
    composed = compose(accepted)
    known = _names(composed, key)
    inner = [name for name in known if name.startswith(f"{key}.")]
    if inner:
        return ConfigError(f"{key} is a group of settings: set one of {', '.join(inner)}")
    if key in known:
        return ConfigError(f"{key} {_objection(composed, key, value, error)}")
    group = key.partition(".")[0]
    if owners := _options_with(compose, key, group):
        chosen = OmegaConf.select(composed, f"{group}.name")
        return ConfigError(
            f"there is no setting {key} with {group}={chosen}: it belongs to "
            f"{' and '.join(f'{group}={owner}' for owner in owners)}"
        )
    return ConfigError(f"there is no setting {key}{did_you_mean(key, [*known, *groups()])}")


def _options_with(compose: Compose, key: str, group: str) -> list[str]:
    """Return the options of a group that have the setting."""
    found = []
    for option in options(group) if group in groups() else ():
        with suppress(*ERRORS):
            if key in _names(compose([f"{group}={option}"]), key):
                found.append(option)
    return found


def _names(composed: DictConfig, key: str) -> list[str]:
    """Return the settings that key may be meant to be one of: Hydra's own, or all others."""
    tree = OmegaConf.to_container(composed)
    assert isinstance(tree, dict)
    hydra = key.startswith("hydra.")
    return list(flatten({k: v for k, v in tree.items() if (k == "hydra") == hydra}))


def _objection(composed: DictConfig, key: str, value: str, error: Exception) -> str:
    """Return what is wrong with a value that its setting cannot take."""
    text = f"{error}\n{error.__cause__ or ''}"
    group, _, name = key.rpartition(".")
    kind = OmegaConf.get_type(OmegaConf.select(composed, group) if group else composed)
    limit = limit_of(kind, name) if is_dataclass(kind) else None
    if limit is two_fractions:
        return two_fractions(value)
    if found := re.search(r"could not be converted to (\w+)", text):
        return f"must be {_TYPES.get(found[1], found[1])}, not {value}"
    if "not Optional" in text:
        return f"needs a value, not {value}"
    return f"cannot be used ({first_line(error.__cause__ or error)}), not {value}"


def _clash(chosen: list[str], error: Exception) -> str:
    """Return why options cannot be used together, or why the last cannot be used at all."""
    found = re.search(r"Key '\w+' not in '(\w+?)(?:Config)?'\n\s*full_key: ([\w.]+)", str(error))
    if found is None:
        return f"{chosen[-1]}: {first_line(error)}"
    remedy = "leave one of them out" if chosen[1:] else "take it out of that file"
    return f"{' with '.join(chosen)}: {found[2]} is set, which {found[1]} does not have; {remedy}"
