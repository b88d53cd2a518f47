from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from training.data import DataError
from training.data.mnist import (
    MAX_BYTES,
    MNIST,
    MnistAbsentError,
    Place,
    find_place,
    load_mnist,
    verify_part,
)

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def load(small, root, **options):
    place = Place(root, options.pop("barred", "never"))
    return load_mnist(place, collection=small.collection, announce=lambda _: None, **options)


@pytest.mark.parametrize("archives", [True, False], ids=["archives", "raw"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_archives_and_raw_files_in_both_layouts(small, tmp_path, idx_bytes, archives, folder):
    small.write(tmp_path / folder, archives)
    arrays = load(small, tmp_path)
    assert [idx_bytes(array) for array in arrays] == list(small.raw.values())
    assert not any(array.flags.writeable for array in arrays)


def test_archives_and_raw_files_may_be_mixed_and_archives_come_first(small, tmp_path):
    small.write(tmp_path, archives=False)
    (tmp_path / (IMAGES + ".gz")).write_bytes(small.archives[IMAGES + ".gz"])
    (tmp_path / IMAGES).write_bytes(b"never looked at")
    assert load(small, tmp_path)[0].shape == (40, 28, 28)


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def zipped(archive: bytes, more: bytes, end: int | None = None) -> bytes:
    return gzip.compress(gzip.decompress(archive)[:end] + more, mtime=0)


ARCHIVE_DAMAGE = {
    "empty": (lambda data: b"", "it holds 0 bytes, and MNIST's 31,376"),
    "truncated": (lambda data: data[: len(data) // 2], "cut short"),
    "without its sum": (lambda data: data[:-8], "cut short"),
    "one byte more": (lambda data: zipped(data, b"\0"), "more than 31,376 bytes, and MNIST's"),
    "one byte less": (lambda data: zipped(data, b"", -1), "holds 31,375 bytes, and MNIST's"),
    "html": (lambda data: b"<!DOCTYPE html><title>404</title>", "HTML"),
    "first bit": (lambda data: flip(data, 0), "and MNIST's"),
    "after the end": (lambda data: data + b"x", "damaged"),
    "time in the header": (lambda data: flip(data, 5), "MD5"),
    "checksum": (lambda data: flip(data, -8), "damaged"),
    "compressed again": (lambda data: gzip.compress(gzip.decompress(data), 1), "MD5"),
    "not the original": (lambda data: gzip.compress(flip(gzip.decompress(data), -1)), "SHA-256"),
    "appended": (lambda data: data + b"\0", "its MD5 sum is not the original's"),
}
RAW_DAMAGE = {
    "empty": (lambda data: b"", "it holds 0 bytes, and MNIST's 31,376"),
    "truncated": (lambda data: data[:-1], "it holds 31,375 bytes, and MNIST's 31,376"),
    "html": (lambda data: b"\r\n <html></html>", "HTML"),
    "wrong magic number": (lambda data: flip(data, 0), "SHA-256"),
    "a pixel's bit": (lambda data: flip(data, 500), "SHA-256"),
    "count above the content": (lambda data: data[:7] + b"\x29" + data[8:], "SHA-256"),
}


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [(IMAGES + ".gz", *case) for case in ARCHIVE_DAMAGE.values()]
    + [(IMAGES, *case) for case in RAW_DAMAGE.values()]
    + [
        (LABELS, lambda data: data[:-1] + bytes([(data[-1] + 1) % 10]), "SHA-256"),
        (LABELS, lambda data: data[:-1], "it holds 47 bytes, and MNIST's 48"),
    ],
    ids=[f"archive-{key}" for key in ARCHIVE_DAMAGE]
    + [f"raw-{key}" for key in RAW_DAMAGE]
    + ["label-changed", "label-missing"],
)
def test_every_damage_is_refused_with_file_reason_and_remedy(small, tmp_path, name, damage, reason):
    small.write(tmp_path, archives=name.endswith(".gz"))
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=reason) as caught:
        load(small, tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("put the original file in its place, or choose data=digits.")
    assert not isinstance(caught.value, MnistAbsentError)
    with pytest.raises(DataError, match="delete it, and the next run downloads it again"):
        load(small, tmp_path, barred="")


def test_files_that_changed_places_are_refused(small, tmp_path):
    small.write(tmp_path)
    (tmp_path / (IMAGES + ".gz")).write_bytes(small.archives[LABELS + ".gz"])
    with pytest.raises(DataError, match="it holds 48 bytes, and MNIST's 31,376"):
        load(small, tmp_path)


def test_a_folder_or_dangling_link_in_a_files_place_is_no_absence(small, tmp_path):
    small.write(tmp_path)
    path = tmp_path / (IMAGES + ".gz")
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(DataError, match=r"images-idx3-ubyte.gz: it cannot be read \(No such file"):
        load(small, tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="not a regular file"):
        load(small, tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DataError, match="not a regular file"):
        load(small, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(small, tmp_path):
    small.write(tmp_path)
    (tmp_path / (IMAGES + ".gz")).chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        load(small, tmp_path)


def test_the_name_does_not_decide_what_the_content_is(small, tmp_path):
    small.write(tmp_path, archives=False)
    (tmp_path / IMAGES).write_bytes(small.archives[IMAGES + ".gz"])
    assert load(small, tmp_path)[0].shape == (40, 28, 28)


def test_bombs_take_no_memory(small, tmp_path):
    path, part = tmp_path / IMAGES, small.collection.parts[0]

    def peak_bytes() -> int:
        tracemalloc.start()
        try:
            with pytest.raises(DataError):
                verify_part(part, path, "replace it")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    path.write_bytes(gzip.compress(small.raw[IMAGES] + bytes(2**24)))
    assert peak_bytes() < 2**20
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert peak_bytes() < 2**20


def test_any_bytes_give_the_array_or_the_error(small, tmp_path):
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is a development dependency")
    given = hypothesis.strategies
    path, part = tmp_path / LABELS, small.collection.parts[1]
    files = given.binary(max_size=80)
    damaged = given.builds(
        lambda data, at, bits: (
            data[: at % len(data)]
            + bytes([data[at % len(data)] ^ bits])
            + data[at % len(data) + 1 :]
        ),
        given.sampled_from([small.raw[LABELS], small.archives[LABELS + ".gz"]]),
        given.integers(0, 1000),
        given.integers(1, 255),
    )

    @hypothesis.settings(max_examples=300, deadline=None, database=None)
    @hypothesis.given(files | given.builds(gzip.compress, files) | damaged)
    def check(data):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"^[^\n]+; replace it\.$"):
            verify_part(part, path, "replace it")

    check()


@pytest.mark.parametrize("missing", [IMAGES, "t10k-labels-idx1-ubyte"])
def test_one_of_four_missing_is_named(small, tmp_path, missing, monkeypatch):
    small.write(tmp_path)
    (tmp_path / (missing + ".gz")).unlink()
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    with pytest.raises(DataError, match=f"^{missing}.gz: .*MNIST_ROOT is never") as caught:
        load_mnist(find_place(None), collection=small.collection)
    assert not isinstance(caught.value, MnistAbsentError)
    monkeypatch.delenv("MNIST_ROOT")
    with pytest.raises(DataError, match="downloading is switched off"):
        load_mnist(find_place(tmp_path, download=False), collection=small.collection)


@pytest.mark.parametrize("root", ["empty", "absent", "file", "x" * 300])
def test_absent(small, tmp_path, root):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as caught:
        load(small, tmp_path / root)
    assert isinstance(caught.value, MnistAbsentError) == (root in ("empty", "absent"))


def test_where_it_is_looked_for(monkeypatch, tmp_path):
    cache = Path("lenet-twins")
    assert find_place(None) == Place(tmp_path / "cache" / cache)
    assert find_place("") == find_place(None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert find_place(None).root == tmp_path / "home" / ".cache" / cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert find_place(None).root == tmp_path / "home" / ".cache" / cache
    assert find_place("~/data") == Place(tmp_path / "home" / "data")
    monkeypatch.setenv("MNIST_ROOT", "~/mnist")
    assert find_place("~/data").root == tmp_path / "home" / "mnist"
    assert find_place("~/data").barred
    monkeypatch.setenv("MNIST_ROOT", "~no-such-user-here/mnist")
    with pytest.raises(DataError, match="give a full path"):
        find_place(None)


def test_real_archives_and_their_raw_files_hold_the_same(real_archives, tmp_path):
    for folder, unpack in (("archives", bytes), ("raw", gzip.decompress)):
        (tmp_path / folder).mkdir()
        for name, data in real_archives.items():
            target = name if folder == "archives" else name.removesuffix(".gz")
            (tmp_path / folder / target).write_bytes(unpack(data))
    both = [load_mnist(Place(tmp_path / folder, "never")) for folder in ("archives", "raw")]
    for archived, raw in zip(*both, strict=True):
        np.testing.assert_array_equal(archived, raw)
    train_images, train_labels, test_images, test_labels = both[0]
    assert train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert len(train_images) == 60_000
    assert round(train_images.mean() / 255, 4) == 0.1307  # the constant of "standard" scaling
    assert round(float(np.std(train_images / np.float32(255), dtype=np.float64)), 4) == 0.3081
    assert test_images.shape == (10_000, 28, 28)


def test_no_flipped_bit_in_a_real_archive_goes_unnoticed(real_archives, tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    for other, data in real_archives.items():
        (tmp_path / other).write_bytes(data)
    part = next(part for part in MNIST.parts if part.name + ".gz" == name)
    generator = np.random.default_rng(0)
    for at in [*range(20), *generator.integers(len(real_archives[name]), size=100)]:
        (tmp_path / name).write_bytes(flip(real_archives[name], int(at)))
        with pytest.raises(DataError):
            verify_part(part, tmp_path / name, "replace it")
