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
from training.config.settings import LOCAL, RESUMABLE, covered, flatten, quote, restorable
from training.errors import ConfigError
from training.storage.checkpoint import NAME, CheckpointError, Content, fits, newest, read
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
#: Of a folder's runs, in the sentence that it is no run's itself.
MAX_NAMED = 3


def find_run(directory: Path) -> Content:
    """Return a run's newest good checkpoint without changing anything.

    Raises:
        ConfigError: if there is none.
    """
    try:
        if not os.path.isdir(directory):
            raise CheckpointError(f"there is no folder {directory}")
        content = newest(directory, read)[0]
    except (CheckpointError, OSError) as error:
        raise ConfigError(f"resume={directory}: {error}{_runs_inside(directory)}") from error
    check_record(content.path, content.record)
    return content


def _runs_inside(directory: Path) -> str:
    """Return in words which runs a sweep's or a day's folder holds, or what else can be done."""
    depths = ("*", "*/*") if os.path.isdir(directory) else ()  # a name may be too long for glob
    found = [path.parent for depth in depths for path in directory.glob(f"{depth}/{NAME}")]
    if not found:
        return "; give the folder of a saved run, or start the run again"
    named = [f"resume={quote(str(path))}" for path in sorted(found)[:MAX_NAMED]]
    more = f" and {len(found) - len(named)} more" if len(found) > len(named) else ""
    return f"; there are runs inside, give one of them: {', '.join(named)}{more}"


def is_finished(content: Content, config: Config) -> bool:
    """Return whether a checkpoint's run has all its epochs and all its results."""
    epochs, summary = config.trainer.epochs, summary_of(content.path.parent)
    done = content.record["progress"]["epoch"]
    return summary.get("status") == "finished" and epochs == done == summary.get("epochs")


def summary_of(directory: Path) -> dict[str, Any]:
    """Return what a run's summary says; nothing where it cannot be read."""
    try:
        summary = json.loads((directory / SUMMARY).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return summary if isinstance(summary, dict) else {}


def check_record(path: Path, record: dict[str, Any]) -> None:
    """Refuse a checkpoint whose record is not that of a run of this version.

    Raises:
        ConfigError: naming the file.
    """
    form = record.get("format")
    if isinstance(form, int) and form != FORMAT:
        raise ConfigError(
            f"{path}: it was written by a version of this program that saves runs in another "
            f"format ({form}, here {FORMAT}): resume it with that version"
        )
    sound = (
        fits(record, RECORD) and min(record["progress"]["epoch"], record["progress"]["step"]) >= 0
    )
    if sound:
        dataset, maker = record["dataset"], record["maker"]
        texts = [*record["notes"], dataset["name"], maker["backend"], maker["device"]]
        sound = all(isinstance(text, str) and text.isprintable() for text in texts)
    if not sound:
        raise ConfigError(f"{path}: its record is not that of a run")


def saved_settings(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return a file's settings by their dotted names, as `settings.restorable` has them.

    Raises:
        ConfigError: naming the file and a setting that is none.
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


def check_unchanged(record: dict[str, Any], config: Config) -> None:
    """Refuse a configuration that would not continue the run of a record.

    Raises:
        ConfigError: naming each setting that differs, unless `resume_override` allows it; or if
            the run already has more epochs than are asked for.
    """
    done, epochs = record.get("progress", {}).get("epoch", 0), config.trainer.epochs
    if epochs is not None and done > epochs:
        raise ConfigError(f"trainer.epochs={epochs}: the run already has {done} epochs")
    differences = changes(record["config"], asdict(config))
    if differences and not config.resume_override:
        raise ConfigError(
            f"this is not the run's own configuration: {', '.join(differences.values())}; leave "
            "that out, or add resume_override=true to apply it"
        )


def changes(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Return in words, by their names, the saved settings that decide the result and differ."""
    current = _settings(now)
    return {
        key: f"{key} was {value} and is {current.get(key, 'no longer a setting')}"
        for key, value in _settings(saved).items()
        if not covered(key, RESUMABLE) and (key not in current or current[key] != value)
    }


def record_of(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON values, without what belongs to this machine alone."""
    tree = asdict(config)
    for key in LOCAL:
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node[part]
        del node[last]
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
    script, processes = sys.argv[0], environment.processes()
    if processes == 1 and Path(script).name == COMMAND:
        return [COMMAND]
    program = script if script.endswith(".py") else "train.py"
    if processes == 1:
        return ["python", program]
    if Path(script).name == COMMAND:
        program = script
    here = environment.local_processes()
    machines = processes // here
    nodes = [f"--nnodes={machines}", "..."] if machines > 1 else []
    return ["torchrun", *nodes, f"--nproc_per_node={here}", program]


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings by their dotted names; a group without any has none."""
    return {key: value for key, value in flatten(config).items() if value != {}}
