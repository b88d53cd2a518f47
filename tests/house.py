"""The shape of the code, measured: `python -m tests.house` prints it against its aims.

Imports count wherever they stand, also inside functions: a circle imported late is a circle.
"""

from __future__ import annotations

import ast
import subprocess
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The way of a training step and of a parity verdict, as docs/architecture.md walks it: each file
#: imports the next.
TRAINING = (
    "train.py",
    "training/cli/main.py",
    "training/cli/running.py",
    "training/trainer/trainer.py",
    "training/backends/opening.py",
    "training/backends/numpy.py",
    "numpy_models/microbatches.py",
    "numpy_models/layer.py",
)

AIMS = {"lines": 21_000, "training": 5_800, "circles": 0, "way": 8, "readme": 200}


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


def steps_between(start: str, end: str) -> list[str]:
    """Return the shortest chain of imports from one file to another, both included."""
    by_path = {module.path: module for module in modules().values()}
    graph = {
        path: [modules()[name].path for name in module.imports] for path, module in by_path.items()
    }
    came_from: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue and end not in came_from:
        path = queue.popleft()
        for following in graph[path]:
            if following not in came_from:
                came_from[following] = path
                queue.append(following)
    chain: list[str] = []
    place: str | None = end
    while place is not None:
        chain.append(place)
        place = came_from[place]
    return chain[::-1]


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
        ("files from train.py to a backward", len(TRAINING), AIMS["way"]),
        ("lines of README.md", readme, AIMS["readme"]),
    ]
    for label, value, aim in rows:
        print(f"{label:<36} {value:>7,}  aim {aim:,} at most{'' if value <= aim else '  MISSED'}")
    for package, lines in packages.most_common():
        print(f"  {package:<34} {lines:>7,}")
    longest = max(found, key=lambda module: module.lines)
    print(f"longest file      {longest.path}, {longest.lines} lines")
    widest = max(found, key=lambda module: module.longest)
    print(f"longest function  {widest.path}: {widest.longest[1]}, {widest.longest[0]} lines")
    for circle in circles():
        print(f"circle            {' '.join(circle)}")


if __name__ == "__main__":
    main()
