"""The pages from records: figures, verdicts, and what has no record yet."""

from __future__ import annotations

import shutil

import pytest

from studies import collection, pictures, verdicts
from studies.__main__ import main
from studies.claim import Claim, Reading
from studies.claims import CLAIMS, QUIRKS
from studies.page import NOT_RUN, write
from studies.records import recipe
from tests.studies.kept_runs import contents, keep, line, written
from tests.support import ROOT

EXPERIMENTS = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
PAGES = ("../results.md", "runs.md", "studies.md")


def test_without_a_record_there_is_no_figure(tmp_path) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    page = written(tmp_path / "results")
    for claim in CLAIMS:
        assert line(page, f"| {claim.text} |").endswith(f"{NOT_RUN} | {NOT_RUN} |")
    for quirk in QUIRKS:
        row = line(page, f"| {quirk.report} | {quirk.words}")
        assert row.endswith(f"{NOT_RUN} | {NOT_RUN} | {NOT_RUN} |")


def test_mean_spread_and_verdict(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.9700], seed=0)
    keep(runs, [0.9, 0.9710], seed=1)
    page = written(tmp_path / "results")
    row = line(page, "| test accuracy after 2 epochs |")
    assert "97.05 ± 0.07 % (numpy, n = 2)" in row
    assert row.endswith("not reproduced: 13.74 points above |")
    assert line(page, "training images per second").endswith("| met |")
    assert "| R3 | `lenet5_avgpool` | test accuracy after 2 epochs: 83.31 % (± 0.3) | 97.05" in page
    assert "a processor, cpu, 1 thread" in (tmp_path / "results" / "runs.md").read_text()
    picture = tmp_path / "results" / "pictures" / "seeds-r3_lenet5_avgpool.png"
    assert picture.exists()
    before = contents(tmp_path)
    picture.with_name("stale.png").write_bytes(b"")
    written(tmp_path / "results")
    assert before == contents(tmp_path)


def test_another_folders_page_has_its_own_name(tmp_path) -> None:
    keep(tmp_path / "run", [0.9, 0.97])
    (run,) = (tmp_path / "run").iterdir()
    target = tmp_path / "other"
    assert main(["--collect", str(run), "--results", str(target)]) == 0
    page = (tmp_path / "other.md").read_text(encoding="utf-8")
    assert "(other/runs)" in page
    assert "(other/pictures/curve-r3_lenet5_avgpool.png)" in page
    studies = (target / "studies.md").read_text(encoding="utf-8")
    assert "(pictures/seeds-r3_lenet5_avgpool.png)" in studies
    assert "(../other.md)" in studies
    assert not (tmp_path / "results.md").exists()


def test_curves_are_by_iteration_where_a_run_has_them(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.97], study="quirk_r3_eps")
    assert "![r3_lenet5_avgpool by epoch]" in written(tmp_path / "results")
    keep(runs, [0.9, 0.97], seed=1)
    (folder,) = runs.glob("seeds-*")
    (folder / "steps.csv").write_text("step,loss,accuracy\n1,2.3,0.1\n2,2.2,0.2\n")
    assert "![r3_lenet5_avgpool by iteration]" in written(tmp_path / "results")


def test_a_notes_figure_is_measured(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.97])
    page = written(tmp_path / "results")
    assert "does not state the learning rate. 3e-5" not in page
    keep(runs, [0.7, 0.8567], changes={"optimizer.lr": 3e-5})
    page = written(tmp_path / "results")
    assert "- The report does not state the learning rate. 3e-5 gives 85.67 %, but reaches" in page


@pytest.mark.parametrize(("of", "figure"), [("mean", 95), ("greatest", 98), ("range", 6)])
def test_what_a_note_tells_of_several_runs(of, figure, tmp_path) -> None:
    for seed, accuracy in enumerate((0.92, 0.95, 0.98)):
        keep(tmp_path, [accuracy], seed)
    keep(tmp_path, [0.98], seed=2, study="again")
    reading = Reading("r3_lenet5_avgpool", of=of)
    claim = Claim("r3_lenet5_avgpool", "", (), note="{:.2f}", readings=(reading,))
    assert verdicts.note(claim, collection.kept(tmp_path)) == f"{figure:.2f}"


def test_divergence_is_a_result(tmp_path) -> None:
    keep(tmp_path / "results" / "runs", [0.1], status="diverged")
    page = written(tmp_path / "results")
    row = line(page, "| test accuracy after 2 epochs |")
    assert "diverged in 1 of 1" in row
    assert row.endswith("not reproduced: diverges |")


