from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from training.data import DataError, Dataset, download, load_dataset

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.fixture
def said() -> list[str]:
    return []


def assert_contract(dataset: Dataset, size: int) -> None:
    for name, dtype in zip(ARRAYS, (np.uint8, np.int64, np.uint8, np.int64), strict=True):
        array = getattr(dataset, name)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        assert images.shape == (len(labels), size, size)
        assert set(labels.tolist()) <= set(range(10))
    with pytest.raises(FrozenInstanceError):
        dataset.name = "other"


@pytest.mark.parametrize("size", [28, 32])
def test_digits(said, size):
    dataset = load_dataset("digits", image_size=size, announce=said.append)
    assert_contract(dataset, size)
    assert dataset.name == "digits"
    assert "not accuracies on MNIST" in dataset.note
    assert len(said) == 1
    assert said[0].startswith("data: digits, 1,437 training and 360 test images")


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_mnist_where_it_is(small, tmp_path, said, choice, size):
    small.write(tmp_path)
    dataset = load_dataset(
        choice, tmp_path, image_size=size, announce=said.append, collection=small.collection
    )
    assert_contract(dataset, size)
    assert dataset.name == "mnist"
    assert dataset.note == ""
    assert said == [
        f"data: mnist, 40 training and 20 test images from the MNIST files in {tmp_path}"
    ]


def test_mnist_root_overrides_the_setting_and_is_never_written(
    small, tmp_path, said, monkeypatch, make_mirror
):
    mirror = make_mirror(small.archives)
    collection = small.with_mirrors(mirror.url)
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path / "named"))
    with pytest.raises(DataError, match="MNIST_ROOT is never downloaded to"):
        load_dataset("mnist", small.write(tmp_path / "other"), collection=collection)
    assert load_dataset("auto", announce=said.append, collection=collection).name == "digits"
    assert "MNIST_ROOT is never downloaded to: digits take its place" in said[0]
    assert not mirror.asked
    assert not list((tmp_path / "named").iterdir())
    small.write(tmp_path / "named")
    dataset = load_dataset("auto", announce=said.append, collection=collection)
    assert (dataset.name, str(tmp_path / "named") in dataset.source) == ("mnist", True)


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_mnist_is_downloaded_when_absent(small, tmp_path, said, make_mirror, choice):
    collection = small.with_mirrors(make_mirror(small.archives).url)
    for _ in range(2):
        dataset = load_dataset(choice, tmp_path, announce=said.append, collection=collection)
        assert dataset.name == "mnist"
    assert [line.split(",")[0][:30] for line in said] == [
        "data: MNIST is not in " + str(tmp_path)[:8],
        "data: mnist",
        "data: mnist",
    ]


def test_without_network_auto_takes_digits_and_says_so(small, tmp_path, said):
    root = tmp_path / "absent"
    collection = small.with_mirrors("http://one.invalid/", "http://two.invalid/")
    start = time.monotonic()
    dataset = load_dataset("auto", root, announce=said.append, collection=collection)
    assert time.monotonic() - start < 5
    assert dataset.name == "digits"
    assert [line.startswith("data: digits") for line in said] == [False, False, True]
    for words in (str(root), "one.invalid", "two.invalid", "no network in this test"):
        assert words in said[1]
        assert words in dataset.note
    assert not root.exists()
    with pytest.raises(DataError, match=r"^MNIST: .*no network.*or choose data=digits\.$"):
        load_dataset("mnist", root, announce=said.append, collection=collection)


def test_auto_gives_up_mirrors_that_hang(small, tmp_path, said, make_mirror, monkeypatch):
    monkeypatch.setattr(download, "QUICK", download.Limits(silence=0.2, total=1))
    hang = {name: lambda handler: handler.connection.recv(1) for name in small.archives}
    collection = small.with_mirrors(make_mirror(hang).url, make_mirror(hang).url)
    dataset = load_dataset("auto", tmp_path, announce=said.append, collection=collection)
    assert dataset.name == "digits"


def test_download_can_be_switched_off(small, tmp_path, said, make_mirror):
    mirror = make_mirror(small.archives)
    options = {"announce": said.append, "collection": small.with_mirrors(mirror.url)}
    assert load_dataset("auto", tmp_path, download=False, **options).name == "digits"
    assert len(said) == 2
    assert "downloading is switched off" in said[0]
    with pytest.raises(DataError, match="downloading is switched off"):
        load_dataset("mnist", tmp_path, download=False, **options)
    assert not mirror.asked


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_a_file_is_no_folder_of_files(small, tmp_path, choice):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="it is a file; give the folder"):
        load_dataset(choice, tmp_path / "file", collection=small.collection)


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_damaged_or_incomplete_mnist_is_an_error_and_no_reason_for_digits(small, tmp_path, choice):
    small.write(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=path.name):
        load_dataset(choice, tmp_path, collection=small.collection)
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        load_dataset(choice, tmp_path, download=False, collection=small.collection)


def test_the_caller_keeps_its_own_arrays():
    images, labels = np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64)
    Dataset("digits", images, labels, images, labels, "a test")
    images[0] = 1
    labels[0] = 1


def test_data_need_no_torch():
    program = (
        "import sys, training.data as data\n"
        "assert 'sklearn' not in sys.modules and 'urllib.request' not in sys.modules\n"
        "data.load_dataset('digits', image_size=32)\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)


def test_real_mnist(real_root, monkeypatch, said):
    monkeypatch.setenv("MNIST_ROOT", str(real_root))
    dataset = load_dataset("auto", announce=said.append)
    assert_contract(dataset, 28)
    assert said == [
        f"data: mnist, 60,000 training and 10,000 test images from the MNIST files in {real_root}"
    ]
