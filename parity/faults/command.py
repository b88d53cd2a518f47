"""``python -m parity faults``: the kill matrix."""

from __future__ import annotations

from time import perf_counter

import torch

from parity.faults.matrix import CHECKS, Kill, faults, kill
from parity.faults.recall import Recall
from parity.protocol import ParityError


def command(only: str) -> int:
    """Plant the faults, print the kill matrix and return the exit status."""
    chosen = [fault for fault in faults() if only.casefold() in fault.name.casefold()]
    if not chosen:
        raise ParityError(f"no planted fault has {only!r} in its name")
    torch.set_num_threads(1)
    start, width = perf_counter(), max(len(fault.name) for fault in chosen)
    kills, area, recall = list[Kill](), "", Recall()
    print(f"  {'':{width}}  " + " ".join(f"{heading:>5}" for heading in CHECKS) + "  named")
    for fault in chosen:
        if fault.area != area:
            area = fault.area
            print(area.upper())
        each = kill(fault, recall)
        kills.append(each)
        marks = " ".join(f"{'x' if name in each.checks else '.':>5}" for name in CHECKS.values())
        named = ", ".join(each.named) or "nothing"
        fate = "  SURVIVED" if each.survived else ""
        print(f"  {fault.name:{width}}  {marks}  {named}{fate}", flush=True)
    survivors = [each for each in kills if each.survived]
    seconds = perf_counter() - start
    print(
        f"{len(kills)} faults planted, {len(kills) - len(survivors)} killed and attributed to the "
        f"right culprit, {len(survivors)} survivors, {seconds:.0f} s"
    )
    for each in survivors:
        print(f"SURVIVOR {each.fault.name}: {each.message or 'every check passed'}")
    return 1 if survivors else 0
