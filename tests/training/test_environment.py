"""The process around a run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.support import ROOT

FAULTS = """
import resource
from training.environment import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * (40 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
print(keep_freed_memory())
faults()
print(plain, faults())
"""


def run(**environment: str) -> tuple[bool, int, int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS]
    options = {"cwd": ROOT, "env": clean | environment, "check": True}
    done = subprocess.run(command, **options, capture_output=True, text=True, timeout=60)
    kept, plain, after = done.stdout.split()
    return kept == "True", int(plain), int(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept():
    kept, plain, after = run()
    assert kept
    assert plain > 1000
    assert after < plain / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_the_user_has_set_stands():
    kept, plain, after = run(MALLOC_MMAP_THRESHOLD_="131072")
    assert not kept
    assert after > plain / 2
