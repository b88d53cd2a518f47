from __future__ import annotations

import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest

from training.data import idx
from training.data.idx import IdxError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def read_idx(path) -> np.ndarray:
    return idx.parse(idx.decode(idx.read_bytes(path)))


@pytest.fixture
def read(tmp_path):
    def read(data: bytes):
        path = tmp_path / "file"
        path.write_bytes(data)
        return read_idx(path)

    return read


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)])
def test_arrays_of_bytes(read, idx_bytes, shape, compress):
    expected = PIXELS.reshape(shape)
    array = read(compress(idx_bytes(expected)))
    assert not array.flags.writeable
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, expected, strict=True)


def test_the_name_does_not_decide_what_the_content_is(tmp_path, idx_bytes):
    (tmp_path / "plain.gz").write_bytes(idx_bytes(PIXELS))
    (tmp_path / "compressed").write_bytes(gzip.compress(idx_bytes(PIXELS)))
    for name in ("plain.gz", "compressed"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), PIXELS)


GOOD = struct.pack(">HBBIII", 0, 8, 3, 2, 3, 4) + PIXELS.tobytes()
ZIPPED = gzip.compress(GOOD, mtime=0)


DAMAGE = {
    "empty": (b"", "it is empty"),
    "html": (b"<!DOCTYPE html><html>404</html>", "HTML"),
    "html after blanks": (b"\r\n <html>", "HTML"),
    "text": (b"not found", "starts with 6e 6f 74 20, no IDX magic"),
    "first byte": (b"\1" + GOOD[1:], "magic"),
    "another type": (b"\0\0\x0d" + GOOD[3:], "magic"),
    "no dimension": (b"\0\0\x08\0" + GOOD[4:], "0 dimensions"),
    "255 dimensions": (b"\0\0\x08\xff" + GOOD[4:], "255 dimensions"),
    "within the header": (GOOD[:9], "ends within its header"),
    "a size of zero": (struct.pack(">HBBII", 0, 8, 2, 0, 2**32 - 1), "holds nothing"),
    "one byte short": (GOOD[:-1], "39 bytes where its header promises 40 (cut short)"),
    "one byte too many": (GOOD + b"\0", "41 bytes where its header promises 40"),
    "terabytes": (struct.pack(">HBBII", 0, 8, 2, 2**20, 2**20), "over the limit"),
    "more than 64 bits": (b"\0\0\x08\x08" + b"\xff" * 32, "over the limit"),
    "gzip cut short": (ZIPPED[:-9], "cut short"),
    "gzip without its sum": (ZIPPED[:-8], "cut short"),
    "gzip header only": (ZIPPED[:10], "cut short"),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
    "gzip checksum": (ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:], "damaged"),
    "gzip body": (ZIPPED[:15] + bytes([ZIPPED[15] ^ 0xFF]) + ZIPPED[16:], "damaged|cut|magic"),
    "after gzip": (ZIPPED + b"x", "damaged"),
    "gzip too short": (gzip.compress(GOOD[:-1]), "39 bytes where its header promises 40"),
    "gzip too long": (gzip.compress(GOOD + b"\0"), "more than the 40 bytes"),
    "gzip of html": (gzip.compress(b"<html>"), "HTML"),
}


@pytest.mark.parametrize(("data", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(read, data, reason):
    with pytest.raises(IdxError) as caught:
        read(data)
    message = str(caught.value)
    assert any(part in message for part in reason.split("|")), message
    assert "\n" not in message


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in (
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / "absent", "No such file"),
        ("nul\0byte", "cannot be a path"),
    ):
        with pytest.raises(IdxError, match=reason):
            read_idx(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(GOOD)
    path.chmod(0)
    with pytest.raises(IdxError, match="Permission denied"):
        read_idx(path)


def peak_bytes(read, data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(IdxError):
            read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bombs_take_no_memory(read):
    terabyte = struct.pack(">HBBII", 0, 8, 2, 2**20, 2**20)
    modest = struct.pack(">HBBI", 0, 8, 1, 1000)
    bombs = [terabyte, gzip.compress(terabyte + bytes(2**22)), gzip.compress(modest + bytes(2**24))]
    for bomb in bombs:
        assert peak_bytes(read, bomb) < 2**20


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(idx.MAX_BYTES + 1)
    assert peak_bytes(lambda _: read_idx(path), b"") < 2**20


def test_any_bytes_give_an_array_or_the_error(read):
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is a development dependency")
    given = hypothesis.strategies
    sizes = given.lists(given.integers(0, 2**32 - 1) | given.integers(0, 4), max_size=10)
    headers = given.builds(
        lambda code, sizes: struct.pack(f">HBB{len(sizes)}I", 0, code, len(sizes), *sizes),
        given.sampled_from([8, 9, 11, 12, 13, 14, 0]),
        sizes,
    )
    files = given.binary(max_size=80) | given.builds(bytes.__add__, headers, given.binary())
    damaged = given.builds(
        lambda data, at, bits: (
            data[: at % len(data)]
            + bytes([data[at % len(data)] ^ bits])
            + data[at % len(data) + 1 :]
        ),
        given.sampled_from([GOOD, ZIPPED]),
        given.integers(0, 1000),
        given.integers(1, 255),
    )

    @hypothesis.settings(max_examples=300, deadline=None, database=None)
    @hypothesis.given(files | given.builds(gzip.compress, files) | damaged)
    def check(data):
        try:
            array = read(data)
        except IdxError:
            return
        assert array.size > 0
        assert array.nbytes <= idx.MAX_BYTES

    check()
