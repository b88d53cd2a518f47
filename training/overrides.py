"""From the command line to checked configurations, and one sentence for what is wrong with it.

Hydra explains a mistake in several lines and stops at the first job of a sweep. Here every job is
composed and checked before anything runs, and a failure is traced to the argument that causes it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from training import resume
from training.config import Config
from training.config_check import check
from training.errors import ConfigError, did_you_mean

CONFIG_DIRECTORY = Path(__file__).resolve().parent.parent / "conf"
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

_TYPES = {
    "Integer": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
    "String": "a text",
}


@dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        jobs: their checked configurations.
        multirun: whether it is a sweep.
        directory: the folder they are to be written to.
        overrides: the settings that give these jobs, a resumed run's own before the user's.
        resumes: whether the folder is that of a run to be taken up again.
        launcher: of a sweep, the class that runs its jobs.
    """

    jobs: tuple[Config, ...]
    multirun: bool
    directory: str
    overrides: tuple[str, ...]
    resumes: bool = False
    launcher: str = ""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse Hydra's options; overrides (key=value) are in `.overrides`.

    Raises:
        ConfigError: if an option is unknown, lacks its value, or excludes another one.
    """

    def fail(message: str) -> NoReturn:
        options = [arg for arg in argv if arg.startswith("--") and arg in message]
        for option in options:
            word = option.removeprefix("--").partition("=")[0]
            message += f"; settings are given as key=value{did_you_mean(word, _default_keys())}"
        raise ConfigError(message)

    parser = get_args_parser()
    parser.error = fail  # type: ignore[method-assign]
    args = parser.parse_args(list(argv))
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    chosen = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(args, mode)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other: give one of them")
    if args.resolve and not args.cfg and not args.help:
        raise ConfigError("--resolve goes with --cfg or --help only")
    return args


def make_plan(args: argparse.Namespace) -> Plan:
    """Compose and check every job of the command line.

    Raises:
        ConfigError: with the argument at fault and what it may be.
    """
    directory = Path(args.config_path or CONFIG_DIRECTORY).resolve()
    for path in filter(None, (directory, args.config_dir)):
        if not Path(path).is_dir():
            raise ConfigError(f"there is no folder {path} of configuration files")
    name = args.config_name or CONFIG_NAME
    extra = []
    if args.config_dir:
        extra = [f"hydra.searchpath=[file://{Path(args.config_dir).resolve()}]"]
    with initialize_config_dir(str(directory), version_base="1.3", job_name="train"):
        try:
            return _plan(_Composer(name, extra), args)
        except ConfigError:
            raise
        except COMPOSITION_ERRORS as error:
            raise ConfigError(f"these settings cannot be used: {_first_line(error)}") from error


def _plan(composer: _Composer, args: argparse.Namespace) -> Plan:
    overrides = composer.parse(args.overrides)
    multirun = bool(args.multirun)
    resumed = _value(overrides, "resume")
    if resumed is not None:
        return composer.resume(Path(resumed).absolute(), overrides, multirun)
    whole = composer.compose(_first_values(overrides), with_hydra=True)
    multirun = multirun or OmegaConf.select(whole, "hydra.mode") == RunMode.MULTIRUN
    for override in overrides:
        if override.is_sweep_override() and not multirun:
            raise ConfigError(
                f"{override.input_line} gives several values: add --multirun to run them all"
            )
    if not multirun:
        jobs = [[str(override.input_line) for override in overrides]]
    else:
        params = OmegaConf.select(whole, "hydra.sweeper.params")
        swept = composer.parse([f"{k}={v}" for k, v in (params or {}).items()])
        # The sweeper's own order: the command line wins over the file's parameters.
        jobs = BasicSweeper.split_arguments([*swept, *overrides], None)[0]
    checked = tuple(composer.check(job) for job in jobs)
    target = whole.hydra.sweep.dir if multirun else whole.hydra.run.dir
    launcher = str(OmegaConf.select(whole, "hydra.launcher._target_"))
    return Plan(checked, multirun, str(target), tuple(args.overrides), launcher=launcher)


class _Composer:
    """Composes inside an initialised Hydra and turns its errors into `ConfigError`."""

    def __init__(self, name: str, extra: list[str]) -> None:
        self._name = name
        self._extra = extra

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        found = []
        for argument in arguments:
            try:
                found += parser.parse_overrides([argument])
            except COMPOSITION_ERRORS as error:
                if "=" not in argument:
                    raise ConfigError(f"{argument}: write settings as key=value") from error
                raise ConfigError(f"{argument}: {_first_line(error)}") from error
        return found

    def check(self, overrides: list[str], basis: int = 0) -> Config:
        """Compose and check; the first overrides, basis of them, are known to be sound."""
        try:
            return check(self.compose(overrides, basis=basis))
        except ConfigError:
            raise
        except COMPOSITION_ERRORS as error:
            raise ConfigError(_first_line(error)) from error

    def resume(self, directory: Path, given: list[Override], multirun: bool) -> Plan:
        """Return the plan to go on with the run in directory under its own settings."""
        keys = [override.key_or_group for override in given]
        for key in ("hydra.run.dir", "experiment", "study"):
            if key in keys:
                raise ConfigError(f"resume and {key} exclude each other: a run keeps its own")
        if multirun or any(override.is_sweep_override() for override in given):
            raise ConfigError("resume takes up one run: give one folder, and no --multirun")
        content = resume.find_run(directory)
        saved = resume.saved_overrides(content, keys, _groups())
        try:
            self.check([str(override.input_line) for override in self.parse(saved)])
        except ConfigError as error:
            raise ConfigError(f"{content.path}: its settings cannot be used: {error}") from error
        lines = [*saved, *(str(override.input_line) for override in given)]
        config = self.check(lines, basis=len(saved))
        resume.check_unchanged(content, config)
        return Plan((config,), False, str(directory), tuple(lines), resumes=True)

    def compose(self, overrides: list[str], with_hydra: bool = False, basis: int = 0) -> DictConfig:
        try:
            return self._compose(overrides, with_hydra)
        except COMPOSITION_ERRORS as error:
            sound, rest = overrides[:basis], self.parse(overrides[basis:])
            raise self._explain(rest, error, sound) from error

    def _compose(self, overrides: list[str], with_hydra: bool = False) -> DictConfig:
        return compose(self._name, [*self._extra, *overrides], return_hydra_config=with_hydra)

    def _explain(
        self, overrides: list[Override], error: Exception, accepted: list[str]
    ) -> ConfigError:
        """Add the overrides one by one, groups first, and describe the first that fails."""
        try:
            self._compose(accepted)
        except COMPOSITION_ERRORS as basis:
            return ConfigError(_first_line(basis))
        for override in sorted(overrides, key=lambda o: not _is_group(o.key_or_group)):
            line = str(override.input_line)
            try:
                self._compose([*accepted, line])
            except COMPOSITION_ERRORS as culprit:
                return self._describe(override, culprit, accepted)
            accepted.append(line)
        return ConfigError(_first_line(error))

    def _describe(self, override: Override, error: Exception, accepted: list[str]) -> ConfigError:
        key, value = override.key_or_group, override.get_value_element_as_str()
        if _is_group(key):
            options = _options(key)
            if value not in options:
                choice = f"choose {', '.join(options)}" if options else "there is none yet"
                return ConfigError(
                    f"{key}={value}: no such {key}; {choice}{did_you_mean(value, options)}"
                )
            return ConfigError(f"{key}={value}: {_first_line(error)}")
        known = list(_flatten(OmegaConf.to_container(self._compose(accepted))))
        inner = [name for name in known if name.startswith(f"{key}.")]
        if inner:
            return ConfigError(f"{key} is a group of settings: set one of {', '.join(inner)}")
        if key in known:
            return ConfigError(f"{key} {_wanted(error)}, not {value}")
        names = [*known, *_groups()]
        return ConfigError(f"there is no setting {key}{did_you_mean(key, names)}")


def _first_values(overrides: list[Override]) -> list[str]:
    """Return the overrides with every sweep at its first value."""
    lines = []
    for override in overrides:
        if override.is_sweep_override() and override.is_discrete_sweep():
            value = next(iter(override.sweep_string_iterator()), None)
            if value is None:
                raise ConfigError(f"{override.input_line} gives no value at all")
            lines.append(f"{override.get_key_element()}={value}")
        else:
            lines.append(str(override.input_line))
    return lines


def _value(overrides: list[Override], key: str) -> str | None:
    """Return the last plain value that is given for a key."""
    for override in reversed(overrides):
        if override.key_or_group == key and not override.is_sweep_override():
            value = override.value()
            return None if value is None else str(getattr(value, "text", value))
    return None


def _wanted(error: Exception) -> str:
    text = f"{error}\n{error.__cause__ or ''}"
    if found := re.search(r"could not be converted to (\w+)", text):
        return f"must be {_TYPES.get(found[1], found[1])}"
    if "not Optional" in text:
        return "needs a value"
    return f"cannot be used ({_first_line(error.__cause__ or error)})"


def _default_keys() -> list[str]:
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return list(_flatten(OmegaConf.to_container(compose(CONFIG_NAME))))


def _flatten(tree: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a configuration's values."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _groups() -> list[str]:
    groups = GlobalHydra.instance().config_loader().list_groups("")
    return [*(group for group in groups if group != "hydra"), "experiment"]


def _is_group(key: str) -> bool:
    return key == "experiment" or bool(_options(key))


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
