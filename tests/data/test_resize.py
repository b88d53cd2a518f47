from __future__ import annotations

import numpy as np
import pytest

from training.data import load_dataset, resize_bilinear

SIZES = [(28, 32), (8, 20), (28, 28), (28, 13), (28, 7), (5, 4), (1, 3), (9, 64), (31, 1)]


def extreme_images(size: int, count: int = 60) -> np.ndarray:
    shape = (size, size)
    generator = np.random.default_rng(0)
    noise = generator.integers(256, size=(count, *shape), dtype=np.uint8)
    black_and_white = np.where(noise > 127, 255, 0).astype(np.uint8)
    return np.concatenate([noise, black_and_white, np.full((1, *shape), 255, np.uint8)])


def resize_with_pillow(images, size):
    torchvision = pytest.importorskip("torchvision")
    image_module = pytest.importorskip("PIL.Image")
    resize = torchvision.transforms.Resize((size, size))
    return np.stack([np.asarray(resize(image_module.fromarray(image))) for image in images])


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_equals_torchvision_on_pil_images_bit_for_bit(old, new):
    images = extreme_images(old)
    before = images.copy()
    result = resize_bilinear(images, new)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, resize_with_pillow(images, new))
    np.testing.assert_array_equal(images, before)


def test_real_digits_equal_torchvision_on_pil_images_bit_for_bit(real_root, monkeypatch):
    monkeypatch.setenv("MNIST_ROOT", str(real_root))
    plain = load_dataset("mnist", announce=lambda _: None).test_images[:1000]
    resized = load_dataset("mnist", image_size=32, announce=lambda _: None).test_images[:1000]
    np.testing.assert_array_equal(resized, resize_with_pillow(plain, 32))


def test_torchvision_on_uint8_tensors_differs_by_one_level_at_most():
    """Torchvision's tensor path rounds once, after both passes; Pillow rounds after each."""
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    images = extreme_images(28)
    tensor = torchvision.transforms.Resize((32, 32))(torch.from_numpy(images)[:, None])
    difference = np.abs(resize_bilinear(images, 32).astype(int) - tensor[:, 0].numpy())
    assert difference.max() <= 1


@pytest.mark.parametrize(("old", "new"), [(28, 32), (28, 10), (8, 20), (5, 5), (3, 64)])
def test_a_uniform_image_keeps_its_level(old, new):
    for level in (0, 1, 254, 255):
        image = np.full((old, old), level, np.uint8)
        assert (resize_bilinear(image, new) == level).all()


def test_many_images_and_extra_axes():
    images = extreme_images(4, 1500).reshape(-1, 1, 4, 4)
    result = resize_bilinear(images, 6)
    assert result.shape == (len(images), 1, 6, 6)
    one_by_one = [resize_bilinear(image, 6) for image in images[2040:2060]]
    np.testing.assert_array_equal(result[2040:2060], np.stack(one_by_one))
    assert resize_bilinear(images[:0], 6).shape == (0, 1, 6, 6)
