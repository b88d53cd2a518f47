"""A small stand-in for MNIST, a mirror on 127.0.0.1, and no way out to the internet."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from training.data.mnist import MNIST, Collection, Part

REAL_ROOT = os.environ.get("MNIST_ROOT")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """Hide the user's MNIST and cache, and let no name but this machine's be looked up."""
    lookup = socket.getaddrinfo

    def local_only(host, *arguments, **options):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "no network in this test")
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def real_root() -> Path:
    if not REAL_ROOT:
        pytest.skip("MNIST_ROOT is not set: needs the real MNIST archives")
    return Path(REAL_ROOT)


@pytest.fixture
def real_archives(real_root) -> dict[str, bytes]:
    names = [part.name + ".gz" for part in MNIST.parts]
    folder = real_root / "MNIST" / "raw"
    folder = folder if folder.is_dir() else real_root
    if not all((folder / name).is_file() for name in names):
        pytest.skip("MNIST_ROOT holds no archives: needs the four .gz files")
    return {name: (folder / name).read_bytes() for name in names}


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(name="idx_bytes")
def _idx_bytes() -> Callable[..., bytes]:
    return idx_bytes


@dataclass
class Small:
    """Four small files in MNIST's format, and the table that describes them."""

    collection: Collection
    raw: dict[str, bytes]
    archives: dict[str, bytes]

    def write(self, folder: Path, archives: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in (self.archives if archives else self.raw).items():
            (folder / name).write_bytes(data)
        return folder

    def with_mirrors(self, *mirrors: str) -> Collection:
        return replace(self.collection, mirrors=mirrors)


@pytest.fixture
def small() -> Small:
    generator = np.random.default_rng(5)
    raw, archives, parts = {}, {}, []
    for real, count in zip(MNIST.parts, (40, 40, 20, 20), strict=True):
        shape = (count, *real.shape[1:])
        top = 10 if len(shape) == 1 else 256
        data = idx_bytes(generator.integers(top, size=shape, dtype=np.uint8))
        archive = gzip.compress(data, mtime=0)
        raw[real.name], archives[real.name + ".gz"] = data, archive
        sums = hashlib.md5(archive).hexdigest(), hashlib.sha256(data).hexdigest()
        parts.append(Part(real.name, shape, len(archive), *sums))
    return Small(Collection(tuple(parts), ()), raw, archives)


@dataclass
class Mirror:
    """A server on 127.0.0.1; `answers` maps a file's name to its bytes or to a misbehaviour."""

    url: str
    answers: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]]
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def make_mirror() -> Iterator[Callable[..., Mirror]]:
    running: list[tuple[ThreadingHTTPServer, Mirror]] = []

    def make(answers) -> Mirror:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                mirror.asked.append(name)
                answer = mirror.answers.get(name)
                try:
                    if answer is None:
                        self.send_error(404)
                    elif callable(answer):
                        answer(self)
                    else:
                        self.send_response(200)
                        self.send_header("Content-Length", str(len(answer)))
                        self.end_headers()
                        self.wfile.write(answer)
                except OSError:
                    pass  # the client has left

            def log_message(self, *arguments) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        mirror = Mirror(f"http://127.0.0.1:{server.server_port}/mnist/", dict(answers))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append((server, mirror))
        return mirror

    yield make
    for server, mirror in running:
        mirror.over.set()
        server.shutdown()
        server.server_close()
