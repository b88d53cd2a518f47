"""TensorBoard's log holds what the tables hold, also of a run that was stopped and resumed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support import at_step, metrics, signal_at_step
from tests.trainer.runs import finish
from training.errors import StoppedError
from training.storage.tables import STEPS, read_table

loader = pytest.importorskip(
    "tensorboard.backend.event_processing.event_file_loader",
    reason="needs lenet-twins[tensorboard]",
)
RUN = ("backend=numpy", "logger=tensorboard", "trainer.log_every=2")


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """The numbers of a log by name and step, without those that a restart drops."""
    found: dict[tuple[str, int], float] = {}
    for path in sorted((folder / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime):
        for event in loader.LegacyEventFileLoader(str(path)).Load():
            if event.session_log.status == event.session_log.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in found, "logged twice"
                found[value.tag, event.step] = value.simple_value
    return found


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_the_log_is_the_tables(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_at_step(patch, 3, signal.SIGTERM)
        with pytest.raises(StoppedError):
            finish(folder, *RUN)
    assert {step for _, step in scalars(folder)} == {2}  # whatever ends the run

    def kill() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(KeyboardInterrupt):
            finish(folder, *RUN, "trainer.checkpoint_every=20 steps", resume=True)
    assert {step for _, step in scalars(folder)} == {2, 4, 5, 6}
    finish(folder, *RUN, resume=True)  # from the third step again
    found = scalars(folder)
    expected = {
        (f"step/{name}", int(row["step"])): row[name]
        for row in read_table(folder / "steps.csv", STEPS)
        for name in ("loss", "accuracy")
    }
    for number, row in enumerate(metrics(folder), 1):
        expected |= {(f"epoch/{name}", 5 * number): value for name, value in row.items()}
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-5)
