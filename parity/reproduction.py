"""A failure in one ``.npz`` file: the smallest task that still fails, and both sides' values.

The file holds numbers and text, nothing pickled. It does not hold code: `replay` imports the pair
again from the factory named in the file, so replay only files whose named factory you would run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity import files
from parity.comparison import Comparison, hold
from parity.localisation import copied, parts
from parity.numpy_runs import fresh, run_numpy
from parity.pair import load_pair
from parity.protocol import NumpyError, ParityError
from parity.runs import run_torch
from parity.task import Setting, Task
from parity.tolerance import Tensors
from parity.transfer import to_numpy
from parity.variation import drawn, samples_of, taken

FORMAT = 1


@dataclass(frozen=True)
class Reproduction:
    """What fails, and what is needed to see it fail again.

    Attributes:
        factory: ``package.module:factory`` that makes the pair, with its arguments.
        layer: the culprit run alone, "loss", or empty for the whole network.
        message: the verdict when it was recorded.
        task: inputs, and upstream gradient or targets; the losses come from the factory.
        weights: torch's parameters and buffers.
        numpy_tensors: what NumPy gave; empty if it raised an exception.
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
    setting: Setting,
    culprits: list[str],
    factory: str,
    arguments: Mapping[str, Any] | None = None,
) -> Reproduction | None:
    """Return the smallest failing task: the first culprit alone, with as few samples as will do.

    It is replayed first. Where a culprit alone agrees then, the whole pair is tried; None is
    returned where that agrees too when it is imported again. The setting has the NumPy side as it
    was before it failed.
    """
    for failing in _candidates(setting, culprits):
        if not _fails(failing):
            continue
        made = _recorded(_shrunk(failing), factory, dict(arguments or {}))
        with suppress(ParityError):
            if replay(made)[0].failures:
                return made
    return None


def _candidates(setting: Setting, culprits: list[str]) -> Iterator[Setting]:
    with suppress(ParityError):
        yield from (part for part in parts(setting) if part.layer in culprits[:1])
    yield setting
    yield replace(setting, task=drawn(setting.task))


