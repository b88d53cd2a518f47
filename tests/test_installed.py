"""What is installed holds every package and all its data, and trains from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytest.importorskip("setuptools", "77", reason="needs setuptools to build a wheel")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The content of a wheel of the files that git knows, or would."""
    place = tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.splitlines()):
        if (ROOT / name).is_file():
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "source" / name).write_bytes((ROOT / name).read_bytes())
    options = [
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--quiet",
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "./source"], cwd=place, check=True
    )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_every_package_is_whole(installed) -> None:
    source = installed.parent / "source"
    for package in [path.parent.name for path in source.glob("*/__init__.py")]:
        expected = {p.relative_to(source) for p in (source / package).rglob("*") if p.is_file()}
        found = {p.relative_to(installed) for p in (installed / package).rglob("*") if p.is_file()}
        results = {path for path in expected if path.parts[:2] == ("benchmarks", "results")}
        assert expected - found <= results | {Path("benchmarks/first_contact.sh")}
    conf = {path.relative_to(source / "conf") for path in (source / "conf").rglob("*.yaml")}
    place = installed / "training" / "conf"
    assert {path.relative_to(place) for path in place.rglob("*.yaml")} == conf
    assert {p.name for p in installed.iterdir() if p.name in ("tests", "docs", "conf")} == set()


def test_the_command_trains_from_another_folder(installed, tmp_path) -> None:
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "lenet-twins-train = training.cli.main:main" in entry.read_text()
    script = "import sys; from training.cli.main import main; sys.argv[0] = {!r}; sys.exit(main())"
    arguments = ("data=digits", "backend=numpy", "trainer.epochs=1", "hydra.run.dir=run")
    result = subprocess.run(
        [sys.executable, "-c", script.format("/bin/lenet-twins-train"), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "weights.safetensors").exists()
