"""A damaged or hostile reproduction is refused in a sentence, without memory being taken for it."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from parity.__main__ import main
from parity.protocol import ParityError
from parity.reproduction import load
from tests.support import ROOT

BOUND = 3 * 2**30


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A reproduction's bytes."""
    path = tmp_path_factory.mktemp("whole") / "whole.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        assert main(["check", "factories:wrong", "--save", str(path)]) == 1
    return path.read_bytes()


def test_every_flipped_bit_and_every_length(whole, tmp_path) -> None:
    chosen = random.Random(0)
    path, read = tmp_path / "file.npz", 0
    for number in range(400):
        data = bytearray(whole)
        if number % 4:
            data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        else:
            del data[chosen.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            load(path)
            read += 1
        except ParityError as error:
            told = str(error)
            assert told.startswith(f"{path} "), told
            assert told.isprintable(), told
    assert read < 200  # what nobody reads may be flipped: times, names of torch's own values


def forged(whole: bytes, **changes: bytes) -> bytes:
    """The same file with members replaced by other bytes."""
    content = BytesIO()
    with zipfile.ZipFile(BytesIO(whole)) as source, zipfile.ZipFile(content, "w") as target:
        for name in source.namelist():
            target.writestr(name, changes.get(name.removesuffix(".npy"), source.read(name)))
    return content.getvalue()


def npy(array: np.ndarray) -> bytes:
    content = BytesIO()
    np.save(content, array)
    return content.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def facts_with(whole: bytes, **changes: object) -> bytes:
    with zipfile.ZipFile(BytesIO(whole)) as archive:
        facts = json.loads(str(np.load(BytesIO(archive.read("facts.npy")))))
    return forged(whole, facts=npy(np.array(json.dumps({**facts, **changes}))))


HOSTILE = {
    "a shape of 10^15": lambda whole: forged(whole, **{"inputs": header("(1000000000000000,)")}),
    "a shape of 10^25": lambda whole: forged(whole, **{"inputs": header(f"({10**25},)")}),
    "a shape of truth": lambda whole: forged(whole, **{"inputs": header("(True,)")}),
    "a negative shape": lambda whole: forged(whole, **{"weights/bias": header("(-1, 3)")}),
    "nested shapes": lambda whole: forged(whole, **{"inputs": header("(" * 4000)}),
    "objects": lambda whole: forged(whole, **{"weights/bias": header("(1,)", "|O") + b"x" * 8}),
    "text for weights": lambda whole: forged(whole, **{"weights/bias": npy(np.array("text"))}),
    "deep JSON": lambda whole: forged(whole, facts=npy(np.array('{"format":' + "[" * 100_000))),
    "JSON that is no object": lambda whole: forged(whole, facts=npy(np.array("[1]"))),
    "facts that are numbers": lambda whole: forged(whole, facts=npy(np.zeros(3))),
    "a seed of text": lambda whole: facts_with(whole, seed="1"),
    "a negative seed": lambda whole: facts_with(whole, seed=-1),
    "a mode that is no mode": lambda whole: facts_with(whole, train=None),
    "a factory of numbers": lambda whole: facts_with(whole, factory=3),
    "a factory for the terminal": lambda whole: facts_with(whole, factory="a:\x1b[2J"),
    "arguments in a list": lambda whole: facts_with(whole, arguments=[1]),
    "versions of numbers": lambda whole: facts_with(whole, versions={"torch": 2}),
    "another format": lambda whole: facts_with(whole, format=[9]),
    "inputs of another kind": lambda whole: forged(whole, inputs=npy(np.zeros((6, 4), np.int64))),
    "inputs of another width": lambda whole: forged(
        whole, inputs=npy(np.zeros((6, 9), np.float32))
    ),
    "no inputs": lambda whole: forged(whole, inputs=npy(np.zeros((0, 4), np.float32))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, whole, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    path = tmp_path / "file.npz"
    path.write_bytes(HOSTILE[name](whole))
    assert main(["replay", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("parity: ")
    assert error.count("\n") == 1, error
    assert "\x1b" not in error


def test_no_memory_is_taken(tmp_path) -> None:
    bomb, pipe, sparse = (tmp_path / name for name in ("bomb", "pipe", "sparse"))
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(9):
            archive.writestr(f"weights/{number}.npy", bytes(2**27))
    os.mkfifo(pipe)
    with sparse.open("wb") as file:
        file.truncate(2**34)
    paths = [bomb, Path("/dev/zero"), pipe, sparse]
    # One process for all: importing torch takes longer than to refuse a file.
    script = "import sys; from parity.__main__ import main; "
    script += "print([main(['replay', path]) for path in sys.argv[1:]])"
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (BOUND, BOUND)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == "[2, 2, 2, 2]\n", result.stderr
    for path, line in zip(paths, result.stderr.splitlines(), strict=True):
        assert line.startswith(f"parity: {path} is not a reproduction")
