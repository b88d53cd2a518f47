"""The shape of the code, measured: `python -m tests.house` prints it against its aims.

Imports count wherever they stand, also inside functions: a circle imported late is a circle.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]

AIMS = {"lines": 21_000, "training": 5_800, "circles": 0, "way": 8, "verdict": 6, "readme": 200}


@dataclass(frozen=True)
class Module:
    """One file without tests.

    Attributes:
        path: below the project's root.
        name: as it is imported.
        lines: how many it has.
        imports: the project's modules that it imports.
        libraries: the top-level names of all else.
        longest: the lines of its longest function, and that function's name.
    """

    path: str
    name: str
    lines: int
    imports: frozenset[str]
    libraries: frozenset[str]
    longest: tuple[int, str]


@cache
def modules() -> dict[str, Module]:
    """Return the project's modules, tests excepted, by name."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    paths = [
        path
        for path in sorted(set(listed))
        if not path.startswith("tests/")
        and not Path(path).name.startswith(("test_", "conftest"))
        and (ROOT / path).exists()
    ]
    known = {_name(path): path for path in paths}
    return {name: _read(path, name, known.keys()) for name, path in known.items()}


def circles() -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    graph = {name: module.imports for name, module in modules().items()}
    reached = {name: _reachable(name, graph) for name in graph}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


@cache
def way_of_a_step() -> tuple[str, ...]:
    """Return the files that a NumPy training passes from train.py down to a layer's backward.

    They are read off the stack of a real run at the first call of a convolution's backward.
    """
    script = """
import sys, traceback
import numpy_models
from training.cli.main import main

def backward(self, *arguments):
    for frame in traceback.extract_stack()[:-1]:
        print(frame.filename, file=sys.stderr)
    sys.stderr.flush()
    import os
    os._exit(0)

numpy_models.Conv2d.backward_batch_last = backward
sys.argv = ["train.py", "data=digits", "backend=numpy", "backend.threads=1"]
main()
"""
    with TemporaryDirectory() as place:
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    names = [_inside(line) for line in run.stderr.splitlines()]
    return ("train.py", *dict.fromkeys(name for name in names if name), "numpy_models/conv.py")


@cache
def way_of_a_verdict() -> tuple[str, ...]:
    """Return the files that an `assert_parity` passes down to the rule that judges a tensor.

    They are read off the stack of a real run at the rule's first call.
    """
    script = """
import os, sys, traceback
from parity import assert_parity, tolerance
from parity.networks import pair

def enter(frame, event, _):
    if event == "call" and frame.f_code is tolerance.judge.__code__:
        for entry in traceback.extract_stack(frame):
            print(entry.filename)
        sys.stdout.flush()
        os._exit(0)

sides = pair("lenet5_bn")
sys.setprofile(enter)
assert_parity(sides.torch_module, sides.numpy_network, sides.inputs)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [_inside(line) for line in run.stdout.splitlines()]
    return tuple(dict.fromkeys(name for name in names if name))


def _inside(path: str) -> str | None:
    """Return a file's path below the project's root, None for one outside."""
    place = Path(path)
    return str(place.relative_to(ROOT)) if place.is_file() and ROOT in place.parents else None


def _read(path: str, name: str, known: Iterator[str] | object) -> Module:
    source = (ROOT / path).read_text(encoding="utf-8")
    tree = ast.parse(source)
    found = {imported for node in ast.walk(tree) for imported in _imported(node, name, path, known)}
    functions = [
        (node.end_lineno - node.lineno + 1, node.name)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
    ]
    return Module(
        path,
        name,
        source.count("\n"),
        frozenset(found & set(known)) - {name},  # type: ignore[call-overload]
        frozenset(word.partition(".")[0] for word in found - set(known)),  # type: ignore[call-overload]
        max(functions, default=(0, "")),
    )


def _imported(node: ast.AST, name: str, path: str, known: object) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{path} imports relatively"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in known else str(node.module)  # type: ignore[operator]


def _reachable(start: str, graph: dict[str, frozenset[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph[name]
    return seen


def _name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def main() -> None:
    """Print the table."""
    found = modules().values()
    packages = Counter[str]()
    for module in found:
        packages[module.path.split("/")[0]] += module.lines
    readme = (ROOT / "README.md").read_text(encoding="utf-8").count("\n")
    rows = [
        ("lines without tests", sum(packages.values()), AIMS["lines"]),
        ("lines of training/", packages["training"], AIMS["training"]),
        ("circles", len(circles()), AIMS["circles"]),
        ("files from train.py to a backward", len(way_of_a_step()), AIMS["way"]),
        ("files from assert_parity to a verdict", len(way_of_a_verdict()), AIMS["verdict"]),
        ("lines of README.md", readme, AIMS["readme"]),
    ]
    for label, value, aim in rows:
        print(f"{label:<38} {value:>7,}  aim {aim:,} at most{'' if value <= aim else '  MISSED'}")
    for package, lines in packages.most_common():
        print(f"  {package:<34} {lines:>7,}")
    longest = max(found, key=lambda module: module.lines)
    print(f"longest file      {longest.path}, {longest.lines} lines")
    widest = max(found, key=lambda module: module.longest)
    print(f"longest function  {widest.path}: {widest.longest[1]}, {widest.longest[0]} lines")
    print(f"to a backward     {' '.join(way_of_a_step())}")
    print(f"to a verdict      {' '.join(way_of_a_verdict())}")
    for circle in circles():
        print(f"circle            {' '.join(circle)}")


if __name__ == "__main__":
    main()
