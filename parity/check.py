"""``python -m parity check`` and ``python -m parity replay``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from parity.assertions import assert_agreement
from parity.pair import load_pair
from parity.protocol import DisagreementError, ParityError
from parity.reproduction import load, record, replay, save
from parity.variation import samples_of


def check(spec: str, words: list[str], save_to: str | None, verbose: bool) -> int:
    """Hold a factory's pair together in each of its modes; return the exit status."""
    arguments = arguments_of(words)
    for train in load_pair(spec, arguments).modes:
        pair = load_pair(spec, arguments)  # anew: no mode inherits the other's state
        try:
            comparison = assert_agreement(pair.setting(train))
        except DisagreementError as error:
            print(error)
            _write(error, spec, arguments, save_to)
            return 1
        print(comparison)
        if verbose:
            print("\n".join(f"  {tensor}" for tensor in comparison.checks))
    return 0


def rerun(path: str) -> int:
    """Replay a reproduction; return the exit status."""
    reproduction = load(Path(path))
    arguments = " ".join(f"{k}={json.dumps(v)}" for k, v in reproduction.arguments.items())
    print(f"importing the pair again from {reproduction.factory} {arguments}".rstrip())
    comparison, change = replay(reproduction)
    print(f"recorded: {reproduction.message}")
    print(f"now: {comparison}")
    if change:
        then = ", ".join(f"{name} {version}" for name, version in reproduction.versions.items())
        print(f"torch's own values differ from the recorded ones ({then}) by up to {change:.3g}")
    return 0 if comparison.passed else 1


def arguments_of(words: list[str]) -> dict[str, Any]:
    """Read name=value words; a value that is no JSON is text.

    Raises:
        ParityError: if a word is something else.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name.isidentifier():
            raise ParityError(f"{word!r} is not an argument for a factory: write name=value")
        try:
            arguments[name] = json.loads(text)
        except json.JSONDecodeError:
            arguments[name] = text
    return arguments


def _write(
    error: DisagreementError, spec: str, arguments: dict[str, Any], save_to: str | None
) -> None:
    reproduction = record(error.finding.setting, error.culprits, spec, arguments)
    if reproduction is None:
        print("no reproduction is written: the failure does not recur when it is replayed")
        return
    path = Path(save_to) if save_to else _free_name(spec, reproduction.layer)
    save(reproduction, path)
    samples = samples_of(reproduction.task) or 1
    what = f"{reproduction.layer} alone" if reproduction.layer else "the whole network"
    print(f"reproduction: {path} ({what}, {samples} sample{'s' if samples > 1 else ''})")
    print(f"run it again: python -m parity replay {path}")


def _free_name(spec: str, layer: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", f"parity-{spec.partition(':')[2]}-{layer or 'network'}")
    number = 1
    while (path := Path(f"{stem}{f'-{number}' if number > 1 else ''}.npz")).exists():
        number += 1
    return path
