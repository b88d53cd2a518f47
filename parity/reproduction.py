"""A failure in one ``.npz`` file: the smallest task that still fails, and both sides' values.

The file holds numbers and text, nothing pickled. It does not hold code: `replay` imports the pair
again from the factory named in the file, so replay only files whose named factory you would run.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity import files
from parity.comparison import Comparison, hold
from parity.localisation import parts
from parity.pair import Pair, load_pair
from parity.protocol import NumpyError, ParityError
from parity.runs import Setting, Task, run_numpy, run_torch, torch_dtype
from parity.tolerance import Tensors
from parity.transfer import to_numpy

FORMAT = 1


@dataclass(frozen=True)
class Reproduction:
    """What fails, and what is needed to see it fail again.

    Attributes:
        factory: ``package.module:factory`` that makes the pair.
        arguments: the factory's arguments.
        layer: the culprit run alone, "loss", or empty for the whole network.
        message: the verdict when it was recorded.
        task: inputs, and upstream gradient or targets; the losses come from the factory.
        weights: torch's parameters and buffers.
        torch_tensors: what torch gave, by (layer, tensor).
        numpy_tensors: what NumPy gave; empty if it raised an exception.
        versions: of Python's packages when it was recorded.
    """

    factory: str
    arguments: dict[str, Any]
    layer: str
    message: str
    task: Task
    weights: dict[str, np.ndarray]
    torch_tensors: Tensors
    numpy_tensors: Tensors
    versions: dict[str, str]


def record(
    pair: Pair,
    train: bool,
    culprits: list[str],
    factory: str,
    arguments: Mapping[str, Any] | None = None,
) -> Reproduction:
    """Return the smallest failing task: the first culprit alone, with as few samples as will do."""
    setting = _shrunk(_setting(pair, culprits[0] if culprits else "", train))
    module, network, task = setting.module, setting.network, setting.task
    failures = [str(check) for check in hold(setting).failures]
    to_numpy(module, network)
    try:
        numpy_tensors = run_numpy(network, task)
    except NumpyError:
        numpy_tensors = {}
    weights = {name: np.array(value.cpu().numpy()) for name, value in module.state_dict().items()}
    versions = {"numpy": np.__version__, "torch": torch.__version__}
    tensors = run_torch(module, task, torch_dtype(task.inputs))
    message = failures[0] if failures else ""
    return Reproduction(
        factory,
        dict(arguments or {}),
        setting.layer,
        message,
        task,
        weights,
        tensors,
        numpy_tensors,
        versions,
    )


def save(reproduction: Reproduction, path: Path) -> None:
    """Write a reproduction; an existing file is replaced only by a complete one.

    Raises:
        ParityError: if it cannot be written.
    """
    task = reproduction.task
    facts = {
        "format": FORMAT,
        "train": task.train,
        "seed": task.seed,
        **{name: getattr(reproduction, name) for name in _FACTS},
    }
    arrays = {"facts": np.array(json.dumps(facts)), "inputs": task.inputs}
    for name in ("upstream", "targets"):
        if getattr(task, name) is not None:
            arrays[name] = getattr(task, name)
    arrays |= {f"weights/{name}": value for name, value in reproduction.weights.items()}
    for side in ("torch", "numpy"):
        for (layer, tensor), value in getattr(reproduction, f"{side}_tensors").items():
            arrays[f"{side}/{layer}/{tensor}"] = value
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    files.write(path, content.getvalue())


_FACTS = ("factory", "arguments", "layer", "message", "versions")


def load(path: Path) -> Reproduction:
    """Read what `save` wrote.

    Raises:
        ParityError: if the file is missing, damaged or not a reproduction.
    """
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise ParityError(f"{path} is not a reproduction: it is no .npz file")
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays.pop("facts")))
        if facts["format"] != FORMAT:
            raise ParityError(f"{path} has format {facts['format']}; this version reads {FORMAT}")
        task = Task(
            arrays["inputs"],
            arrays.get("upstream"),
            arrays.get("targets"),
            train=facts["train"],
            seed=facts["seed"],
        )
        known = {name: facts[name] for name in _FACTS}
    except FileNotFoundError:
        raise ParityError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, ParityError):
            raise
        raise ParityError(f"{path} is not a reproduction, or is damaged: {error}") from error
    tensors: dict[str, Tensors] = {"torch": {}, "numpy": {}}
    for key, value in arrays.items():
        side, _, place = key.partition("/")
        if side in tensors:
            layer, _, tensor = place.rpartition("/")
            tensors[side][layer, tensor] = value
    return Reproduction(
        task=task,
        weights={
            key.removeprefix("weights/"): value
            for key, value in arrays.items()
            if key.startswith("weights/")
        },
        torch_tensors=tensors["torch"],
        numpy_tensors=tensors["numpy"],
        **known,
    )


def replay(reproduction: Reproduction) -> tuple[Comparison, float]:
    """Run a reproduction again on the pair imported anew.

    Returns:
        The verdict now, and the largest change of torch's own values since the recording.

    Raises:
        ParityError: if the pair cannot be imported or no longer takes the recorded weights.
    """
    pair = load_pair(reproduction.factory, reproduction.arguments)
    if reproduction.task.inputs.dtype != pair.inputs.dtype:
        raise ParityError(
            f"{reproduction.factory} now gives {pair.inputs.dtype} inputs and "
            f"{reproduction.task.inputs.dtype} ones were recorded"
        )
    setting = _setting(pair, reproduction.layer, reproduction.task.train)
    module = setting.module
    if setting.layer != reproduction.layer:
        raise ParityError(f"{reproduction.factory} has no layer {reproduction.layer} any more")
    task = replace(
        setting.task,
        **{n: getattr(reproduction.task, n) for n in ("inputs", "upstream", "targets", "seed")},
    )
    try:
        module.load_state_dict({n: torch.from_numpy(v) for n, v in reproduction.weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ParityError(f"the recorded weights no longer fit: {reason}") from error
    comparison = hold(replace(setting, task=task))
    now = run_torch(module, task, torch_dtype(task.inputs))
    changes = [
        float(np.nanmax(np.abs(now[place] - value), initial=0.0))
        for place, value in reproduction.torch_tensors.items()
        if place in now and now[place].shape == value.shape
    ]
    return comparison, max(changes, default=0.0)


def _setting(pair: Pair, layer: str, train: bool) -> Setting:
    """Return one layer alone, or the whole pair if there is no such layer."""
    whole = pair.setting(train)
    if layer:
        with suppress(ParityError):
            for part in parts(whole):
                if part.layer == layer:
                    return part
    return whole


def _shrunk(setting: Setting) -> Setting:
    """Return the setting with samples left out by halves for as long as it still fails."""
    while (samples := len(setting.task.inputs)) > 1:
        halves = [slice(0, samples // 2), slice(samples // 2, samples)]
        failing = (cut for half in halves if _fails(cut := _cut(setting, half)))
        smaller = next(failing, None)
        if smaller is None:
            break
        setting = smaller
    return setting


def _cut(setting: Setting, samples: slice) -> Setting:
    def cut(array: np.ndarray | None) -> Any:
        return None if array is None else array[samples].copy()

    names = ("inputs", "upstream", "targets")
    return replace(
        setting,
        task=replace(setting.task, **{name: cut(getattr(setting.task, name)) for name in names}),
    )


def _fails(setting: Setting) -> bool:
    try:
        return not hold(setting).passed
    except (ParityError, ValueError, RuntimeError):  # torch refuses so small a batch
        return False
