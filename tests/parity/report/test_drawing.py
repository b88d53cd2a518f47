"""What is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace

from parity.report import drawing


def test_a_training_is_drawn_as_far_as_it_went_and_extremes_stay_inside(right) -> None:
    whole, double = right.trainings
    worst = [
        replace(check, budget=budget, error=1.0)
        for check, budget in zip(whole.worst, (0.0, 1e-30, 1e30), strict=False)
    ]
    short = replace(whole, losses=whole.losses[:3], worst=worst)
    figure = drawing.training([short, double])
    torch, ours = figure.axes[0].lines[:2]
    assert list(torch.get_ydata()) == [check.torch_value for check in short.losses]
    assert list(ours.get_ydata()) == [check.numpy_value for check in short.losses]
    single, other = figure.axes[1].lines[:2]
    assert list(single.get_ydata()) == [drawing.MOST, drawing.MOST, drawing.LEAST]
    assert list(other.get_ydata()) == [check.share for check in double.worst]
    assert drawing.png(figure) == drawing.png(drawing.training([short, double]))
