from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from training.data import DataError, download
from training.data.download import DownloadError, Limits, RemoteFile
from training.data.mnist import MNIST, Place, load_mnist

REPOSITORY = Path(__file__).parents[2]
LIMITS = Limits(silence=0.3, total=5)
IMAGES = "train-images-idx3-ubyte.gz"


def remote(small) -> list[RemoteFile]:
    parts = small.collection.parts
    return [RemoteFile(part.name + ".gz", part.archive_bytes, part.md5) for part in parts]


def fetch(small, folder, *mirrors, limits=LIMITS):
    return download.fetch(remote(small), mirrors, folder, limits)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def hang(handler):
    handler.connection.recv(1)


def page(handler):
    body = b"<html>Please log in to this network</html>"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def trickle(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"\x1f")
        time.sleep(0.05)


def trickle_headers(handler):
    while True:
        handler.wfile.write(b"H")
        time.sleep(0.05)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def stall(data):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
        hang(handler)

    return answer


def broken_off(data):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:-1])

    return answer


def nonsense(handler):
    handler.wfile.write(b"\0\1\2 no protocol at all\r\n\r\n")


def loop(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


MISBEHAVIOUR = {
    "404": (lambda data: None, "answered 404 Not Found for train-images"),
    "html": (lambda data: page, "sent an HTML page for train-images"),
    "hangs": (lambda data: hang, "timed out|did not answer"),
    "stalls": (stall, "broke off (timed out)|fell silent"),
    "trickles": (lambda data: trickle, "took too long"),
    "trickles headers": (lambda data: trickle_headers, "did not answer"),
    "endless": (lambda data: endless, "sent other content"),
    "breaks off": (broken_off, "sent only"),
    "nonsense": (lambda data: nonsense, "cannot be reached"),
    "redirects for ever": (lambda data: loop, "answered 302"),
    "another file": (lambda data: data[::-1], "sent other content"),
    "longer": (lambda data: data + b"\0", "sent other content"),
}


@pytest.mark.parametrize(("answer", "reason"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_a_bad_mirror_is_given_up_and_the_next_is_tried(
    small, make_mirror, tmp_path, answer, reason
):
    bad = make_mirror(small.archives | {IMAGES: answer(small.archives[IMAGES])})
    good = make_mirror(small.archives)
    folder = tmp_path / "new" / "raw"
    limits = Limits(silence=0.3, total=1)
    start = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        fetch(small, folder, bad.url, limits=limits)
    assert time.monotonic() - start < 2.5
    assert any(words in str(caught.value) for words in reason.split("|")), caught.value
    assert "127.0.0.1" in str(caught.value)
    assert content(folder) == {}
    if reason != "took too long":  # which uses up the time for the second mirror too
        fetch(small, folder, bad.url, good.url)
        assert content(folder) == small.archives
        assert good.asked[0] == IMAGES


def test_a_file_that_only_one_mirror_has_is_taken_from_it(small, make_mirror, tmp_path):
    first = make_mirror({IMAGES: small.archives[IMAGES]})
    second = make_mirror(small.archives | {IMAGES: b"<html>"})
    paths = fetch(small, tmp_path, first.url, second.url)
    assert content(tmp_path) == small.archives
    assert [path.name for path in paths] == list(small.archives)
    assert IMAGES not in second.asked


def test_a_mirror_that_is_down_is_asked_once(small, make_mirror, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DownloadError) as caught:
            fetch(small, tmp_path, url, "http://mirror.invalid/")
    text = str(caught.value)
    assert text.count("127.0.0.1") == text.count("mirror.invalid") == 1
    assert "Connection refused" in text


def test_a_name_lookup_that_hangs_is_left_behind(small, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="did not answer"):
        fetch(small, tmp_path, "http://mirror.invalid/", "http://other.invalid/")
    assert time.monotonic() - start < 1.5


def test_auto_waits_less_than_ten_seconds_for_two_dead_mirrors():
    assert 2 * download.QUICK.silence < 10
    assert download.QUICK.silence < download.PATIENT.silence


def test_what_cannot_be_written_leaves_nothing(small, make_mirror, tmp_path, monkeypatch):
    mirror = make_mirror(small.archives)
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(small, tmp_path / "file" / "raw", mirror.url)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        fetch(small, tmp_path / "raw", mirror.url)
    assert content(tmp_path / "raw") == {}


def test_only_what_is_missing_is_downloaded(small, make_mirror, tmp_path):
    mirror = make_mirror(small.archives)
    raw = small.write(tmp_path / "MNIST" / "raw")
    (raw / IMAGES).unlink()
    said: list[str] = []
    load_mnist(
        Place(tmp_path),
        collection=small.with_mirrors(mirror.url),
        announce=said.append,
    )
    assert mirror.asked == [IMAGES]
    assert len(said) == 1
    assert IMAGES in said[0]


def test_a_missing_file_that_cannot_be_had_is_an_error(small, make_mirror, tmp_path):
    mirror = make_mirror({})
    raw = small.write(tmp_path / "MNIST" / "raw")
    (raw / IMAGES).unlink()
    with pytest.raises(DataError, match=f"^{IMAGES}: .*404 Not Found.*; try again later"):
        load_mnist(Place(tmp_path), collection=small.with_mirrors(mirror.url))


PROGRAM = """
import json, pathlib, sys
from training.data.download import RemoteFile, fetch
files = [RemoteFile(*fields) for fields in json.loads(sys.argv[1])]
fetch(files, [sys.argv[2]], pathlib.Path(sys.argv[3]))
"""


def start_download(small, url: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, json.dumps(remote(small)), url, str(folder)]
    return subprocess.Popen(command, cwd=REPOSITORY)


def test_processes_that_download_at_once_do_not_harm_each_other(small, make_mirror, tmp_path):
    mirror = make_mirror(small.archives)
    processes = [start_download(small, mirror.url, tmp_path / "raw") for _ in range(3)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]
    assert content(tmp_path / "raw") == small.archives


def test_what_a_killed_download_left_is_removed_when_it_is_old(small, make_mirror, tmp_path):
    old, young = tmp_path / f".{IMAGES}.123-0a.tmp", tmp_path / f".{IMAGES}.0b.tmp"
    for path in (old, young):
        path.touch()
    long_ago = time.time() - 3 * download.PATIENT.total
    os.utime(old, (long_ago, long_ago))
    fetch(small, tmp_path, make_mirror(small.archives).url)
    assert content(tmp_path) == small.archives | {young.name: b""}


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_download_leaves_nothing_that_looks_whole(
    small, make_mirror, tmp_path, which
):
    last = "t10k-labels-idx1-ubyte.gz"
    mirror = make_mirror(small.archives | {last: stall(small.archives[last])})
    root, raw = tmp_path, tmp_path / "MNIST" / "raw"
    process = start_download(small, mirror.url, raw)
    for _ in range(1000):
        if last in mirror.asked:
            break
        time.sleep(0.01)
    assert last in mirror.asked, "the download never came to its last file"
    process.send_signal(which)
    assert process.wait(timeout=10) != 0
    assert not [name for name in content(raw) if not name.startswith(".")]
    if which is signal.SIGINT:
        assert content(raw) == {}

    mirror.answers[last] = small.archives[last]
    collection = small.with_mirrors(mirror.url)
    arrays = load_mnist(Place(root), collection=collection, announce=lambda _: None)
    assert [len(array) for array in arrays] == [40, 40, 20, 20]


def test_real_archives_from_a_mirror(real_archives, make_mirror, tmp_path):
    mirror = make_mirror(real_archives)
    collection = replace(MNIST, mirrors=(mirror.url,))
    arrays = load_mnist(Place(tmp_path), collection=collection, announce=lambda _: None)
    assert [len(array) for array in arrays] == [60_000, 60_000, 10_000, 10_000]
    assert content(tmp_path / "MNIST" / "raw") == real_archives
