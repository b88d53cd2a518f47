"""The harness against its ledgers: every planted fault dies by name, every rewrite passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from numpy_models import Linear
from parity.__main__ import main
from parity.faults import command, matrix
from parity.faults.edits import edited
from parity.faults.recall import Recall
from parity.faults.record import Fault, Ledger, Rewrite
from parity.faults.scenes import scene
from parity.references import References

RECALL = Recall()


@pytest.mark.parametrize("fault", matrix.faults(), ids=lambda f: f"{f.area}: {f.name}")
def test_fault_is_rejected_by_the_culprits_name(fault: Fault) -> None:
    verdict = matrix.kill(fault, RECALL, thorough=False)
    assert verdict.checks, f"survived in {fault.scene}"
    assert verdict.named == [fault.culprit], verdict.message


@pytest.mark.parametrize("rewrite", matrix.rewrites(), ids=lambda r: r.name)
def test_harmless_rewrite_passes(rewrite: Rewrite) -> None:
    matrix.pass_through(rewrite, RECALL)


def test_torch_is_asked_again_for_whatever_its_results_depend_on() -> None:
    def asked(change: Callable[[nn.Module], object] = lambda _: None, **changes: Any) -> References:
        made = scene("dropout")
        change(made.module)
        setting = made.pair().setting()
        return recall(setting.module, replace(setting.task, **changes))

    recall = Recall()
    first = asked()
    inputs, targets = scene("dropout").batches[1]
    assert asked(numpy_criterion=None) is first
    for other in (
        asked(lambda module: setattr(module.drop1, "p", 0.4)),
        asked(lambda module: setattr(module, "drop1", nn.Dropout(0.3))),
        asked(lambda module: nn.init.zeros_(module.get_parameter("f1.bias"))),
        asked(lambda module: module.f1.requires_grad_(False)),
        asked(torch_criterion=nn.CrossEntropyLoss(label_smoothing=0.1)),
        asked(inputs=inputs),
        asked(targets=targets),
        asked(train=False),
        asked(seed=1),
        asked(forward_only="no backward"),
    ):
        assert other is not first


@pytest.mark.parametrize("edit", ["self._saved = «z→x»", "self._parameters[«→0 * »"])
def test_an_edit_whose_text_is_missing_or_ambiguous_is_refused(edit: str) -> None:
    with pytest.raises(ValueError, match="in one place"):
        edited(Linear, edit)


def test_the_ledger_covers_every_area_without_repetition() -> None:
    ledger = matrix.faults()
    assert len({fault.name for fault in ledger}) == len(ledger) >= 50
    assert all(count >= 5 for count in Counter(fault.area for fault in ledger).values())
    assert sum("0.1 %" in fault.name for fault in ledger) >= 10


def test_a_survivor_is_printed_and_fails_the_command(monkeypatch, capsys) -> None:
    harmless = Fault("nothing at all", "linear", "out", "perceptron", lambda scene: None)
    ledger = Ledger("linear", "out", "perceptron")
    ledger("named wrongly", "return «→1 + »y")
    misnamed = replace(ledger.faults[0], culprit="f1")
    monkeypatch.setattr(command, "faults", lambda: [harmless, misnamed])
    assert main(["faults"]) == 1
    out = capsys.readouterr().out
    assert "SURVIVOR nothing at all: every check passed" in out
    assert "SURVIVOR named wrongly: culprit: out (Linear)" in out
    lines = out.splitlines()
    assert lines[2].split("  ")[-2:] == ["nothing", "SURVIVED"]
    assert "x" not in lines[2]
    assert lines[3].endswith("out  SURVIVED")


def test_the_command_prints_the_matrix(capsys) -> None:
    assert main(["faults", "--only", "bias added twice"]) == 0
    out = capsys.readouterr().out
    assert "bias added twice" in out
    assert "1 faults planted, 1 killed" in out
    assert main(["faults", "--only", "no such fault"]) == 2
    assert "no planted fault has 'no such fault'" in capsys.readouterr().err
