from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from training.data import DataError
from training.data.mnist import MNIST, MnistAbsentError, Place, find_place, load_mnist, verify_part

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


def counts(data: bytes, count: int, item: int) -> bytes:
    head = 4 + 4 * data[3]
    return data[:4] + count.to_bytes(4, "big") + data[8 : head + count * item]


ARCHIVE_DAMAGE = {
    "empty": (lambda data: b"", "it is empty"),
    "truncated": (lambda data: data[: len(data) // 2], "cut short"),
    "html": (lambda data: b"<!DOCTYPE html><title>404</title>", "HTML"),
    "first bit": (lambda data: flip(data, 0), "magic"),
    "time in the header": (lambda data: flip(data, 5), "MD5"),
    "checksum": (lambda data: flip(data, -8), "damaged"),
    "compressed again": (lambda data: gzip.compress(gzip.decompress(data), 1), "MD5"),
    "not the original": (lambda data: gzip.compress(flip(gzip.decompress(data), -1)), "SHA-256"),
    "appended": (lambda data: data + b"\0", "its MD5 sum is not the original's"),
}
RAW_DAMAGE = {
    "empty": (lambda data: b"", "it is empty"),
    "truncated": (lambda data: data[:-1], "cut short"),
    "html": (lambda data: b"<html></html>", "HTML"),
    "wrong magic number": (lambda data: flip(data, 0), "magic"),
    "a pixel's bit": (lambda data: flip(data, 500), "SHA-256"),
    "count above the content": (lambda data: data[:7] + b"\x29" + data[8:], "cut short"),
    "fewer images": (lambda data: counts(data, 39, 784), r"\(39, 28, 28\) where .* \(40, 28, 28\)"),
    "another type": (lambda data: data[:2] + b"\x09" + data[3:], "magic"),
}


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [(IMAGES + ".gz", *case) for case in ARCHIVE_DAMAGE.values()]
    + [(IMAGES, *case) for case in RAW_DAMAGE.values()]
    + [
        (LABELS, lambda data: data[:-1] + b"\x0a", "label 39 is 10, which is not a digit"),
        (LABELS, lambda data: data[:-1] + bytes([(data[-1] + 1) % 10]), "SHA-256"),
        (LABELS, lambda data: counts(data, 39, 1), r"\(39,\) where"),
    ],
    ids=[f"archive-{key}" for key in ARCHIVE_DAMAGE]
    + [f"raw-{key}" for key in RAW_DAMAGE]
    + ["label-10", "label-changed", "label-missing"],
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
    with pytest.raises(DataError, match=r"its shape is \(40,\) where MNIST's is \(40, 28, 28\)"):
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
