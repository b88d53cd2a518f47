"""From settings on the command line (key=value) to a checked `Config`, by Hydra's compose API.

Whatever goes wrong is a `ConfigError` that names the setting at fault and what it may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from training.config import recipes, schema
from training.config.limits import check_limits
from training.config.schema import Config, SGDConfig
from training.config.settings import covered, flatten, restorable
from training.config.suggestions import ERRORS, explain, groups, options
from training.environment import CONF
from training.errors import ConfigError, did_you_mean, first_line

NAME = "config"
#: Characters of a setting's name: Hydra looks for a file of that name.
MAX_KEY = 100

_OPTIONS: dict[str, dict[str, Any]] = {
    "backend": {"torch": schema.TorchBackendConfig, "numpy": schema.NumpyBackendConfig},
    "data": {name: schema.DataConfig(name=name) for name in ("auto", "mnist", "digits")},
    "optimizer": {
        "adam": schema.AdamConfig,
        "sgd": schema.SGDConfig,
        "adagrad": schema.AdagradConfig,
    },
    "scheduler": {"constant": schema.SchedulerConfig, "step": schema.StepSchedulerConfig},
    "init": {
        **{name: schema.InitConfig(name=name) for name in ("torch", "he", "xavier")},
        "normal": schema.NormalInitConfig,
    },
    # Instead of Hydra's plugin of that name: cli/sweeps.py takes the number of jobs. The target is
    # never instantiated.
    "hydra/launcher": {"joblib": {"_target_": "training.cli.sweeps.joblib", "n_jobs": -1}},
}


@cache
def register() -> None:
    """Make the types known to Hydra, once."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, choices in _OPTIONS.items():
        for name, node in choices.items():
            store.store(group=group, name=name, node=node)


@contextmanager
def composer() -> Iterator[Composer]:
    """Give what composes the configuration's files, until the block ends."""
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
        register()
        try:
            yield Composer()
        except ConfigError:
            raise
        except ERRORS as error:
            key = getattr(error, "full_key", None) or "these settings"  # OmegaConf's have one
            raise ConfigError(f"{key}: {first_line(error)}") from error


def adapted(settings: Sequence[str]) -> list[str]:
    """Return settings as Hydra itself can compose them, recipes with other options included."""
    return recipes.adapt(settings, _kind)[0]


def configuration(*settings: str) -> Config:
    """Return the checked configuration of one run: `configuration("model=lenet5_bn", "seed=1")`."""
    with composer() as opened:
        return opened.check(opened.compose(settings))


class Composer:
    """Composes inside an initialised Hydra and turns its errors into `ConfigError`."""

    def __init__(self) -> None:
        #: What has given way in the recipes composed, in words; the values say nothing.
        self.notes: dict[str, None] = {}

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        """Return what arguments of the form key=value say."""
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        found = []
        for argument in arguments:
            try:
                found += parser.parse_overrides([argument])
            except ERRORS as error:
                key, equals, _ = argument.partition("=")
                if not equals:
                    raise ConfigError(f"{argument}: write settings as key=value") from error
                raise ConfigError(
                    f"{argument}: {first_line(error)}; special characters are quoted, as in "
                    f"\"{key}='...'\""
                ) from error
        for key in (override.key_or_group for override in found):
            if not key:
                raise ConfigError("=: write settings as key=value")
            if len(key) > MAX_KEY:
                raise ConfigError(f"there is no setting {key[:MAX_KEY]}...")
        return found

    def compose(self, settings: Sequence[str]) -> DictConfig:
        """Return the composition with its `hydra` node, which `${hydra:...}` then refers to."""
        try:
            composed = self._attempt(settings)
        except ERRORS as error:
            raise explain(self._attempt, self.parse(settings), error) from error
        HydraConfig.instance().set_config(composed)
        return composed

    def restore(
        self, saved: Mapping[str, Any], given: Sequence[Override] = (), recipes: Sequence[str] = ()
    ) -> DictConfig:
        """Return the composition of a run's saved settings, of which those that are given win.

        Args:
            saved: values by dotted names; of a group that is swapped, only the threads count.
            given: settings of the command line.
            recipes: settings that choose files, for the record.
        """
        keys = [override.key_or_group for override in given]
        names = {g: saved.get(f"{g}.name") for g in groups() if g not in keys}
        chosen = [f"{group}={name}" for group, name in names.items() if name in options(group)]
        lines = [str(override.input_line) for override in given]
        composed = self.compose([*recipes, *chosen, *lines])
        if "model" not in keys:
            with open_dict(composed.model.arguments) as arguments:
                for key in (f"model.arguments.{name}" for name in [*arguments]):
                    if not covered(key, keys) and not any(covered(each, [key]) for each in saved):
                        del arguments[key.rpartition(".")[2]]  # as the run has done
        for key, value in saved.items():
            if not covered(key, keys) or (key == "backend.threads" and key not in keys):
                try:
                    OmegaConf.update(composed, key, value, force_add=True)
                except ERRORS as error:
                    shown = repr(value)[:60]
                    raise ConfigError(f"{key} cannot be {shown} ({first_line(error)})") from error
        return composed

    def check(self, composed: DictConfig) -> Config:
        """Remove the `hydra` node from a composition, and return what remains as a `Config`.

        Every value is then within its limits, and can be given back by a checkpoint.
        """
        with open_dict(composed):
            composed.pop("hydra", None)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigError(f"{missing[0]} has no value: set it, as in {missing[0]}=...")
        config, given = OmegaConf.to_object(composed), OmegaConf.to_container(composed)
        assert isinstance(config, Config)
        assert isinstance(given, dict)
        known = flatten(asdict(config))
        # What `+key=value` adds and nothing reads.
        for name in sorted(flatten(given).keys() - known):
            raise ConfigError(f"there is no setting {name}{did_you_mean(name, known)}")
        check_limits(config)
        _check_together(config)
        try:
            restorable(asdict(config))
        except ValueError as error:  # the run could not be resumed
            raise ConfigError(str(error)) from error
        return config

    def _attempt(self, settings: Sequence[str]) -> DictConfig:
        """Compose; errors are Hydra's own."""
        adapted, note = recipes.adapt(settings, _kind)
        composed = compose(NAME, adapted, return_hydra_config=True)
        if note:
            recipes.name_as_file(composed.hydra)
            self.notes[note] = None
        return composed


def _kind(group: str, option: str) -> object:
    """Return the type of an option, or its name where it is a file."""
    node = _OPTIONS.get(group, {}).get(option, option)
    return node if isinstance(node, str | type) else type(node)


def _check_together(config: Config) -> None:
    sgd = config.optimizer
    if isinstance(sgd, SGDConfig) and sgd.nesterov and (not sgd.momentum or sgd.dampening):
        raise ConfigError("optimizer.nesterov needs a momentum above 0 and dampening=0")
    if config.trainer.steps_per_epoch and config.data.sampling != "replacement":
        raise ConfigError("trainer.steps_per_epoch needs data.sampling=replacement")
    if config.backend.name == "numpy" and config.device == "cuda":
        raise ConfigError("device=cuda needs backend=torch: the NumPy twin runs on the CPU")
