"""``python -m parity report``: check the words, measure, write, say what came of it."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import torch
from threadpoolctl import threadpool_limits

from parity.files import check_writable, write
from parity.networks import NetworkCase, network_cases, pair
from parity.protocol import ParityError
from parity.report import numbers
from parity.report.environment import environment
from parity.report.figures import Network, Report, Run
from parity.report.measure import arguments_of, measure
from parity.report.page import page
from parity.report.record import to_json
from parity.reproduction import record, save

STEM = "parity-report"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParityError(f"{message}; see python -m parity report --help")


def run(arguments: Sequence[str]) -> int:
    """Do what the words after ``report`` ask for; return the exit status."""
    try:
        options = _parser().parse_args(list(arguments))
        chosen = _chosen(options.models, options.all)
        if options.seed < 0:
            raise ParityError(f"--seed must be a whole number from 0, not {options.seed}")
        folder = Path(options.output)
        record_to = Path(options.json) if options.json else folder / f"{STEM}.json"
        _make(folder)
        for path in (folder / f"{STEM}.html", record_to):
            check_writable(path)
        with _one_thread():
            report = _measure(chosen, options.seed, folder)
        write(folder / f"{STEM}.html", page(report).encode())
        write(record_to, to_json(report).encode())
    except ParityError as error:
        print(f"parity report: {error}", file=sys.stderr)
        return 2
    print(f"page: {folder / f'{STEM}.html'}")
    print(f"figures: {record_to}")
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m parity report",
        description="Measure how far both sides of each network agree; write HTML and JSON.",
        allow_abbrev=False,
    )
    parser.add_argument("models", nargs="*", metavar="model=NAME", help="a network to measure")
    parser.add_argument("--all", action="store_true", help="measure every network")
    parser.add_argument(
        "--output", metavar="DIR", default="outputs/parity", help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help=f"the figures' file (default: {STEM}.json in DIR)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, images and masks (default: %(default)s)"
    )
    return parser


def _chosen(words: Sequence[str], everything: bool) -> list[NetworkCase]:
    known = network_cases()
    names = list(dict.fromkeys(case.name for case in known))
    wanted = [_name(word, names) for word in words]
    if everything and wanted:
        raise ParityError("--all already measures every network: leave out model= or --all")
    if not everything and not wanted:
        raise ParityError(f"say what to measure: --all, or model= with one of {', '.join(names)}")
    return known if everything else [case for case in known if case.name in wanted]


def _name(word: str, known: Sequence[str]) -> str:
    """Return the name in a word "model=NAME"."""
    key, separator, name = word.partition("=")
    if not separator:
        name = word
    if name not in known:
        close = difflib.get_close_matches(name, known, 1, cutoff=0.75)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ParityError(f"there is no network {name!r}{hint}: there are {', '.join(known)}")
    if not separator or key != "model":
        raise ParityError(f"{word!r} is no model: write model={name}, or --all")
    return name


def _make(folder: Path) -> None:
    if folder.is_file():
        raise ParityError(f"cannot write into {folder}: it is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParityError(f"cannot write {folder}: {error.strerror}") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums keep one order, and a shared machine is left its cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


def _measure(chosen: Sequence[NetworkCase], seed: int, folder: Path) -> Report:
    start, date = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    networks = []
    for case in chosen:
        network = measure(case, seed)
        if not network.passed:
            network = _reproduced(network, case, seed, folder)
        print(_line(network), flush=True)
        networks.append(network)
    return Report(date, seed, time.perf_counter() - start, environment(), networks)


def _line(network: Network) -> str:
    if not network.passed:
        return f"{network.name}: disagrees, {network.verdict}" + (
            f"\nreproduction: {network.reproduction}" if network.reproduction else ""
        )
    assert network.closest is not None
    run, tensor = network.closest
    return (
        f"{network.name}: agrees, closest call {tensor.label} ({run.title}) with "
        f"{numbers.share(tensor.share)} of its budget ({numbers.seconds(network.seconds)})"
    )


def _reproduced(network: Network, case: NetworkCase, seed: int, folder: Path) -> Network:
    """Save the first failed run as a file that runs again; a training alone has none."""
    failed = next((part for part in network.failures if isinstance(part, Run)), None)
    if failed is None:
        return network
    arguments = arguments_of(case, failed.dtype, seed)
    stem = re.sub(r"[^\w]+", "-", f"{network.name} {network.culprit or 'network'}").strip("-")
    path = folder / f"parity-{stem}.npz"
    setting = pair(**arguments).setting(failed.train)
    found = record(setting, failed.culprits, "parity.networks:pair", arguments)
    if found is None:
        return network
    save(found, path)
    return replace(network, reproduction=str(path))
