from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.predict import main
from inference.reading import read_number
from pretrained import load
from tests.inference.photographs import KINDS, photograph
from tests.support import ROOT
from training.errors import ConfigError


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    photograph(4, "strokes").image.save(path)
    return str(path)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inference", "predict", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_photographs_of_what_is_not_mnist_are_read(kind: str) -> None:
    """18 of each kind that docs/inference.md counts; a wrong threshold loses several."""
    weights = load("lenet5_bn")
    taken = [photograph(seed, kind) for seed in range(14)]
    taken += [photograph(seed, kind, 3) for seed in range(4)]
    right = 0
    for image, number, _ in taken:
        grey = np.asarray(image.convert("L"), np.float32) / np.float32(255)
        right += read_number(grey, weights).number == number
    assert right >= len(taken) - 3


def test_the_numpy_twin_needs_neither_torch_nor_matplotlib(photo: str) -> None:
    code = (
        "import sys; from inference.predict import main; "
        f"main([{photo!r}, '--backend', 'numpy']); "
        "print(*sorted({'torch', 'matplotlib', 'sklearn', 'scipy', 'hydra'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert told.startswith(f"{photo}: 4\n")
    assert told.splitlines()[-1] == ""


def test_both_twins_answer_and_their_difference_is_told(photo: str, capsys) -> None:
    main([photo])
    said = capsys.readouterr().out
    assert said.startswith(f"{photo}: 4\n")
    assert "numpy 4, torch 4; largest difference of a probability" in said


def test_json(photo: str, capsys) -> None:
    main([photo, "--json", "--both", "--weights", "lenet5_tanh"])
    found = json.loads(capsys.readouterr().out)
    (digit,) = found["digits"]
    assert found["number"] == "4"
    for backend in ("numpy", "torch"):
        assert np.argmax(digit[backend]) == 4
        assert sum(digit[backend]) == pytest.approx(1)
    gap = np.abs(np.subtract(digit["numpy"], digit["torch"])).max()
    assert found["largest_difference"] == pytest.approx(gap)
    assert gap < 1e-5


def test_standard_input(photo: str) -> None:
    with open(photo, "rb") as file:
        result = run("-", "--backend", "numpy", stdin=file)
    assert result.stdout.startswith("-: 4\n")


def test_the_steps_are_drawn(photo: str, tmp_path: Path, capsys) -> None:
    main([photo, "--backend", "numpy", "--explain", str(tmp_path / "steps.png")])
    with Image.open(tmp_path / "steps.png") as picture:
        assert min(picture.size) > 400
    with pytest.raises(ConfigError, match=r"--explain steps.doc: choose a name in .png"):
        main([photo, "--explain", "steps.doc"])
    with pytest.raises(ConfigError, match="--explain draws one image, not 2"):
        main([photo, photo, "--explain", "steps.png"])


def test_what_cannot_be_read_is_told_at_the_end_and_keeps_no_other_from_being_read(
    photo: str, tmp_path: Path
) -> None:
    (tmp_path / "none.png").write_text("no image")
    Image.new("L", (60, 60), 200).save(tmp_path / "white.png")
    result = run(str(tmp_path), "--backend", "numpy")
    assert result.returncode == 2
    assert f"{photo}: 4" in result.stdout
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{tmp_path / 'none.png'}: it is not an image of a kind that is read")
    assert second == (
        f"{tmp_path / 'white.png'}: nothing stands out from the paper: it seems to be blank"
    )
