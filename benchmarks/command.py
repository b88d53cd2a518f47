"""What the commands share: options, the environment's record, files, and how they fail."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.harness import BenchmarkError
from benchmarks.report import Content
from training.environment import available_cores, processor
from training.storage.files import write_atomically

#: A share of the cores that others may use: above it, the reader is warned.
QUIET = 0.1


def parser(
    name: str, description: str | None, rounds: int | None = None, seconds: float | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark, and of those that it has a default for.

    Of the module's description the first line is shown.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(description or "").partition("\n")[0]
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    if rounds is not None:
        words = "interleaved rounds (default: %(default)s)"
        made.add_argument("--rounds", type=positive, default=rounds, help=words)
    if seconds is not None:
        words = "about how long one measurement lasts (default: %(default)s)"
        made.add_argument("--seconds", type=positive_seconds, default=seconds, help=words)
    return made


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return int(text)


def positive_seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")


def threads(text: str) -> int:
    """Parse a number of threads this process can have, or "all"."""
    if text == "all":
        return available_cores()
    count = positive(text)
    if count > available_cores():
        raise argparse.ArgumentTypeError(
            f"this process may use {available_cores()} cores, not {count}: give fewer, or all"
        )
    return count


def run(name: str, main: Callable[[], None]) -> None:
    """Run a command's main function; end with status 1 after a failed benchmark."""
    try:
        main()
    except BenchmarkError as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"benchmarks.{name}: interrupted, nothing was written", file=sys.stderr)
        sys.exit(130)


def announce(text: str) -> None:
    """Say what is being done, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def measurement(
    name: str, options: argparse.Namespace, *packages: str, **settings: Any
) -> Iterator[Content]:
    """Give the results of a benchmark to be filled in; then print their tables and write them.

    The numbers depend on the packages' versions and on the settings.

    Raises:
        BenchmarkError: before the block, if the file cannot be written.
    """
    path = options.json
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchmarkError(f"cannot write {path}: {error.strerror}") from error
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise BenchmarkError(f"cannot write {path}: choose another place for it")
    record = environment() | {"versions": versions(*packages)}
    for key, value in record["variables"].items():
        announce(f"{key}={value} is set, and kept")
    content: Content = {"benchmark": name, "environment": record, "settings": settings}
    started, busy, own = time.monotonic(), _busy_seconds(), _own_seconds()
    yield content
    now_busy = _busy_seconds()
    if busy is not None and now_busy is not None:
        others = (now_busy - busy) - (_own_seconds() - own)
        cores = max(0.0, round(others / (time.monotonic() - started), 2))
        record["cores_used_by_others"] = cores
        if cores > QUIET * available_cores():
            announce(
                f"other processes used {cores} cores meanwhile: these times say little, and "
                "those of several threads least of all; repeat on a quiet machine"
            )
    for title, text in report.sections([content]).items():
        print(f"{title}\n{text}\n")
    for title, reason in content.get("not_measured", {}).items():
        print(f"{title}: {reason}")
    if path is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        with writing(path):
            write_atomically(path, text.encode())


def _busy_seconds() -> float | None:
    """Return the seconds that all cores together have been busy, or taken by the host."""
    try:
        fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def environment() -> dict[str, Any]:
    """Return what the numbers of a measurement depend on."""
    prefixes = (
        *("OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_", "XLA_"),
        *("NPY_DISABLE_", "ONEDNN_", "ATEN_"),
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": available_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(prefixes)},
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the packages' versions, or "absent"."""
    found = dict.fromkeys(packages, "absent")
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say that the block wrote a file.

    Raises:
        BenchmarkError: if it could not.
    """
    try:
        yield
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror}") from error
    announce(f"wrote {path}")


def read(path: Path) -> Content:
    """Return the content of a result file.

    Raises:
        BenchmarkError: if it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        report.sections([content])
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{path} is not a result of a benchmark of this version") from error
    return content
