"""The benchmark of long runs, shortened, and that it notices a leak."""

from __future__ import annotations

import json

import pytest

from benchmarks import soak


@pytest.mark.usefixtures("forked_workers")
def test_a_short_soak(tmp_path, monkeypatch, capsys):
    line = ["soak", "--steps", "50", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr("sys.argv", line)
    soak.main()
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    shown = capsys.readouterr().out.splitlines()
    for name in ("numpy", "torch"):
        samples = runs[name]["samples"]
        assert len(samples) >= 50
        assert samples[-1][0] >= 50
        assert all(20 < mebibytes < 4000 and files >= 3 for _, mebibytes, files in samples)
        assert any(line.startswith(f"| {name} ") for line in shown)


@pytest.mark.parametrize(
    ("growth", "files", "leaks"), [(1.0, 5, False), (40.0, 5, True), (1.0, 6, True)]
)
def test_a_leak_is_noticed(growth, files, leaks):
    samples = [(1, 100.0, 5), (2, 100.0, 5), (3, 100.0, 5), (4, 100.0, 5), (5, 100 + growth, files)]
    assert soak.leaks({"samples": samples}) == leaks
