"""Hydra's composition, with one sentence for what is wrong with a setting.

Hydra explains a mistake in several lines and names no culprit where several settings are given.
Here a failure is traced to the argument that causes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from training.config.check import SEVERAL, check
from training.config.schema import Config
from training.config.settings import flatten
from training.errors import ConfigError, did_you_mean

CONFIG_DIRECTORY = Path(__file__).resolve().parents[2] / "conf"
CONFIG_NAME = "config"

#: What Hydra and OmegaConf raise on odd text: besides their own errors, what a defect would.
COMPOSITION_ERRORS = (
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

#: Launchers that come with an extra of this project.
_EXTRAS = {"joblib": "sweep", "submitit_local": "cluster", "submitit_slurm": "cluster"}

_TYPES = {
    "Integer": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
    "String": "a text",
}


class Composer:
    """Composes inside an initialised Hydra and turns its errors into `ConfigError`.

    Args:
        name: of the main configuration file.
        extra: overrides that stand before all others.
    """

    def __init__(self, name: str, extra: Sequence[str] = ()) -> None:
        self._name = name
        self._extra = list(extra)

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        """Return what arguments of the form key=value say."""
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        found = []
        for argument in arguments:
            try:
                found += parser.parse_overrides([argument])
            except COMPOSITION_ERRORS as error:
                if "=" not in argument:
                    raise ConfigError(f"{argument}: write settings as key=value") from error
                raise ConfigError(f"{argument}: {first_line(error)}") from error
        return found

    def compose(self, overrides: list[str], with_hydra: bool = False, basis: int = 0) -> DictConfig:
        """Compose; the first overrides, basis of them, are known to be sound."""
        try:
            return self._compose(overrides, with_hydra)
        except COMPOSITION_ERRORS as error:
            sound, rest = overrides[:basis], self.parse(overrides[basis:])
            raise self._explain(rest, error, sound) from error

    def check(self, overrides: list[str], basis: int = 0) -> Config:
        """Compose and check the result."""
        try:
            return check(self.compose(overrides, basis=basis))
        except ConfigError:
            raise
        except COMPOSITION_ERRORS as error:
            raise ConfigError(first_line(error)) from error

    def _compose(self, overrides: list[str], with_hydra: bool = False) -> DictConfig:
        return compose(self._name, [*self._extra, *overrides], return_hydra_config=with_hydra)

    def _explain(
        self, overrides: list[Override], error: Exception, accepted: list[str]
    ) -> ConfigError:
        """Add the overrides one by one, groups first, and describe the first that fails."""
        try:
            self._compose(accepted)
        except COMPOSITION_ERRORS as basis:
            return ConfigError(first_line(basis))
        for override in sorted(overrides, key=lambda o: not _options(o.key_or_group)):
            line = str(override.input_line)
            try:
                self._compose([*accepted, line])
            except COMPOSITION_ERRORS as culprit:
                return self._describe(override, culprit, accepted)
            accepted.append(line)
        return ConfigError(first_line(error))

    def _describe(self, override: Override, error: Exception, accepted: list[str]) -> ConfigError:
        key, value = override.key_or_group, override.get_value_element_as_str()
        if extra := _missing_extra(error):
            return ConfigError(f"{key}={value} needs pip install 'lenet-twins[{extra}]'")
        if options := _options(key):
            if value in options:
                return ConfigError(f"{key}={value}: {first_line(error)}")
            return ConfigError(
                f"{key}={value}: no such {key}; choose {', '.join(options)}"
                f"{did_you_mean(value, options)}"
            )
        if key in SEVERAL:
            return ConfigError(f"{key} must be {SEVERAL[key]}, not {value}")
        composed = self._compose(accepted)
        known = _names(composed)
        inner = [name for name in known if name.startswith(f"{key}.")]
        if inner:
            return ConfigError(f"{key} is a group of settings: set one of {', '.join(inner)}")
        if key in known:
            return ConfigError(f"{key} {_wanted(error)}, not {value}")
        group = key.partition(".")[0]
        if owners := self._options_with(key, group):
            chosen = OmegaConf.select(composed, f"{group}.name")
            return ConfigError(
                f"there is no setting {key} with {group}={chosen}: it belongs to "
                f"{' and '.join(f'{group}={owner}' for owner in owners)}"
            )
        return ConfigError(f"there is no setting {key}{did_you_mean(key, [*known, *groups()])}")

    def _options_with(self, key: str, group: str) -> list[str]:
        """Return the options of a group that have the setting."""
        found = []
        for option in _options(group) if group in groups() else ():
            with suppress(*COMPOSITION_ERRORS):
                if key in _names(self._compose([f"{group}={option}"])):
                    found.append(option)
        return found


def default_names() -> list[str]:
    """Return the settings of the default configuration by their dotted names."""
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return _names(compose(CONFIG_NAME))


def groups() -> list[str]:
    """Return the groups of configuration files."""
    found = GlobalHydra.instance().config_loader().list_groups("")
    return [group for group in found if group != "hydra"]


def first_line(error: BaseException) -> str:
    """Return what an error says first."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _missing_extra(error: Exception) -> str | None:
    """Return the extra that brings the file which was not found, if one does."""
    name = error.missing_cfg_file if isinstance(error, MissingConfigException) else None
    group, _, option = str(name).rpartition("/")
    return _EXTRAS.get(option) if group == "hydra/launcher" else None


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _names(config: DictConfig) -> list[str]:
    tree = OmegaConf.to_container(config)
    assert isinstance(tree, dict)
    return list(flatten(tree))


def _wanted(error: Exception) -> str:
    text = f"{error}\n{error.__cause__ or ''}"
    if found := re.search(r"could not be converted to (\w+)", text):
        return f"must be {_TYPES.get(found[1], found[1])}"
    if "not Optional" in text:
        return "needs a value"
    return f"cannot be used ({first_line(error.__cause__ or error)})"
