"""The NumPy side's run: what it is given, what is read of it, what is kept to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from numpy_models import CrossEntropyLoss, Dropout, MSELoss
from parity.numpy_runs import fresh, other, run_numpy, run_numpy_forward, snapshot
from parity.protocol import NoBackwardError, NumpyError, ParityError
from parity.task import Task


class Recorder:
    """Multiplies what it is given by its weight, and keeps what is asked of it."""

    def __init__(self, dx: Any = "dx", outputs: int = 1) -> None:
        self.w, self.dw, self.count = np.array([2.0]), np.zeros(1), np.array([0])
        self.given: list[Any] = []
        self.dx, self.outputs = dx, outputs

    def train(self) -> None:
        self.given.append("train")

    def eval(self) -> None:
        self.given.append("eval")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.given.append((args, kwargs))
        self.x = (*args, *kwargs.values())[0]
        y = self.x * self.w
        return y if self.outputs == 1 else [y] * self.outputs

    def backward(self, dy: Any) -> Any:
        self.given.append(dy)
        self.count += 1
        self.dw = np.sum(dy * self.x).reshape(1)
        return dy * self.w if isinstance(self.dx, str) else self.dx

    def parameters(self) -> dict[str, np.ndarray]:
        return {"a.b.w": self.w}

    def gradients(self) -> dict[str, Any]:
        return {"a.b.w": self.dw}

    def buffers(self) -> dict[str, np.ndarray]:
        return {"a.count": self.count}


X, DY = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.5, -1.0]])
KEYS = [("", "output"), ("", "gradient of input"), ("a.b", "gradient of w"), ("a", "count")]


def test_a_run_gives_copies_by_name() -> None:
    side = Recorder()
    found = run_numpy(side, Task(X, {"": DY}))
    assert list(found) == KEYS
    for place, expected in zip(KEYS, (2 * X, 2 * DY, [-1.5], [1]), strict=True):
        np.testing.assert_array_equal(found[place], expected)
    assert side.given[0] == "train"
    side.w[...], side.count[...], side.dw[...] = 7, 7, 7
    np.testing.assert_array_equal(found["a", "count"], [1])
    np.testing.assert_array_equal(found["a.b", "gradient of w"], [-1.5])
    scaled = run_numpy(side, Task(X, {"": DY}, train=False), 4.0)
    assert side.given[3] == "eval"
    np.testing.assert_array_equal(side.given[-1], 4 * DY, strict=True)
    np.testing.assert_array_equal(scaled["", "gradient of input"], 28 * DY)


def test_masks_are_drawn_by_the_tasks_seed() -> None:
    layer, ones = Dropout(0.5), np.ones((3, 4), np.float32)
    kept = np.random.default_rng((8, 1)).random((3, 4), np.float32) > 0.5
    for _ in range(2):
        found = run_numpy(layer, Task(ones, {"": ones}, seed=8))
        np.testing.assert_array_equal(found["", "output"], 2.0 * kept)


def test_the_gradients_dtype_is_kept_when_it_is_scaled() -> None:
    side = Recorder()
    run_numpy(side, Task(X.astype(np.float32), {"": DY.astype(np.float32)}), 1024.0)
    assert side.given[-1].dtype == np.float32


def test_inputs_go_by_position_or_keyword_and_outputs_come_as_they_are_nested() -> None:
    side = Recorder(outputs=2)
    task = Task({"x": X, "k": np.array([1])}, {"[0]": DY, "[1]": 2 * DY})
    side.dx = {"x": DY, "k": None}
    found = run_numpy(side, task)
    assert [name for _, name in found][:3] == ["output[0]", "output[1]", "gradient of input[x]"]
    assert side.given[1][0] == ()
    assert list(side.given[1][1]) == ["x", "k"]
    assert isinstance(side.given[2], list)
    np.testing.assert_array_equal(side.given[2][1], 2 * DY)


def test_of_outputs_in_another_shape_nothing_more_is_asked() -> None:
    side = Recorder()
    found = run_numpy(side, Task(X, {"": DY[:1]}))
    assert list(found) == [("", "output")]
    assert len(side.given) == 2
    assert list(run_numpy(side, Task(X, {"[1]": DY}))) == [("", "output")]


def test_forward_only_there_is_no_gradient() -> None:
    side = Recorder()
    found = run_numpy(side, Task(X, forward_only="no backward"))
    assert list(found) == [("", "output"), ("a", "count")]
    run_numpy_forward(side, Task(X, train=False))
    assert side.given[-2] == "eval"
    loss = Task(X, targets=X + 1, numpy_criterion=MSELoss(), forward_only="no backward")
    assert list(run_numpy(side, loss)) == [("", "output"), ("", "loss"), ("a", "count")]


@pytest.mark.filterwarnings("error")
def test_of_numbers_too_large_nobody_is_warned() -> None:
    task = Task(np.array([[1.5e308, -1.0]]), {"": np.array([[1e306, 1e306]])})
    assert np.isinf(run_numpy(Recorder(), task, 1024.0)["", "gradient of input"]).all()
    run_numpy_forward(Recorder(), task)


def test_a_loss_gives_the_upstream_gradient() -> None:
    side, targets = Recorder(), np.array([0, 1])
    task = Task(X.astype(np.float32), targets=targets, numpy_criterion=CrossEntropyLoss())
    found = run_numpy(side, task, 2.0)
    order = [("", "output"), ("", "loss"), ("", "gradient of output")]
    assert list(found) == [*order, *KEYS[1:]]
    assert found["", "loss"].dtype == np.float32
    assert found["", "loss"].shape == ()
    np.testing.assert_array_equal(side.given[-1], 2 * found["", "gradient of output"])


TWO = Task((X, X + 1, np.array([1, 2])), {"": DY})


@pytest.mark.parametrize(
    ("task", "dx", "found"),
    [
        (Task(X, {"": DY}), None, {}),
        (Task(X, {"": DY}), (DY,), {"": DY}),
        (Task(X, {"": DY}), [DY], {"": DY}),
        (Task(X, {"": DY}), np.float64(3), {"": np.float64(3)}),
        (TWO, (DY, 2 * DY, None), {"[0]": DY, "[1]": 2 * DY}),
        (TWO, (None, DY, None), {"[1]": DY}),
        (TWO, (DY, 3 * DY, 7 * DY), {"[0]": DY, "[1]": 3 * DY, "[2]": 7 * DY}),
        (replace(TWO, constants=frozenset({"[0]"})), DY, {"[1]": DY}),
        (replace(TWO, constants=frozenset({"[0]"})), (DY, 2 * DY, None), {"[1]": 2 * DY}),
        (replace(TWO, expect={"gradient of input[0]": "absent"}), (None, DY, None), {"[1]": DY}),
        (replace(TWO, expect={"gradient of input[0]": "absent"}), None, {}),
    ],
)
def test_gradients_of_inputs_are_read_by_the_inputs_names(task, dx, found) -> None:
    tensors = run_numpy(Recorder(dx), task)
    prefix = "gradient of input"
    read = {name.removeprefix(prefix): x for (_, name), x in tensors.items() if prefix in name}
    assert read.keys() == found.keys()
    for name, gradient in found.items():
        np.testing.assert_array_equal(read[name], gradient)


class Lacking(Recorder):
    def gradients(self) -> dict[str, Any]:
        return {"a.b.w": None}


class Raising(Recorder):
    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()
        self.method, self.error = method, error

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.method == "forward":
            raise self.error
        return super().forward(*args, **kwargs)

    def backward(self, dy: Any) -> Any:
        raise self.error


class Broken(MSELoss):
    method = ""

    def forward(self, outputs: Any, targets: Any) -> Any:
        return [][1] if self.method == "forward" else super().forward(outputs, targets)

    def backward(self) -> Any:
        return [][1]


class BrokenForward(Broken):
    method = "forward"


class Silent(MSELoss):
    def backward(self) -> Any:
        return "nothing"


@pytest.mark.parametrize(
    ("side", "task", "kind", "sentence"),
    [
        (
            Recorder("dx"),
            TWO,
            ParityError,
            "Recorder.backward returns one array for 2 floating-point inputs: return a tuple (a "
            "dict, for inputs passed by keyword) with a gradient or None for each input",
        ),
        (
            Recorder(3),
            Task(X, {"": DY}),
            ParityError,
            "Recorder.backward must return an array, and returns an int",
        ),
        (
            Recorder((DY, DY, None)),
            replace(TWO, expect={"gradient of input[1]": "absent"}),
            ParityError,
            "Recorder.backward returns a gradient of input[1], which is expected to be absent: "
            "take it out of expect",
        ),
        (
            Recorder(),
            replace(Task(X, {"": DY}), expect={"gradient of input": "absent"}),
            ParityError,
            "Recorder.backward returns a gradient of input, which is expected to be absent: take "
            "it out of expect",
        ),
        (
            Lacking(),
            Task(X, {"": DY}),
            ParityError,
            "Lacking.gradients() has None for a.b.w, which torch's gradient is to be compared "
            "with: let backward set it",
        ),
        (
            Recorder(),
            Task(X, targets=X, numpy_criterion=Silent()),
            ParityError,
            "Silent.backward must return an array, and returns a str",
        ),
        (
            Recorder(),
            Task(X, targets=X, numpy_criterion=Broken()),
            NumpyError,
            "Broken.backward raised IndexError at test_numpy_runs.py:",
        ),
        (
            Recorder(),
            Task(X, targets=X, numpy_criterion=BrokenForward()),
            NumpyError,
            "BrokenForward.forward raised IndexError at test_numpy_runs.py:",
        ),
        (
            Raising("forward", NotImplementedError("later")),
            Task(X, {"": DY}, train=False),
            NumpyError,
            "Raising.forward raised NotImplementedError at test_numpy_runs.py:",
        ),
        (
            Raising("backward", NotImplementedError("later")),
            Task(X, {"": DY}),
            NumpyError,
            "Raising.backward raised NotImplementedError at test_numpy_runs.py:",
        ),
        (
            Raising("backward", NotImplementedError("later")),
            Task(X, {"": DY}, train=False),
            NoBackwardError,
            "Raising.backward is not implemented in evaluation mode",
        ),
        (
            Raising("backward", KeyError("later")),
            Task(X, {"": DY}, train=False),
            NumpyError,
            "Raising.backward raised KeyError at test_numpy_runs.py:",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(side, task, kind, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        run_numpy(side, task)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(sentence)
    said = str(caught.value).removeprefix(sentence)
    assert not said or "later" in said or "list index out of range" in said


def test_another_task_has_the_same_numbers_in_another_order() -> None:
    inputs = X, np.array([[1, 2], [3, 4]]), np.array([[True], [False]]), np.array(5)
    given = Task(inputs, {"": DY.astype(np.float32)}, targets=np.array([3, 4]), seed=6)
    changed = other(given)
    expected = X[::-1, ::-1], np.array([[3, 4], [1, 2]]), inputs[2], inputs[3]
    for array, before, after in zip(changed.inputs.args, inputs, expected, strict=True):
        np.testing.assert_array_equal(array, after, strict=True)
        assert not np.shares_memory(array, before)
    assert (changed.seed, changed.train) == (7, True)
    assert changed.upstream is not None
    twice = 2 * DY[::-1, ::-1].astype(np.float32)
    np.testing.assert_array_equal(changed.upstream[""], twice, strict=True)
    np.testing.assert_array_equal(changed.targets, [3, 4])
    assert other(Task(X)).targets is None


def test_what_is_fresh_shares_no_memory_and_a_snapshot_neither() -> None:
    task = Task((X, np.array([1])), {"": DY}, targets=np.array([3, 4]), seed=6)
    copy, side = fresh(task), Recorder()
    pairs = [*zip(task.inputs, copy.inputs.args, strict=True), (task.targets, copy.targets)]
    assert task.upstream is not None
    assert copy.upstream is not None
    for before, after in [*pairs, (task.upstream[""], copy.upstream[""])]:
        np.testing.assert_array_equal(before, after, strict=True)
        assert not np.shares_memory(before, after)
    kept = snapshot(side, task)
    names = ["inputs[0]", "inputs[1]", "targets", "upstream gradient"]
    assert list(kept) == [*(("", name) for name in names), ("a.b", "w")]
    values = X, [1], [3, 4], DY, [2.0]
    for value, expected in zip(kept.values(), values, strict=True):
        np.testing.assert_array_equal(value, expected)
    side.w[...] = 9
    assert kept["a.b", "w"] == 2
    assert list(snapshot(side, Task(X))) == [("", "inputs"), ("a.b", "w")]
