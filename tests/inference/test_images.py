from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import images
from training.errors import ConfigError


def saved(path: Path, pixels: np.ndarray, **options) -> str:
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def test_grey_levels_are_shares(tmp_path: Path) -> None:
    pixels = np.array([[0, 51], [204, 255]], np.uint8)
    result = images.read(saved(tmp_path / "grey.png", pixels))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, pixels / 255, atol=1e-6)


def test_16_bits_keep_their_levels(tmp_path: Path) -> None:
    pixels = np.array([[0, 13107], [52428, 65535]], np.uint16)
    result = images.read(saved(tmp_path / "deep.png", pixels))
    np.testing.assert_allclose(result, pixels / 65535, atol=1 / 255)


def test_what_is_transparent_is_paper(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255
    result = images.read(saved(tmp_path / "clear.png", pixels))
    np.testing.assert_array_equal(result, [[0, 1], [1, 1]])


def test_an_image_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row is the right column
    pixels = np.array([[0, 0, 0, 0], [255, 255, 255, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
    result = images.read(saved(tmp_path / "turned.png", pixels, exif=exif))
    assert result.shape == (32, 16)
    assert result[:, :7].mean() > 0.9 > 0.1 > result[:, 9:].mean()


def test_a_large_photo_is_made_smaller(tmp_path: Path) -> None:
    pixels = np.zeros((900, 3000), np.uint8)
    pixels[:, :1500] = 255
    result = images.read(saved(tmp_path / "large.jpg", pixels))
    assert result.shape == (192, 640)
    assert result[:, :310].min() > 0.95
    assert result[:, 330:].max() < 0.05


def bomb(width: int, height: int) -> bytes:
    """A small PNG whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def a_png() -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 40), dtype=np.uint8)).save(
        target, "PNG"
    )
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"What is this?", "not an image of a kind that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a kind"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a kind"),
        (a_png()[:300], "the image is damaged"),
        (bomb(100_000, 100_000), "it has more than 120,000,000 pixels"),
        (bomb(12_000, 12_000), "it has more than 120,000,000 pixels"),
    ],
    ids=["empty", "text", "PostScript", "SVG", "cut short", "bomb", "large"],
)
def test_what_is_no_image_is_told_in_a_sentence(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=told) as error:
        images.read(str(path))
    assert "\n" not in str(error.value)


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    (tmp_path / "big.png").write_bytes(a_png())
    with pytest.raises(ConfigError, match="more than the 100 that are read"):
        images.read(str(tmp_path / "big.png"))


def test_folders_stand_for_their_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    expected = [str(tmp_path / "a.JPG"), str(tmp_path / "b.png"), "-"]
    assert images.collect([str(tmp_path), "-"]) == expected
    with pytest.raises(ConfigError, match="the folder holds no image"):
        images.collect([str(empty)])
    with pytest.raises(ConfigError, match="nowhere: there is no such file or folder"):
        images.collect(["nowhere"])
