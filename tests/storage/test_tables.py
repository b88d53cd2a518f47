"""Tables: what is written is read back, and damage is told from what a killed process left."""

from __future__ import annotations

import pytest

from training.storage.tables import STEPS, Table, read_table, salvage

ROWS = [(2, 0.5, 0.25), (4, 1 / 3, 0.5), (5, 0.1, 1.0)]
CELLS = [[str(cell) for cell in row] for row in ROWS]


@pytest.fixture
def written(tmp_path):
    table = Table(tmp_path / "steps.csv", STEPS)
    for row in ROWS:
        table.append(row)
    return table, tmp_path / "steps.csv"


def test_rows_come_back_bit_for_bit(written):
    _, path = written
    assert read_table(path, STEPS) == [dict(zip(STEPS, row, strict=True)) for row in ROWS]
    again = Table(path, STEPS, CELLS)
    assert again.mark() == written[0].mark()
    assert Table(path, STEPS).mark().rows == 0
    assert path.read_text() == "step,loss,accuracy\n"


def test_what_was_written_beyond_a_save_is_no_damage(written):
    table, path = written
    mark = table.mark()
    for beyond in ("", "6,9,9\n", "6,9,9\n6", "6,9,9\n6,", "7,nan,\n"):
        path.write_text("step,loss,accuracy\n2,0.5,0.25\n")
        table = Table(path, STEPS, CELLS)
        with path.open("a") as file:
            file.write(beyond)
        assert salvage(path, STEPS, 5, mark) == (CELLS, True)
        assert salvage(path, STEPS, 5) == (CELLS, True)


SWAPPED = "step,loss,accuracy\n4,0.3,0.5\n2,0.5,0.25\n5,0.1,1.0\n"
#: What becomes of the file, the rows that can be read, and whether it shows without a mark.
DAMAGE = {
    "cut at a line's end": (lambda text: text[: text.index("\n5,") + 1], [0, 1], False),
    "cut in a line": (lambda text: text[:-3], [0, 1], True),
    "a row missing": (lambda text: text.replace("2,0.5,0.25\n", ""), [1, 2], False),
    "a digit": (lambda text: text.replace("0.25", "0.35"), None, False),
    "swapped": (lambda _: SWAPPED, None, True),
    "doubled": (lambda text: text.replace("5,0.1", "4,9,9\n5,0.1"), [0, 1, 2], True),
    "not a number": (lambda text: text.replace("0.1", "nan"), [0, 1], True),
    "infinite": (lambda text: text.replace("0.1", "inf"), [0, 1], True),
    "columns": (lambda text: text.replace("0.1,", ""), [0, 1], True),
    "header": (lambda text: text.replace("step", "stop"), [0, 1, 2], True),
    "zeros": (lambda text: "\0" * len(text), [], True),
    "empty": (lambda _: "", [], True),
}


@pytest.mark.parametrize(("damage", "kept", "shows"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_the_rest_is_saved(damage, kept, shows, written):
    table, path = written
    path.write_text(damage(path.read_text()))
    rows, sound = salvage(path, STEPS, 5, table.mark())
    assert not sound
    if kept is not None:
        assert rows == [CELLS[place] for place in kept]
    steps = [int(row[0]) for row in rows]
    assert steps == sorted(set(steps))
    assert salvage(path, STEPS, 5) == (rows, not shows)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("6,0.1", "2 values for 3 columns"),
        ("6,x,1", "could not convert"),
        ("6,nan,1", "nan is not a finite number"),
        ("\0", "1 values"),
    ],
)
def test_a_damaged_line_is_named(line, reason, written):
    _, path = written
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=f"steps.csv is damaged at line 5: {reason}"):
        read_table(path, STEPS)
    with pytest.raises(ValueError, match="line 1: the columns must be step, accuracy"):
        read_table(path, ("step", "accuracy"))
