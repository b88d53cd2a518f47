"""The exercises: as they are written, and with this project's own NumPy sides in their place."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from parity.__main__ import main
from parity.exercises import NAMES, write
from parity.grading.assignment import Result, assignment, grade
from parity.grading.submission import Limits
from tests.parity.solutions import SOLUTIONS

ROOT = Path(__file__).parents[2]


def graded(name: str, folder: Path) -> tuple[Result, int]:
    """The result of an exercise's folder, where numpy_models may be used, and the full marks."""
    task = assignment(f"parity.exercises.{name}.exercise:pairs", Limits(forbidden=("torch",)))
    result = grade(task, folder / "solution.py", folder / "reproduction.npz")
    return result, sum(map(len, task.rubric.values()))


def run_its_test(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an exercise's own test, which imports the folder's modules anew."""
    with monkeypatch.context() as context:
        context.syspath_prepend(str(folder))
        context.setattr(sys, "dont_write_bytecode", True)  # files of one second look alike to it
        for name in ("exercise", "solution"):
            context.delitem(sys.modules, name, raising=False)
        try:
            runpy.run_path(str(folder / "test_solution.py"))["test_solution"]()
        finally:
            for name in ("exercise", "solution"):
                sys.modules.pop(name, None)


def test_every_exercise_has_a_solution_here() -> None:
    folders = {path.parent.name for path in (ROOT / "parity/exercises").glob("*/solution.py")}
    assert set(NAMES) == folders == set(SOLUTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_our_own_numpy_side_gets_full_marks_and_the_empty_one_none(
    name, tmp_path, monkeypatch
) -> None:
    write(name, tmp_path)
    empty, full = graded(name, tmp_path)
    assert empty.right == 0
    assert "is yours to write" in empty.culprit or "only in torch" in empty.culprit
    with pytest.raises((AssertionError, NotImplementedError)):
        run_its_test(tmp_path, monkeypatch)
    (tmp_path / "solution.py").write_text(SOLUTIONS[name])
    run_its_test(tmp_path, monkeypatch)
    ours, _ = graded(name, tmp_path)
    assert ours.culprit == ""
    assert ours.right == full > 1


def test_a_layer_loses_no_points_for_what_another_hands_it(tmp_path) -> None:
    wrong = "\n\nclass Doubled(Linear):\n    def backward_batch_last(self, dy, *rest):\n"
    wrong += "        return 2 * super().backward_batch_last(dy, *rest)\n"
    text = SOLUTIONS["network"].replace("fc2=Linear", "fc2=Doubled")
    (tmp_path / "solution.py").write_text(text.replace("\n\n\nclass", f"{wrong}\n\nclass", 1))
    result, full = graded("network", tmp_path)
    faults = {place for place, fault in result.faults["Network"].items() if fault}
    assert faults == {("fc2", "gradient of input"), ("", "gradient of input")}
    assert result.right == full - 2
    assert result.culprit.startswith("fc2, gradient of input at [")
    assert result.reproduction is not None


def test_layers_that_are_there_give_points_before_the_network_runs(tmp_path) -> None:
    write("network", tmp_path)
    text = (tmp_path / "solution.py").read_text().replace("import numpy as np", IMPORTS)
    text = text.replace(": dict = {}", " = {'conv': numpy_models.Conv2d(1, 4, 3)}")
    (tmp_path / "solution.py").write_text(text)
    result, _ = graded("network", tmp_path)
    right = [place for place, fault in result.faults["Network"].items() if not fault]
    assert {layer for layer, _ in right} == {"conv"}
    assert result.right == 4
    assert "fc1.weight is only in torch" in result.culprit


IMPORTS = "import numpy as np\nimport numpy_models"


def test_a_part_that_fails_gives_no_full_marks_where_its_tensors_seem_right(tmp_path) -> None:
    text = SOLUTIONS["adam"].replace('self.moments("exp_avg_sq.")', "{}")
    (tmp_path / "solution.py").write_text(text)
    result, _ = graded("adam", tmp_path)
    assert result.right == 0
    assert "exp_avg_sq of weight: only torch has it" in result.culprit


def test_a_folder_that_holds_something_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["exercise", "pooling", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert main(["exercise", "pooling", str(tmp_path / "mine.txt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
