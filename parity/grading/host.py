"""The process that a submission runs in: it computes what it is asked to, and judges nothing.

It imports NumPy and no torch. Requests come through standard input and answers leave through
standard output, both moved out of the way before the submission is imported.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from pathlib import Path
from traceback import walk_tb
from typing import Any

from parity.grading import wire
from parity.protocol import first_line


class Host:
    """The objects that the judge knows of, by number, and what it may ask of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects: list[Any] = []

    def refer(self, value: Any) -> list[Any]:
        """Keep an object; return its number, its class's name and its methods' names."""
        self.objects.append(value)
        public = (name for name in dir(value) if not name.startswith("_"))
        methods = [name for name in public if callable(getattr(value, name, None))]
        return [len(self.objects) - 1, type(value).__name__, methods]

    def load(self) -> Any:
        """Import the solution; a folder's files can import each other."""
        if self.path.name == "solution.py":
            sys.path.insert(0, str(self.path.parent))
        spec = importlib.util.spec_from_file_location("solution", self.path)
        if not self.path.is_file() or spec is None or spec.loader is None:
            raise FileNotFoundError(f"there is no {self.path.name}")
        module = sys.modules["solution"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def get(self, owner: Any, name: str) -> list[Any]:
        """Return an attribute in a list, which is empty if there is none."""
        return [getattr(owner, name)] if hasattr(owner, name) else []

    def copy(self, owner: Any) -> Any:
        """Return an independent copy."""
        return copy.deepcopy(owner)

    def call(self, owner: Any, name: str, words: list[Any], held: dict[str, Any]) -> list[Any]:
        """Call a method with [arguments, options]; return its result, and all that it changed.

        `held` is what the judge has in its copies of ``parameters()`` and ``buffers()``.
        """
        for kind, values in held.items():
            own = getattr(owner, kind)()
            for place, value in values.items():
                own[place][...] = value
        value = getattr(owner, name)(*words[0], **words[1])
        return [value, list(wire.arrays(words)), {kind: getattr(owner, kind)() for kind in held}]

    def answer(self, line: bytes) -> bytes:
        """Do what a request asks for; return the line that answers it."""
        try:
            operation, *rest = wire.unpack(line, self.objects.__getitem__)
            return wire.pack({"value": getattr(self, operation)(*rest)}, self.refer)
        except BaseException as error:  # SystemExit is no way out either
            kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
            frames = [(f.f_code.co_filename, at) for f, at in walk_tb(error.__traceback__)]
            own = [place for place in frames if self.path.parent in Path(place[0]).parents]
            file, at = own[-1] if own else (self.path, 0)
            place = f" at {Path(file).name}:{at}" if at else ""
            return wire.pack({"raised": f"{kind}{place}: {first_line(error)}"}, str)


def limit(seconds: float, mebibytes: int) -> str:
    """Limit this process's memory and processor time; return why that is impossible, if it is."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
        # The judge ends a submission that takes too long; this is for when the judge was killed.
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 5, int(seconds) + 5))
    except (ImportError, AttributeError, ValueError, OSError) as error:
        return str(error)
    return ""


def main(path: str, seconds: str, mebibytes: str, *forbidden: str) -> None:
    """Serve until the judge hangs up."""
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        sys.modules.update(dict.fromkeys(forbidden))  # type: ignore[arg-type]  # fails to import
        answers.write(wire.pack({"value": limit(float(seconds), int(mebibytes))}, str))
        answers.flush()
        host = Host(Path(path))
        for line in requests:
            answers.write(host.answer(line))
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
