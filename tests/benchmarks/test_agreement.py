from __future__ import annotations

from typing import Any

import pytest

from benchmarks.agreement import FACTOR, FLOOR, check_losses, tolerances
from benchmarks.harness import BenchmarkError
from benchmarks.project_tasks import ProjectStep
from benchmarks.torch_tasks import TorchStep


class Direct:
    """A worker's face on an object in this process."""

    def __init__(self, task: Any) -> None:
        self.task = task

    def call(self, method: str, **arguments: Any) -> Any:
        return getattr(self.task, method)(**arguments)


class Recorded:
    """An implementation with these losses, and others when its weights are nudged."""

    def __init__(self, losses: list[float], drift: float = 0.0) -> None:
        self.values, self.drift = losses, drift

    def losses(self, steps: int, nudge: int = 0) -> list[float]:
        return [loss + nudge * self.drift for loss in self.values]


def small(kind: type, network: str = "lenet5_relu", **changes: Any) -> Any:
    return kind(threads=1, network=network, batch=16, images=160, test_images=40, **changes)


def compare(**tasks: Any) -> dict[str, float]:
    workers: Any = {name: Direct(task) for name, task in tasks.items()}
    return check_losses(workers, "torch", "case", steps=5)


def test_tolerance_is_the_largest_drift_so_far():
    allowed = tolerances([2.0, 1.0, 1.0], [[2.0, 1.25, 1.0], [2.0, 1.0, 0.875]])
    assert allowed == pytest.approx(
        [2 * FLOOR, FACTOR * 0.25 + FLOOR, FACTOR * 0.25 + FLOOR], rel=1e-12
    )


def test_losses_within_the_drift_are_accepted():
    shares = compare(torch=Recorded([2.0, 1.0], drift=0.01), numpy=Recorded([2.0, 1.05]))
    assert shares["numpy"] == pytest.approx(0.05 / (FACTOR * 0.03), rel=1e-3)


@pytest.mark.parametrize("wrong", [1.2, float("nan"), float("inf")])
def test_other_losses_are_refused(wrong):
    with pytest.raises(BenchmarkError, match=r"numpy, case: the loss at training step 2 is"):
        compare(torch=Recorded([2.0, 1.0, 0.5], drift=0.01), numpy=Recorded([2.0, wrong, 0.5]))


def test_a_difference_in_evaluation_alone_is_refused():
    with pytest.raises(BenchmarkError, match="on the test images"):
        compare(torch=Recorded([2.0, 1.0], drift=0.01), numpy=Recorded([2.0, 1.2]))


@pytest.mark.parametrize("network", ["lenet5_relu", "lenet5_bn", "deepcnn21"])
def test_the_twins_agree(network):
    compare(torch=small(TorchStep, network), numpy=small(ProjectStep, network))


def test_a_learning_rate_off_by_one_percent_is_refused():
    with pytest.raises(BenchmarkError, match="numpy, case: the loss at training step"):
        compare(torch=small(TorchStep), numpy=small(ProjectStep, rate=1.01e-3))


def test_mygrad_agrees():
    pytest.importorskip("mygrad")
    from benchmarks.peers.mygrad_lenet5 import MyGradStep

    compare(torch=small(TorchStep), mygrad=small(MyGradStep))


def test_jax_agrees():
    pytest.importorskip("jax")
    from benchmarks.peers.jax_lenet5 import JaxStep

    compare(torch=small(TorchStep), jax=small(JaxStep))


def test_masks_are_shared_only_while_losses_are_compared():
    twin = small(TorchStep, "deepcnn21")
    twin.losses(steps=1)
    assert twin._net.dropout1.draw is None
