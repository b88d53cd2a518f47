"""Resuming a run: its settings from its checkpoint, and what may differ from them.

The record in a checkpoint is treated as a stranger's: it sets values that the configuration checks
like the user's own, and never a path or an interpolation.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from training import environment
from training.config.schema import Config
from training.config.settings import RESUMABLE, covered, flatten, quote, restorable
from training.errors import ConfigError
from training.storage.checkpoint import Checkpoint, CheckpointError, newest
from training.storage.run_folder import SUMMARY

#: Of a checkpoint's record; counted up when older ones can no longer be read.
FORMAT = 3
#: A checkpoint's record: the settings of `record_of`, a `Provenance`, where the run stands.
RECORD: dict[str, Any] = {
    "format": int,
    "config": dict,
    "dataset": {"name": str, "train_images": int},
    "maker": {"backend": str, "device": str, "threads": int, "processes": int},
    "progress": {
        "epoch": int,
        "step": int,
        "totals": [float, int, int],
        "recorded": [float, int, int],
        "seconds": float,
    },
    "seconds": float,
    "notes": list,
}
#: What is installed beside the checkout's train.py.
COMMAND = "lenet-twins-train"


def find_run(directory: Path) -> Checkpoint:
    """Return a run's newest good checkpoint without changing anything.

    Raises ConfigError if there is none.
    """
    try:
        if not os.path.isdir(directory):
            raise CheckpointError(f"there is no folder {directory}")
        checkpoint = newest(directory)[0]
    except (CheckpointError, OSError) as error:
        remedy = "give the folder of a saved run, or start the run again"
        raise ConfigError(f"resume={directory}: {error}; {remedy}") from error
    check_record(checkpoint.path, checkpoint.record)
    return checkpoint


def is_finished(checkpoint: Checkpoint, config: Config) -> bool:
    """Return whether a checkpoint's run has all its epochs and all its results."""
    epochs, summary = config.trainer.epochs, summary_of(checkpoint.path.parent)
    done = checkpoint.record["progress"]["epoch"]
    return summary.get("status") == "finished" and epochs == done == summary.get("epochs")


def summary_of(directory: Path) -> dict[str, Any]:
    """Return what a run's summary says; nothing where it cannot be read."""
    try:
        summary = json.loads((directory / SUMMARY).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return summary if isinstance(summary, dict) else {}


def check_record(path: Path, record: dict[str, Any]) -> None:
    """Refuse, by ConfigError, a checkpoint whose record is not that of a run of this version."""
    form = record.get("format")
    if isinstance(form, int) and form != FORMAT:
        words = "it was written by a version that saves runs in another format"
        raise ConfigError(f"{path}: {words} ({form}, here {FORMAT}): resume it with that version")
    sound = _fits(record, RECORD)
    if sound:
        progress, dataset, maker = record["progress"], record["dataset"], record["maker"]
        texts = [*record["notes"], dataset["name"], maker["backend"], maker["device"]]
        sound = min(progress["epoch"], progress["step"]) >= 0
        sound = sound and all(isinstance(text, str) and text.isprintable() for text in texts)
    if not sound:
        raise ConfigError(f"{path}: its record is not that of a run")


def _fits(value: Any, shape: Any) -> bool:
    """Return whether a record's value is of a shape: a type, or a dict or a list of shapes."""
    match shape:
        case dict():
            same = isinstance(value, dict) and value.keys() == shape.keys()
            return same and all(_fits(value[key], part) for key, part in shape.items())
        case list():
            same = isinstance(value, list) and len(value) == len(shape)
            return same and all(map(_fits, value, shape))
    return type(value) is shape


def saved_settings(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return a file's settings by their dotted names, as `settings.restorable` has them.

    Raises ConfigError, naming the file, for a setting that is none.
    """
    known = {field.name for field in fields(Config)}
    try:
        settings = restorable(config)
        for key in settings:
            if key.partition(".")[0] not in known:
                raise ValueError(f"there is no setting {key[:60]!r}")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return settings


def check_unchanged(
    record: dict[str, Any], config: Config, dataset: dict[str, Any] | None = None
) -> dict[str, str]:
    """Return in words, by name, the settings that decide the result and differ from a record's.

    They are those of the configuration and, once the data are loaded, what the record is to say of
    them. Raises ConfigError if there are any, unless `resume_override` allows them; or if the run
    already has more epochs than are asked for.
    """
    done, epochs = record.get("progress", {}).get("epoch", 0), config.trainer.epochs
    if epochs is not None and done > epochs:
        raise ConfigError(f"trainer.epochs={epochs}: the run already has {done} epochs")
    was, now = record["config"], asdict(config)
    if dataset is not None:
        was, now = was | {"dataset": record["dataset"]}, now | {"dataset": dataset}
    found = changes(was, now)
    if found and not config.resume_override:
        words = ", ".join(found.values())
        raise ConfigError(f"{words}; leave it as it was, or add resume_override=true")
    return found


def changes(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Return in words, by name, the saved settings that decide the result and differ."""
    current = flatten(now)
    return {
        key: f"{key} was {value} and is {current.get(key, 'no longer a setting')}"
        for key, value in flatten(saved).items()
        if value != {} and not covered(key, RESUMABLE)  # a group without settings has none
        if key not in current or current[key] != value
    }


def record_of(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON values, without what belongs to this machine alone."""
    tree = asdict(config)
    del tree["resume"], tree["resume_override"], tree["data"]["root"]  # LOCAL
    return tree


def command(directory: Path, config: Config, *more: str) -> str:
    """Return the command line that goes on with the run in directory, with more settings."""
    settings = [f"resume={quote(str(directory))}", *more]
    if config.data.root is not None:
        settings.append(f"data.root={quote(config.data.root)}")
    return " ".join(map(_shell_word, [*_program(), *settings]))


def _shell_word(word: str) -> str:
    """Return a word for a POSIX shell; what has apostrophes is easier to read in double quotes."""
    quoted = shlex.quote(word)
    return quoted if quoted == word or set(word) & set('"$`\\!') else f'"{word}"'


def _program() -> list[str]:
    """Return what starts this program, in as many processes as this one was started in."""
    installed = Path(sys.argv[0]).name == COMMAND
    program = sys.argv[0] if installed or sys.argv[0].endswith(".py") else "train.py"
    processes, here = environment.processes(), environment.local_processes()
    if processes == 1:
        return [COMMAND] if installed else ["python", program]
    nodes = [f"--nnodes={processes // here}", "..."] if processes > here else []
    return ["torchrun", *nodes, f"--nproc_per_node={here}", program]
