"""Claims judged by runs of a few rows: what is measured, which runs count, and the words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from studies import claims, verdicts
from studies.claim import LAST, Claim, Measurement, Reading, report_of
from studies.claims import reported, reported_curve
from studies.groups import (
    Group,
    Study,
    grouped,
    in_words,
    once_per_seed,
    short,
    show,
    spread,
    table,
    varied,
)


def run(values: list[float], seed: int = 0, status: str = "finished", **changes: Any) -> Any:
    """A record with a row for each value, of its accuracy and, ten times as large, its loss."""
    rows = [{"test_accuracy": value, "train_loss": 10 * value} for value in values]
    settings = {"model.name": "net", "backend.name": "numpy", **changes}
    return SimpleNamespace(
        experiment="r3_net",
        seed=seed,
        status=status,
        changes=changes,
        dataset="mnist",
        config={"study": {"title": "A title", "form": "curves", "column": "train_loss"}},
        table=lambda source: rows if source == "metrics" else [],
        last_epoch=lambda: rows[-1],
        setting=settings.get,
    )


@pytest.mark.parametrize(
    ("options", "values", "status", "figures"),
    [
        ({}, [0.1, 0.2, 0.4], "finished", [0.4]),
        ({}, [0.1, 0.2, 0.4], "diverged", None),  # not the last of its recipe
        ({"at": (1, 3)}, [0.1, 0.2, 0.4], "diverged", [0.1, 0.4]),
        ({"at": (4,)}, [0.1, 0.2, 0.4], "finished", None),
        ({"at": (3,), "window": 2}, [0.1, 0.2, 0.4], "finished", [0.3]),
        ({"at": (2,), "window": 9}, [0.1, 0.2, 0.4], "finished", [0.15]),
        ({"at": (LAST,), "column": "train_loss"}, [0.1], "finished", [1.0]),
        ({"source": "steps"}, [0.1], "finished", None),
        ({}, [], "finished", None),
    ],
)
def test_what_is_measured_of_a_run(options, values, status, figures) -> None:
    found = Measurement("r3_net", **options).measure(run(values, status=status))
    assert found == (None if figures is None else pytest.approx(figures))


@pytest.mark.parametrize(
    ("options", "changes", "ours"),
    [
        ({}, {}, True),
        ({}, {"lr": 1}, False),
        ({"changes": {"lr": 1}}, {"lr": 1}, True),
        ({"changes": {"lr": 1}}, {"lr": 2}, False),
        ({"changes": None}, {"lr": 2}, True),
        ({}, {"trainer.epochs": 5}, False),
        ({"at": (3,)}, {"trainer.epochs": 5}, True),
        ({"at": (3,)}, {"trainer.epochs": 5, "lr": 1}, False),
    ],
)
def test_which_runs_are_measured(options, changes, ours) -> None:
    assert Measurement("r3_net", **options).concerns(run([0.1], **changes)) is ours
    assert not Measurement("r2_net", **options).concerns(run([0.1], **changes))


def test_the_report_is_in_an_experiments_name() -> None:
    names = ("r0_linear_baseline", "r4_lenet5_bn", "best_deepcnn21", "rx_net", "r")
    assert [report_of(name) for name in names] == ["R0", "R4", "own", "own", "own"]


@pytest.mark.parametrize(
    ("claim", "runs", "measured", "verdict", "holds"),
    [
        (Claim("r3_net", "", (0.3,)), [[0.3]], "30.00 %", "reproduced", True),
        (
            Claim("r3_net", "", (0.3,)),
            [[0.25], [0.27]],
            "26.00 ± 1.41 %",
            "not reproduced: 4.00 points below",
            False,
        ),
        (
            Claim("r3_net", "", (3.0,), column="train_loss", tolerance=0.1),
            [[0.325]],
            "3.25",
            "not reproduced: 0.25 above",
            False,
        ),
        (
            Claim("r3_net", "", (1, 2), at=(1, 2), column="train_loss", tolerance=0.5),
            [[0.1, 0.25], [0.1, 0.22]],
            "1, 2.35",
            "reproduced: 2 of 2 figures",
            True,
        ),
        (Claim("r3_net", "", (0.1,), rule="at least"), [[0.1]], "10.00 %", "met", True),
        (Claim("r3_net", "", (0.1,), rule="at most"), [[0.1]], "10.00 %", "met", True),
        (
            Claim("r3_net", "", (0.1,), rule="at least", column="train_loss"),
            [[123.4]],
            "1,234",
            "met",
            True,
        ),
        (
            Claim("r3_net", "", (0.1, 0.3), rule="between", at=(1, 2)),
            [[0.1, 0.3]],
            "0.1, 0.3",
            "reproduced",
            True,
        ),
        (
            Claim("r3_net", "", (), rule="falling", at=(1, 2)),
            [[0.3, 0.1]],
            "0.3, 0.1",
            "reproduced",
            True,
        ),
    ],
)
def test_figures_and_verdicts(claim, runs, measured, verdict, holds) -> None:
    judgement = verdicts.judge(claim, [run(values, seed) for seed, values in enumerate(runs)])
    assert (judgement.measured, judgement.verdict) == (measured, verdict)
    assert judgement.holds is holds


def test_runs_that_diverged_are_counted_and_take_part_in_no_mean() -> None:
    claim, lost = Claim("r3_net", "", (0.3,)), run([0.1], 1, "diverged")
    assert verdicts.says_something(claim, lost)
    assert verdicts.says_something(claim, run([0.1]))
    assert not verdicts.says_something(claim, run([0.1], status="interrupted"))
    judgement = verdicts.judge(claim, [run([0.3]), lost])
    assert (judgement.measured, judgement.verdict) == ("30.00 %; 1 of 2 diverged", "reproduced")
    judgement = verdicts.judge(claim, [lost, lost])
    assert judgement.measured == "diverged in 2 of 2"
    assert not judgement.holds


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Claim("r3_net", "", (0.9885,)), "98.85 % (± 0.3)"),
        (Claim("r3_net", "", (0.9,), column="train_loss", tolerance=0.1), "0.9 (± 0.1)"),
        (
            Claim("r3_net", "", (0.5, 0.25), at=(1, 2), tolerance=0.01),
            "0.5, 0.25 (± 0.01)",
        ),
        (Claim("r3_net", "", (270.0,), column="seconds", rule="at most"), "at most 270"),
        (Claim("r3_net", "", (12345.6,), column="x", rule="at least"), "at least 12,346"),
        (Claim("r3_net", "", (1.9, 2.0), column="x", rule="between"), "between 1.9 and 2"),
        (Claim("r3_net", "", (), rule="falling"), "falling"),
    ],
)
def test_a_reports_figures_in_words(claim, words) -> None:
    assert verdicts.claimed(claim) == words


@pytest.mark.parametrize(
    ("experiment", "changes", "column", "figure"),
    [
        ("r0_lenet5_relu", {}, "test_accuracy", 0.9885),
        ("r0_lenet5_relu", {}, "accuracy", None),  # single batches', not the last epoch's
        ("r0_lenet5_relu", {}, "seconds", None),  # an upper limit
        ("r0_lenet5_relu", {"seeds": 1}, "test_accuracy", None),
        ("r2_deepcnn21", {}, "train_loss", 0.9),
        ("r2_deepcnn21", {"optimizer.lr": 3e-2}, "test_accuracy", 0.9786),
    ],
)
def test_what_a_report_says_of_the_last_epoch(experiment, changes, column, figure) -> None:
    record = run([0.1], **changes)
    record.experiment = experiment
    assert reported(record, column) == figure


def test_a_note_has_its_figures_or_is_left_out() -> None:
    readings = (
        Reading("r3_net", changes={"lr": 1}),
        Reading("r3_net", changes={"lr": 1}, column="train_loss"),
    )
    claim = Claim("r3_net", "", (), note="{:.1f} and {:.1f}", readings=readings)
    ours = [run([0.25], seed, lr=1) for seed in (0, 1)]
    assert verdicts.note(claim, [run([0.9]), *ours]) == "25.0 and 2.5"
    assert verdicts.note(claim, [run([0.9])]) == ""
    assert verdicts.note(Claim("r3_net", "", (), note="plain"), []) == "plain"


def test_a_spread_of_one_and_of_several() -> None:
    assert (spread([0.5]).mean, spread([0.5]).std, spread([0.5]).count) == (0.5, None, 1)
    several = spread([0.98, 0.99, 1.0])
    assert several.count == 3
    assert several.text() == "0.99 ± 0.01"
    assert several.text(percent=True) == "99.00 ± 1.00 %"
    assert several.text(percent=True, digits=1) == "99.0 ± 1.0 %"
    assert spread([0.0123]).text(digits=4) == "0.0123"


def test_runs_of_equal_settings_are_one_group_in_the_order_of_their_first() -> None:
    records = [run([0.1], 0, lr=2), run([0.2], 0, lr=1), run([0.3], 1, "diverged", lr=2)]
    assert varied(records) == ["lr"]
    first, second = grouped(records)
    assert (first.values, second.values) == ({"lr": 2}, {"lr": 1})
    assert [record.seed for record in first.records] == [0, 1]
    assert first.finals("test_accuracy") == [0.1]  # of those that finished
    assert (first.label, first.settings()) == ("lr 2", ["2"])
    assert Group({}, records).label == "all"
    other = run([0.1], lr=2)
    other.setting = {"lr": 2, "backend.name": "torch"}.get
    assert varied([records[0], other]) == ["backend.name"]
    (alone,) = grouped([records[0], run([0.5], 3, lr=2)])
    assert alone.values == {"lr": 2}
    assert [record.seed for record in once_per_seed([*records, records[0]])] == [0, 1]
    assert once_per_seed(records)[0] is records[1]  # the last that was kept


def test_a_study_is_what_its_jobs_say_with_other_runs_beside() -> None:
    one, other = run([0.1], lr=1), run([0.2], lr=2)
    study = Study.of([one], [other])
    assert (study.title, study.form, study.column) == ("A title", "curves", "train_loss")
    assert study.records == [one, other]
    assert study.heading == "A title: net on mnist"
    assert [group.label for group in study.groups] == ["lr 1", "lr 2"]
    one.config["study"]["title"] = None
    one.dataset = other.dataset = ""
    assert Study.of([one]).heading == "Sweep: net on no data"


def test_settings_in_words() -> None:
    assert [short(key) for key in ("optimizer.lr", "init.name", "seed")] == ["lr", "init", "seed"]
    assert [show(value) for value in (True, False, None, 1e-4, 3, "he")] == [
        *("true", "false", "null", "0.0001", "3", "he")
    ]
    assert in_words({"optimizer.lr": 0.5, "init.name": "he"}) == "lr 0.5, init he"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("rule", "claimed", "good", "bad"),
    [
        ("close", (0.5,), [0.25, 0.75], [0.2499, 0.7501]),
        ("at least", (0.5,), [0.5, 0.75], [0.4999]),
        ("at most", (0.5,), [0.5, 0.25], [0.5001]),
        ("between", (0.25, 0.5), [0.25, 0.5], [0.2499, 0.5001]),
    ],
)
def test_a_bound_belongs_to_what_it_bounds(rule, claimed, good, bad) -> None:
    claim = Claim("r3_net", "", claimed, rule=rule, tolerance=0.25)
    for value in (*good, *bad):
        assert verdicts.judge(claim, [run([value])]).holds is (value in good)


def test_a_row_of_figures_falls_from_each_to_the_next() -> None:
    claim = Claim("r3_net", "", (), rule="falling", at=(1, 2, 3))
    for values in ([0.3, 0.2, 0.1], [0.3, 0.3, 0.1], [0.3, 0.1, 0.2], [0.1, 0.3, 0.2]):
        assert verdicts.judge(claim, [run(values)]).holds is (values == [0.3, 0.2, 0.1])


def test_figures_of_a_thousand_have_a_comma() -> None:
    claim = Claim("r3_net", "", (1000.0,), column="x", rule="at most")
    assert verdicts.claimed(claim) == "at most 1,000"


def test_a_reports_curves() -> None:
    """Rows of figures that a report gives; no single figures, and no limits."""

    def curve(experiment: str, column: str, *source: str, **changes: Any) -> list:
        record = run([0.1], **changes)
        record.experiment = experiment
        return reported_curve(record, column, *source)

    depth = {"model.arguments.depth": 4}
    assert curve("r2_deepcnn21", "train_loss", **depth) == [
        *((1, 1.726161), (2, 1.465124), (3, 1.326121))
    ]
    assert curve("r2_deepcnn21", "train_loss", "steps", **depth) == []
    assert curve("r2_deepcnn21", "train_loss", **{"init.name": "xavier"}) == []  # two limits
    assert curve("r2_deepcnn21", "test_accuracy") == []  # of the last epoch
    assert curve("r1_lenet5_tanh", "train_loss") == []
    by_step = curve("r0_lenet5_relu", "accuracy", "steps")
    assert (by_step[0], by_step[-1], len(by_step)) == ((234, 0.957), (2340, 0.996), 10)


def test_two_figures_are_a_curve_and_no_final_one(monkeypatch) -> None:
    claim = Claim("r3_net", "", (0.2, 0.3), at=(1, LAST))
    monkeypatch.setattr(claims, "CLAIMS", (claim,))
    assert reported_curve(run([0.1]), "test_accuracy") == [(1, 0.2), (LAST, 0.3)]
    assert reported(run([0.1]), "test_accuracy") is None


@pytest.mark.parametrize(("of", "figure"), [("mean", 40), ("greatest", 80), ("range", 60)])
def test_a_note_takes_a_run_kept_twice_once_for_a_mean_alone(of, figure) -> None:
    reading = Reading("r3_net", of=of)
    claim = Claim("r3_net", "", (), note="{:.0f}", readings=(reading,))
    records = [run([0.8], 0), run([0.2], 0), run([0.6], 1)]  # the last of a seed counts
    assert verdicts.note(claim, records) == str(figure)
