"""How many single changes of the sources the tests notice, by mutmut (`pip install mutmut`)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.mutation import report
from tests.mutation.packages import PACKAGES, Package

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutation"
#: Lines of what is only said or drawn: a message, with its figures, and what a program prints.
WORDS = r"raise \w", r"\bprint\(", r"\.say\(", r"\bconsole\.", r"\bbar\("


def copy_project(folder: Path) -> None:
    """Renew a copy of what git knows, with the mutants that were made from unchanged sources."""
    for old in folder.iterdir() if folder.exists() else ():
        if old.is_dir() and old.name != "mutants":
            shutil.rmtree(old)
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.splitlines()):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def configure(folder: Path, package: Package) -> None:
    """Write mutmut's settings, which it looks for in pyproject.toml."""
    sources = sorted({path.split("/")[0] for path in package.mutated})
    others = sorted({p.name for p in folder.iterdir()} - {*sources, "mutants", "pyproject.toml"})
    settings = {
        "source_paths": sources,
        "only_mutate": list(package.mutated),
        "do_not_mutate": list(package.spared),
        "do_not_mutate_patterns": list(WORDS),
        "also_copy": others,
        "pytest_add_cli_args_test_selection": list(package.tests),
        "pytest_add_cli_args": [
            *("-p", "tests.mutation.plugin", f"--parameter-sets={package.sets}"),
            *(f"--every-set={test}" for test in package.quick),
            *("-p", "no:cacheprovider"),
        ],
        "process_isolation": "forkserver",  # torch's threads do not survive a fork
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[tool.mutmut]\n{lines}")


def run(
    folder: Path,
    package: Package,
    sample: int,
    seed: int,
    only: Sequence[str] = (),
    tests: Sequence[str] = (),
) -> None:
    """Run a sample of the mutants, or some, in a working folder; leaves `result.json` there."""
    chosen = {"sample": sample, "seed": seed, "only": only, "tests": tests}
    chosen |= {"apart": dict(package.apart), "elsewhere": package.elsewhere}
    command = [sys.executable, "-m", "tests.mutation.mutants", json.dumps(chosen)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **one_thread})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--sample", type=int, default=60, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", nargs="+", default=[], help="these mutants, not a sample")
    parser.add_argument("--tests", nargs="+", default=[], help="what these meet, not the usual")
    options = parser.parse_args()
    if find_spec("mutmut") is None:
        parser.error("mutmut is missing; python -m pip install -e '.[mutation]' brings it")
    for name in options.packages or PACKAGES:
        if name not in PACKAGES:
            parser.error(f"{name!r} is none of {', '.join(PACKAGES)}")
        copy_project(WORK / name)
        configure(WORK / name, PACKAGES[name])
        how = options.sample, options.seed, options.only, options.tests
        run(WORK / name, PACKAGES[name], *how)
    report.write({name: WORK / name for name in PACKAGES})


if __name__ == "__main__":
    main()