def test_a_departure_is_weighed(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    for seed, (on, off) in enumerate([(0.95, 0.96), (0.97, 0.99)]):
        keep(runs, [on], seed, study="quirk_r3_eps")
        keep(runs, [off], seed, study="quirk_r3_eps", changes={"optimizer.eps_mode": "torch"})
    row = line(written(tmp_path / "results"), "Adam has ε inside the root")
    assert "| 96.00 ± 1.41 % (n = 2) | 97.50 ± 2.12 % (n = 2) | -1.50 points |" in row


def test_a_study_keeps_its_title_and_form_beside_runs_of_others(tmp_path, monkeypatch) -> None:
    drawn = {}
    monkeypatch.setattr(pictures, "draw", lambda path, study: drawn.update({path.stem: study}))
    runs, curves = tmp_path / "results" / "runs", {"title": "R3, curves", "form": "curves"}
    keep(runs, [0.9, 0.96], seed=0, study="r3_a", shown={"title": "R3, finals"})
    keep(runs, [0.9, 0.97], seed=1, study="r3_b", shown=curves)
    page = written(tmp_path / "results", "studies.md")
    assert "## R3, finals: lenet5_avgpool on mnist\n\n`python train.py study=r3_a`" in page
    assert "## R3, curves: lenet5_avgpool on mnist\n\n`python train.py study=r3_b`\n\n!" in page
    study = drawn["r3_b-r3_lenet5_avgpool"]
    assert study.form == "curves"
    assert [record.seed for record in study.records] == [0, 1]


def test_runs_of_equal_settings_are_pooled_alike_everywhere(tmp_path) -> None:
    runs, torch = tmp_path / "results" / "runs", {"optimizer.eps_mode": "torch"}
    keep(runs, [0.98], study="quirk_r3_eps")
    keep(runs, [0.95], seed=0, study="r3_readings", changes=torch)
    keep(runs, [0.97], seed=1, study="quirk_r3_eps", changes=torch)
    keep(runs, [0.97], seed=1, study="r3_readings", changes=torch)
    page = written(tmp_path / "results")
    assert "| 96.00 ± 1.41 % (n = 2) |" in line(page, "Adam has ε inside the root")
    studies = (tmp_path / "results" / "studies.md").read_text(encoding="utf-8").splitlines()
    rows = [row for row in studies if row.startswith("| torch | 96.00 ± 1.41 % |")]
    assert [row.endswith("| 2 |") for row in rows] == [True, True]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_pages_headings_differ(name) -> None:
    page = (ROOT / "docs" / "results" / name).read_text(encoding="utf-8")
    headings = [row for row in page.splitlines() if row.startswith("#")]
    assert headings
    assert len(set(headings)) == len(headings)


def test_a_single_setting_is_named(tmp_path) -> None:
    keep(tmp_path / "results" / "runs", [0.9, 0.97], changes={"optimizer.lr": 1e-4})
    page = written(tmp_path / "results", "studies.md")
    assert "| lr | test accuracy |" in page
    assert "| 0.0001 | 97.00 % |" in page


def test_a_changed_run_is_not_the_recipes(tmp_path) -> None:
    keep(tmp_path / "results" / "runs", [0.9, 0.97], changes={"optimizer.lr": 1e-4})
    row = line(written(tmp_path / "results"), "| test accuracy after 2 epochs |")
    assert row.endswith(f"{NOT_RUN} | {NOT_RUN} |")


def test_claims_and_departures_belong_to_what_there_is() -> None:
    for claim in CLAIMS:
        assert claim.experiment in EXPERIMENTS
        assert set(claim.changes) <= set(recipe(claim.experiment))
        sizes = {"between": 2, "falling": 0}
        assert len(claim.claimed) == sizes.get(claim.rule, len(claim.at))
    for quirk in QUIRKS:
        assert recipe(quirk.experiment)[quirk.key] in (quirk.on, quirk.off)


@pytest.mark.parametrize(
    ("rule", "claimed", "figures", "verdict"),
    [
        ("close", (0.98,), [0.9829], "reproduced"),
        ("close", (0.98,), [0.9831], "not reproduced: 0.31 points above"),
        ("close", (0.9, 0.98), [0.9, 0.97], "not reproduced: 1 of 2 figures"),
        ("at least", (0.9,), [0.9], "met"),
        ("at most", (0.9,), [0.91], "not met"),
        ("between", (1.9, 2.0), [1.95, 1.91], "reproduced"),
        ("between", (1.9, 2.0), [1.95, 1.89], "not reproduced"),
        ("falling", (), [3.0, 2.0, 1.0], "reproduced"),
        ("falling", (), [3.0, 2.0, 2.0], "not reproduced"),
    ],
)
def test_verdicts(rule, claimed, figures, verdict, tmp_path, monkeypatch) -> None:
    claim = Claim("r3_lenet5_avgpool", "", claimed, rule=rule, at=tuple(range(len(figures))))
    monkeypatch.setattr(Claim, "measure", lambda *_: figures)
    assert verdicts.judge(claim, [None]).verdict == verdict  # type: ignore[list-item]


def test_the_committed_page_is_what_its_records_give(tmp_path) -> None:
    kept = ROOT / "docs" / "results" / "runs"
    target = tmp_path / "docs" / "results"
    shutil.copytree(kept, target / "runs")
    write(target)
    for name in PAGES:
        assert (target / name).read_text() == (ROOT / "docs" / "results" / name).read_text()
