"""Tables: what is written is read back, and damage is named."""

from __future__ import annotations

import pytest

from training.storage.tables import TABLES, Table, read_table

ROWS = [(2, 0.5, 0.25), (4, 1 / 3, 0.5), (5, 0.1, 1.0)]


@pytest.fixture
def path(tmp_path):
    table = Table(tmp_path / "steps.csv", TABLES["steps"])
    for row in ROWS:
        table.append(row)
    return tmp_path / "steps.csv"


def test_rows_come_back_bit_for_bit(path):
    assert read_table(path, TABLES["steps"]) == [
        dict(zip(TABLES["steps"], row, strict=True)) for row in ROWS
    ]
    before = path.read_bytes()
    Table(path, TABLES["steps"], ROWS)
    assert path.read_bytes() == before
    Table(path, TABLES["steps"])
    assert path.read_text() == "step,loss,accuracy\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("6,0.1", "2 values for 3 columns"),
        ("6,x,1", "could not convert"),
        ("6,nan,1", "nan is not a finite number"),
        ("\0", "1 values"),
        ("", "1 values"),
        ("5,0.1,1", "it does not follow the line before"),
        ("4,0.1,1", "it does not follow the line before"),
    ],
)
def test_a_damaged_line_is_named(line, reason, path):
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=f"steps.csv is damaged at line 5: {reason}"):
        read_table(path, TABLES["steps"])
    with pytest.raises(ValueError, match="line 1: the columns must be step, accuracy"):
        read_table(path, ("step", "accuracy"))


def test_evaluations_follow_by_step_and_epoch(tmp_path):
    """The first may be taken after the same step as that of the first epoch."""
    path, columns = tmp_path / "evaluations.csv", TABLES["evaluations"]
    rows = [(1, 0, 0.25, 0.5), (1, 1, 0.5, 0.5), (2, 2, 0.5, 0.5)]
    Table(path, columns, rows)
    assert [tuple(row.values()) for row in read_table(path, columns)] == rows
    for wrong in ([rows[1], rows[0]], [rows[0], rows[0]], [rows[2], rows[1]]):
        Table(path, columns, wrong)
        with pytest.raises(ValueError, match="line 3: it does not follow the line before"):
            read_table(path, columns)
