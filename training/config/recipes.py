"""Experiments with another option than their own, as in `experiment=r2_deepcnn21 optimizer=adam`.

The experiment's settings for the option replaced, learning rate included, give way to those of the
other one, unless both have the same settings, as all data sets do. Hydra takes a file as a whole,
so the experiment without these settings is stored beside it, under a longer name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, open_dict, read_write

from training.config.settings import flatten
from training.environment import CONF

#: Begins what is added to an experiment's name.
_LONGER = "__"


def adapt(settings: Sequence[str], kind: Callable[[str, str], object]) -> tuple[list[str], str]:
    """Return a job's settings so that they can be composed, and in words what has given way.

    Args:
        settings: key=value each.
        kind: of a group's option; options of one kind have the same settings.
    """
    chosen = dict(setting.partition("=")[::2] for setting in settings)
    name = chosen.get("experiment", _own(_file("study", chosen.get("study"))).get("experiment"))
    experiment = _file("experiment", name)
    winners = {
        group: chosen[group]
        for group, own in _own(experiment).items()
        if group in experiment
        and group in chosen
        and kind(group, own) != kind(group, chosen[group])
    }
    if not winners:
        return list(settings), ""
    lost = ", ".join(flatten({group: experiment.pop(group) for group in winners}))
    longer = _LONGER.join([str(name), *winners.values()])
    ConfigStore.instance().store(longer, experiment, group="experiment", package="_global_")
    others = [setting for setting in settings if not setting.startswith("experiment=")]
    given = " and ".join(f"{group}={option}" for group, option in winners.items())
    return [*others, f"experiment={longer}"], f"experiment={name}: {lost} give way to {given}"


def name_as_file(hydra: DictConfig) -> None:
    """Have Hydra's record of a composition name the experiment by its file."""
    longer = str(hydra.runtime.choices.get("experiment"))
    name = longer.partition(_LONGER)[0]
    with read_write(hydra), open_dict(hydra):
        hydra.runtime.choices.experiment = name
        hydra.overrides.task = [line.replace(longer, name) for line in hydra.overrides.task]
        hydra.job.override_dirname = hydra.job.override_dirname.replace(longer, name)


def _file(group: str, option: str | None) -> dict[str, Any]:
    """Return the content of an option's file; nothing if there is none."""
    path = CONF / group / f"{option}.yaml"
    there = str(option).isidentifier() and path.is_file()
    return yaml.safe_load(path.read_text("utf-8")) or {} if there else {}


def _own(file: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a file chooses, by group."""
    entries = [entry for entry in file.get("defaults", []) if isinstance(entry, dict)]
    return {key.removeprefix("override /"): option for e in entries for key, option in e.items()}
