"""``python -m parity report``."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from parity.files import check_writable, make_folder, write
from parity.networks import NetworkCase, network_cases, pair
from parity.protocol import ParityError
from parity.report.measure import Network, Report, Run, arguments_of, environment, measure
from parity.report.page import page, share
from parity.reproduction import record, save


def command(names: Sequence[str], folder: Path) -> int:
    """Measure the networks of these names, or all, on one thread, and write the page.

    Failures' reproductions go into the folder, too. Returns the exit status.
    """
    cases = network_cases()
    known = dict.fromkeys(case.name for case in cases)
    if unknown := [name for name in names if name not in known]:
        raise ParityError(f"there is no network {unknown[0]!r}: there are {', '.join(known)}")
    make_folder(folder)
    html = folder / "parity-report.html"
    check_writable(html)
    torch.set_num_threads(1)
    start, date = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    with threadpool_limits(1, "blas"):
        chosen = [case for case in cases if not names or case.name in names]
        networks = [_measured(case, folder) for case in chosen]
    report = Report(date, time.perf_counter() - start, environment(), networks)
    write(html, page(report).encode())
    print(f"page: {html}")
    return 0 if all(network.passed for network in networks) else 1


def _measured(case: NetworkCase, folder: Path) -> Network:
    network = measure(case)
    if network.closest is not None and network.passed:
        run, tensor, check = network.closest
        told = (
            f"agrees, closest call {tensor} ({run.title}) with {share(check.share)} of its budget"
        )
    else:
        network = _reproduced(network, case, folder)
        again = f"\nreproduction: {network.reproduction}" if network.reproduction else ""
        told = f"disagrees, {network.verdict}{again}"
    print(f"{network.name}: {told} ({network.seconds:.1f} s)", flush=True)
    return network


def _reproduced(network: Network, case: NetworkCase, folder: Path) -> Network:
    """Save the first failed run as a file that runs again; a training alone has none."""
    failed = next((part for part in network.failures if isinstance(part, Run)), None)
    if failed is None:
        return network
    arguments = arguments_of(case, failed.whole.dtype)
    setting = pair(**arguments).setting(failed.whole.train)
    found = record(setting, failed.culprits, "parity.networks:pair", arguments)
    if found is None:
        return network
    stem = re.sub(r"[^\w]+", "-", f"{network.name} {network.culprit or 'network'}").strip("-")
    path = folder / f"parity-{stem}.npz"
    save(found, path)
    return replace(network, reproduction=str(path))