def _recorded(setting: Setting, factory: str, arguments: dict[str, Any]) -> Reproduction:
    module, network, task = setting.module, setting.network, setting.task
    failures = [str(check) for check in hold(setting).failures]
    to_numpy(module, network)
    try:
        numpy_tensors = run_numpy(network, fresh(task))
    except NumpyError:
        numpy_tensors = {}
    weights = {name: np.array(value.cpu().numpy()) for name, value in module.state_dict().items()}
    versions = {"numpy": np.__version__, "torch": torch.__version__}
    tensors = run_torch(module, task, task.precision)
    message = failures[0] if failures else ""
    return Reproduction(
        factory, arguments, setting.layer, message, task, weights, tensors, numpy_tensors, versions
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
    arrays = {"facts": np.array(json.dumps(facts))}
    arrays |= {f"inputs{name}": array for name, array in task.arrays.items()}
    arrays |= {f"upstream{name}": array for name, array in (task.upstream or {}).items()}
    if task.targets is not None:
        arrays["targets"] = task.targets
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
        arrays = files.read_arrays(path)
        facts = json.loads(str(arrays.pop("facts")))
        if facts["format"] != FORMAT:
            raise ParityError(f"{path} has format {facts['format']}; this version reads {FORMAT}")
        task = Task(
            arrays["inputs"] if "inputs" in arrays else _by_keyword(_named("inputs", arrays)),
            _named("upstream", arrays) or None,
            arrays.get("targets"),
            train=facts["train"],
            seed=facts["seed"],
        )
        if not task.arrays:
            raise KeyError("inputs")
        known = {name: facts[name] for name in _FACTS}
        _check_facts(facts, arrays)
    except ParityError:
        raise
    except FileNotFoundError:
        raise ParityError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "".join(filter(str.isprintable, str(error)))[:200]
        raise ParityError(f"{path} is not a reproduction, or is damaged: {reason}") from error
    return Reproduction(
        **known,
        task=task,
        weights=_named("weights/", arrays),
        torch_tensors=_tensors("torch/", arrays),
        numpy_tensors=_tensors("numpy/", arrays),
    )


def _check_facts(facts: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse facts of other types than those that `save` writes.

    Raises:
        ValueError: naming the first.
    """
    kinds = {"train": bool, "seed": int, "factory": str, "arguments": dict, "layer": str}
    for name, kind in {**kinds, "message": str, "versions": dict}.items():
        if type(facts[name]) is not kind:
            raise ValueError(f"its {name} is {facts[name]!r:.40}")
    texts = [facts["factory"], facts["layer"], *facts["versions"], *facts["versions"].values()]
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("it holds text that cannot be printed")
    if facts["seed"] < 0:
        raise ValueError(f"its seed is {facts['seed']!r:.40}")
    for name, array in arrays.items():
        if array.dtype.kind == "U":
            raise ValueError(f"{name} holds text")


def replay(reproduction: Reproduction) -> tuple[Comparison, float]:
    """Run a reproduction again on the pair imported anew.

    Returns:
        The verdict now, and the largest change of torch's own values since the recording.

    Raises:
        ParityError: if the pair cannot be imported or no longer takes what was recorded.
    """
    pair = load_pair(reproduction.factory, reproduction.arguments)
    setting = _setting(pair.setting(reproduction.task.train), reproduction.layer)
    module, recorded = setting.module, reproduction.task
    now = {name: (x.dtype, x.ndim) for name, x in setting.task.arrays.items()}
    then = {name: (x.dtype, x.ndim) for name, x in recorded.arrays.items()}
    if now != then:
        raise ParityError(
            f"{reproduction.factory} now gives {_kinds(now)} inputs and {_kinds(then)} ones were "
            "recorded"
        )
    task = replace(
        setting.task.with_arrays(lambda name, _: recorded.arrays[name]),
        upstream=recorded.upstream,
        targets=recorded.targets,
        seed=recorded.seed,
        forward_only=setting.task.forward_only,
    )
    try:
        module.load_state_dict({n: torch.from_numpy(v) for n, v in reproduction.weights.items()})
        comparison = hold(replace(setting, task=task))
        values = run_torch(module, task, task.precision)
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, ParityError):
            raise
        reason = " ".join(str(error).split())
        raise ParityError(f"the recorded weights and task no longer fit: {reason}") from error
    changes = [
        float(np.nanmax(np.abs(values[place] - value), initial=0.0))
        for place, value in reproduction.torch_tensors.items()
        if place in values and values[place].shape == value.shape and value.dtype.kind == "f"
    ]
    return comparison, max(changes, default=0.0)


def _setting(whole: Setting, layer: str) -> Setting:
    """Return one layer alone, or the whole pair if no layer is asked for.

    Raises:
        ParityError: if there is no such layer.
    """
    found = next((part for part in parts(whole) if part.layer == layer), None) if layer else whole
    if found is None:
        raise ParityError(f"{whole.name} has no layer {layer} any more")
    return found


def _named(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): x for n, x in arrays.items() if n.startswith(prefix)}


def _tensors(prefix: str, arrays: Mapping[str, np.ndarray]) -> Tensors:
    split = ((name.rpartition("/"), x) for name, x in _named(prefix, arrays).items())
    return {(layer, tensor): x for (layer, _, tensor), x in split}


def _by_keyword(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name[1:-1]: array for name, array in arrays.items()}


def _kinds(inputs: Mapping[str, tuple[np.dtype, int]]) -> str:
    return ", ".join(f"{dtype} {ndim}-d" for dtype, ndim in inputs.values())


def _shrunk(setting: Setting) -> Setting:
    """Return the setting with samples left out by halves for as long as it still fails."""
    while (samples := samples_of(setting.task)) > 1:
        halves = np.arange(samples // 2), np.arange(samples // 2, samples)
        cuts = (replace(setting, task=taken(setting.task, half)) for half in halves)
        smaller = next((cut for cut in cuts if _fails(cut)), None)
        if smaller is None:
            break
        setting = smaller
    return setting


def _fails(setting: Setting) -> bool:
    try:
        return bool(hold(replace(setting, network=copied(setting.network))).failures)
    except (ParityError, ValueError, RuntimeError):  # torch refuses so small a batch
        return False
