"""A full disk or a folder that cannot be written: one sentence, and the old checkpoint is good."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import run, train
from tests.support import ROOT, assert_same_run
from training.storage.checkpoint import NAME, newest, save_checkpoint

RUN = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.epochs=3")
SAY = "train.py: cannot write "


def one_line(capsys) -> str:
    output = capsys.readouterr().err
    assert output.startswith(SAY)
    assert output.count("\n") == 1, output
    return output


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_the_third_save_fails(reason, call_main, tmp_path, monkeypatch, capsys):
    assert call_main(*RUN, "hydra.run.dir=whole") == 0
    saves = []

    def full(handle: int, flush=os.fsync) -> None:
        target = os.readlink(f"/proc/self/fd/{handle}")
        if NAME in target:
            saves.append(target)
            if len(saves) == 3:
                raise OSError(reason, os.strerror(reason))
        flush(handle)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert call_main(*RUN, "hydra.run.dir=part") == 1
    line = one_line(capsys)
    folder = tmp_path / "part"
    assert f"{folder / NAME}: {os.strerror(reason)}; the last checkpoint is good" in line
    content, passed_over = newest(folder)
    assert (content.record["progress"]["epoch"], passed_over) == (2, None)
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    assert call_main("resume=part") == 0
    assert_same_run(folder, tmp_path / "whole")


@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "curves.png", "summary.json"])
@pytest.mark.usefixtures("few_digits")
def test_every_file_of_a_run_may_fail(name, call_main, tmp_path, monkeypatch, capsys):
    def full(source, target, replace=os.replace) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert call_main(*RUN, "hydra.run.dir=run") == 1
    assert str(tmp_path / "run" / name) in one_line(capsys)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert name not in left
    assert not [other for other in left if other.endswith(".tmp")]


def limited() -> None:
    """train.py whose files the system keeps from growing: a checkpoint has 740,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    train()


def to_a_full_device() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    train()


def test_the_system_refuses_more_bytes(tmp_path):
    result = run(tmp_path, limited, *RUN, "hydra.run.dir=run")
    assert result.returncode == 1
    assert result.stderr == (
        f"{SAY}{tmp_path / 'run' / NAME}: File too large; nothing had been saved yet\n"
    )
    assert not list((tmp_path / "run").glob("*checkpoint*"))


def test_standard_output_is_full(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = run(tmp_path, to_a_full_device, *RUN, "hydra.run.dir=run")
    assert result.returncode == 1
    assert result.stderr.startswith(f"{SAY}the output: No space left on device")
    assert result.stderr.count("\n") == 1


def test_a_real_disk_that_is_full(tmp_path):
    """Save on a file system of one megabyte until it is full."""
    script = f"mount -t tmpfs -o size=1200k none {tmp_path} && exec {sys.executable} -c '{FILL}'"
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PLACE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "mount" in result.stderr or "unshare" in result.stderr:
        pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr


FILL = """
import errno, os
from pathlib import Path
import numpy as np
from training.storage.checkpoint import newest, save_checkpoint
place = Path(os.environ["PLACE"])
for number, size in ((1, 50_000), (2, 50_000), (3, 250_000)):
    try:
        save_checkpoint(place / "checkpoint.safetensors",
                        {"model.a": np.full(size, number, np.float32)}, {"number": number})
    except OSError as error:
        assert number == 3 and error.errno == errno.ENOSPC, error
        break
else:
    raise SystemExit("the disk was never full")
assert newest(place)[0].record["number"] == 2
assert sorted(os.listdir(place)) == ["checkpoint.safetensors", "checkpoint.safetensors.previous"]
"""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(call_main, tmp_path, capsys):
    (tmp_path / "mine").mkdir(mode=0o500)
    assert call_main(*RUN, "hydra.run.dir=mine/run") == 2
    assert "Permission denied; choose another folder with hydra.run.dir=" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_cannot_be_made(setting, call_main, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    mode = ("--multirun", "seed=0,1") if "sweep" in setting else ()
    for folder in ("file/run", "/proc/none", "file", "x" * 300):
        assert call_main(*RUN, *mode, f"{setting}={folder}") == 2
        error = capsys.readouterr().err
        assert folder in error
        assert error.endswith(f"choose another folder with {setting}=...\n")
        assert error.count("\n") == 1


@pytest.mark.usefixtures("few_digits")
def test_the_folder_disappears(call_main, tmp_path, monkeypatch, capsys):
    from tests.support import at_step

    at_step(monkeypatch, 1, lambda: (tmp_path / "run").rename(tmp_path / "moved"))
    assert call_main(*RUN, "hydra.run.dir=run") == 1
    assert "No such file or directory" in one_line(capsys)


def test_without_hard_links(tmp_path, monkeypatch):
    import numpy as np

    def unsupported(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", unsupported)
    for number in (1, 2, 3):
        save_checkpoint(tmp_path / NAME, {"a": np.asarray(number)}, {"number": number})
    assert newest(tmp_path)[0].record["number"] == 3
    (tmp_path / NAME).unlink()
    assert newest(tmp_path)[0].record["number"] == 2
