"""docs/classroom.md: its commands print what it quotes, and its assignment can be graded."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from parity.__main__ import main
from parity.exercises import write
from tests.parity.solutions import BY_HAND
from tests.parity.test_documentation import assert_same
from tests.parity.test_grading import RIGHT

PAGE = (Path(__file__).parents[2] / "docs" / "classroom.md").read_text(encoding="utf-8")


def words_of(command: str) -> list[str]:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "parity"]
    return words[3:]


def test_quoted_output_is_what_the_commands_print(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write("convolution", Path("class/eve"))
    for student, text in {
        "ann": BY_HAND,
        "bob": BY_HAND.replace("dy.sum(axis", "dy.mean(axis"),
        "cy": BY_HAND.replace("(d_image, *dy.shape[2:])", "(d_image, *self.image.shape[2:])"),
        "dee": BY_HAND.replace("p, k, s =", "while True: pass\n        p, k, s ="),
    }.items():
        Path("class", f"{student}.py").write_text(text)
    blocks = re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 2
    for command, quoted in blocks:
        assert main(words_of(command)) == 0
        assert_same(capsys.readouterr().out.replace(" \n", "\n"), quoted)


def test_the_assignment_and_gradescopes_command(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (text,) = re.findall(r"```python\n(# assignment\.py\n.*?)```", PAGE, flags=re.DOTALL)
    Path("assignment.py").write_text(text)
    Path("submission").mkdir()
    Path("submission/solution.py").write_text(RIGHT)
    (command,) = re.findall(r"```sh\n(python -m parity grade .*?)```", PAGE, flags=re.DOTALL)
    words = words_of(command.replace("/autograder/", "").replace("\\\n", " "))
    words[words.index("--against") + 1] = "assignment:pairs"
    assert main(words) == 0
    assert '"score": 16.0' in Path("results/results.json").read_text()
