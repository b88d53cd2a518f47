"""What a reproduction holds, array by array, and in how few samples; what a file must be like."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from numpy_models import BatchNorm2d, Dropout, Linear, Sequential
from parity import DisagreementError, ParityError, assert_parity, files
from parity.numpy_runs import fresh, run_numpy
from parity.pair import Pair, as_pair, load_factory, load_pair
from parity.reproduction import Reproduction, load, record, replay, save
from parity.runs import run_torch
from parity.transfer import to_numpy

HERE = "tests.parity.test_reproductions"


class Normal(BatchNorm2d):
    """A running mean of the wrong sign."""

    def _track(self, mean, unbiased_variance):
        super()._track(-mean, unbiased_variance)


def normalised(channels: int = 2) -> Pair:
    torch.manual_seed(0)
    images = np.random.default_rng(0).standard_normal((8, channels, 2, 2)).astype(np.float32)
    return Pair(nn.BatchNorm2d(channels), Normal(channels), images, seed=3, vary=False)


class Marked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)

    def forward(self, x: Tensor, mark: Tensor) -> dict[str, Tensor]:
        return {"y": self.line(x), "mark": mark + 1}


class NumpyMarked:
    """Wrong for the samples that are marked."""

    def __init__(self, shown: bool = True) -> None:
        self.line = Linear(2, 2)
        if shown:
            self.layers: dict[str, Any] = {}
        self.buffers, self.gradients = self.line.buffers, self._gradients

    def parameters(self) -> dict[str, np.ndarray]:
        return {f"line.{name}": value for name, value in self.line.parameters().items()}

    def _gradients(self) -> dict[str, np.ndarray]:
        return {f"line.{name}": value for name, value in self.line.gradients().items()}

    def forward(self, x: np.ndarray, mark: np.ndarray) -> dict[str, np.ndarray]:
        y = self.line.forward(x)
        return {"y": y + (mark == 9)[:, None].astype(np.float32), "mark": mark + 1}

    def backward(self, dy: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"x": self.line.backward(dy["y"]), "mark": None}


def marked(*samples: int) -> Pair:
    torch.manual_seed(0)
    mark = np.arange(13) + 20
    mark[list(samples)] = 9
    x = np.random.default_rng(0).standard_normal((13, 2)).astype(np.float32)
    return Pair(Marked(), NumpyMarked(), {"x": x, "mark": mark}, seed=5, train=False, vary=False)


def made_of(pair: Pair, factory: str, **arguments: Any) -> Reproduction:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(pair)
    finding = caught.value.finding
    found = record(finding.setting, caught.value.culprits, f"{HERE}:{factory}", arguments)
    assert found is not None
    return found


def test_both_sides_values_are_those_of_a_run_on_torchs_weights() -> None:
    made = made_of(normalised(3), "normalised", channels=3)
    pair, task = normalised(3), made.task
    setting = pair.setting()
    to_numpy(setting.module, pair.numpy_network)
    for found, expected in (
        (made.numpy_tensors, run_numpy(pair.numpy_network, fresh(task))),
        (made.torch_tensors, run_torch(setting.module, task, torch.float32)),
        (made.weights, {n: x.numpy() for n, x in pair.torch_module.state_dict().items()}),
    ):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, strict=True)
    assert (made.factory, made.arguments, made.layer) == (f"{HERE}:normalised", {"channels": 3}, "")
    assert made.message.startswith("BatchNorm2d, running_mean: worst at [")
    assert made.versions == {"numpy": np.__version__, "torch": torch.__version__}
    comparison, change = replay(made)
    assert [check.tensor for check in comparison.failures] == ["running_mean"]
    assert change == 0
    assert (made.task.seed, made.task.train) == (3, True)


@pytest.mark.parametrize("sample", [0, 5, 6, 12])
def test_the_one_sample_that_fails_is_kept_whatever_its_place(sample, tmp_path) -> None:
    made = made_of(marked(sample), "marked")
    assert made.task.arrays["[mark]"].tolist() == [9]
    np.testing.assert_array_equal(made.task.arrays["[x]"], marked().inputs["x"][[sample]])
    assert made.task.upstream is not None
    assert list(made.task.upstream) == ["[y]"]
    assert made.task.upstream["[y]"].shape == (1, 2)
    path = tmp_path / "made.npz"
    save(made, path)
    again = load(path)
    assert again.task.inputs.keys() == {"x", "mark"}
    assert again.task.upstream is not None
    assert list(again.task.upstream) == ["[y]"]
    assert (again.task.seed, again.task.train, again.task.targets) == (5, False, None)
    assert again.torch_tensors.keys() == made.torch_tensors.keys()
    comparison, change = replay(again)
    assert [check.tensor for check in comparison.failures] == ["output[y]"]
    assert change == 0
    assert comparison.network == "Marked"


def test_what_no_longer_fits_is_one_sentence() -> None:
    made = made_of(marked(3), "marked")
    for wrong, sentence in (
        (
            replace(made, task=replace(made.task, inputs=np.zeros((1, 2), np.float32))),
            f"{HERE}:marked now gives float32 2-d, int64 1-d inputs and float32 2-d ones were "
            "recorded",
        ),
        (replace(made, layer="other"), "Marked has no layer other any more"),
        (
            replace(made, weights={}),
            "the recorded weights and task no longer fit: Error(s) in loading state_dict for "
            "Marked: Missing key(s) in state_dict: ",
        ),
        (
            replace(made, task=made.task.with_arrays(lambda _, x: x[..., :1])),
            "torch's Marked cannot run on inputs of shape (1, 1), (1,)",
        ),
    ):
        with pytest.raises(ParityError) as caught:
            replay(wrong)
        assert str(caught.value).startswith(sentence)


class Crowded(Linear):
    """Wrong for three samples and more."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return super().forward(x) + np.float32(len(x) > 2)


def crowded() -> Pair:
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((13, 2)).astype(np.float32)
    return Pair(nn.Linear(2, 2), Crowded(2, 2), x, vary=False)


def test_no_sample_is_left_out_without_which_it_agrees() -> None:
    made = made_of(crowded(), "crowded")
    np.testing.assert_array_equal(made.task.arrays[""], crowded().inputs[:3])
    with pytest.raises(DisagreementError) as caught:
        assert_parity(crowded())
    finding = caught.value.finding
    assert record(finding.setting, caught.value.culprits, "nowhere:pair") is None


class Worn(Linear):
    """Wrong until it has run a while: what is tried must not wear out what is recorded."""

    calls = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().forward(x) + np.float32(self.calls < 5)


def worn() -> Pair:
    return replace(crowded(), numpy_network=Worn(2, 2))


def test_every_trial_is_made_on_a_copy() -> None:
    assert len(made_of(worn(), "worn").task.arrays[""]) == 1


class Fleeting(Linear):
    """Wrong for the first calls of all, whichever network makes them."""

    calls = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        Fleeting.calls += 1
        return super().forward(x) + np.float32(Fleeting.calls < 4)


def test_a_failure_that_does_not_come_back_is_not_recorded() -> None:
    whole = replace(crowded(), numpy_network=Fleeting(2, 2))
    pair = replace(whole, inputs=whole.inputs[:1])
    assert record(pair.setting(), [], f"{HERE}:crowded") is None
    assert Fleeting.calls > 3


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop, self.line = nn.Dropout(0.5), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.drop(x))


def dropping() -> Pair:
    torch.manual_seed(0)
    network = Sequential(drop=Dropout(0.5), line=Crowded(2, 2))
    network.forward = lambda x: network.layers["line"].forward(network.layers["drop"].forward(x))
    return replace(crowded(), torch_module=Dropping(), numpy_network=network, seed=4)


def test_masks_are_drawn_again_by_the_recorded_seed() -> None:
    task = dropping().setting(True).task
    tensors = run_torch(dropping().torch_module, replace(task, seed=9), torch.float32)
    weights = {n: x.numpy() for n, x in dropping().torch_module.state_dict().items()}
    made = Reproduction(
        f"{HERE}:dropping", {}, "", "", replace(task, seed=9), weights, tensors, {}, {}
    )
    comparison, change = replay(made)
    assert change == 0
    assert [check.tensor for check in comparison.failures] == ["output"]
    assert replay(replace(made, task=task))[1] > 0


def test_a_failure_that_nobody_can_repeat_is_not_recorded() -> None:
    pair = marked(3)
    right = replace(pair.setting(), network=marked().numpy_network)
    fine = {"x": pair.inputs["x"], "mark": pair.inputs["mark"] * 0}
    right = replace(right, task=replace(right.task, inputs=fine))
    assert record(right, [], f"{HERE}:marked") is None


def test_files_are_read_up_to_a_bound_and_no_further(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file.npz"
    arrays = {
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 4), np.float32),
        "flag": np.array(True),
        "text": np.array("text"),
    }
    np.savez(path, **arrays)
    read = files.read_arrays(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
        assert read[name].flags.writeable
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        inside = sum(member.file_size for member in archive.infolist())
    assert inside < size
    for bound, words in ((size, None), (size - 1, f"the limit of {size - 1:,} bytes")):
        monkeypatch.setattr(files, "MAX_BYTES", bound)
        refusal(path, words)
    np.savez_compressed(path, zeros=np.zeros(10_000))
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
    assert path.stat().st_size < member.file_size
    for bound, words in (
        (member.file_size, None),
        (member.file_size - 1, f"it holds more than the limit of {member.file_size - 1:,} bytes"),
    ):
        monkeypatch.setattr(files, "MAX_BYTES", bound)
        refusal(path, words)
    np.savez(path, **arrays)
    monkeypatch.setattr(files, "MAX_BYTES", 2**30)
    for most, words in ((4, None), (3, "it holds more than 3 arrays")):
        monkeypatch.setattr(files, "MAX_ARRAYS", most)
        refusal(path, words)


def refusal(path: Path, words: str | None) -> None:
    if words is None:
        files.read_arrays(path)
        return
    with pytest.raises(ValueError, match=words):
        files.read_arrays(path)


def test_what_is_no_array_of_numbers_or_text_is_refused(tmp_path) -> None:
    path = tmp_path / "file.npz"
    for array, words in (
        (np.zeros(3, complex), "it has an array of complex128"),
        (np.array([{}], dtype=object), "Object arrays cannot be loaded when allow_pickle=False"),
    ):
        np.savez(path, x=array)
        refusal(path, words)


def test_a_place_to_write_is_tried_and_left_as_it_was(tmp_path) -> None:
    path = tmp_path / "deep" / "folder"
    files.make_folder(path)
    files.make_folder(path)
    assert stat.S_ISDIR(path.stat().st_mode)
    files.check_writable(path / "new.npz")
    assert list(path.iterdir()) == []
    with pytest.raises(ParityError) as caught:
        files.check_writable(path)
    assert str(caught.value) == f"cannot write {path}: it is a folder"
    with pytest.raises(ParityError) as caught:
        files.check_writable(path / "none" / "new.npz")
    assert str(caught.value) == f"cannot write {path}/none/new.npz: No such file or directory"
    files.write(path / "new.npz", b"one")
    files.write(path / "new.npz", b"two")
    assert [(each.name, each.read_bytes()) for each in path.iterdir()] == [("new.npz", b"two")]
    with pytest.raises(ParityError) as caught:
        files.make_folder(path / "new.npz")
    assert str(caught.value) == f"cannot write {path}/new.npz: File exists"


def test_a_pair_is_a_tuple_a_dict_or_itself() -> None:
    module, network, x = nn.Linear(1, 1), Linear(1, 1), np.zeros((1, 1), np.float32)
    pair = as_pair((module, network, x), "me")
    assert (pair.torch_module, pair.numpy_network, pair.seed, pair.vary) == (
        module,
        network,
        0,
        True,
    )
    assert as_pair(pair, "me") is pair
    assert as_pair({"torch_module": module, "numpy_network": network, "inputs": x}, "me") == pair
    assert Pair.of(pair, seed=4).seed == 4
    assert Pair.of(module, network, x, train=False).modes == [False]
    assert pair.modes == [True, False]
    assert replace(pair, train=False).setting().task.train is False
    assert pair.setting().task.train is True
    assert pair.setting(False).task.train is False
    named = replace(pair, name="mine").setting()
    assert (named.name, pair.setting().name) == ("mine", "Linear")


NAMES = (
    "torch_module, numpy_network, inputs, targets, torch_criterion, numpy_criterion, layers, "
    "names, train, seed, name, vary, expect, precision"
)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            (1, 2),
            "me must return (torch_module, numpy_network, inputs) or a dict, and returned a tuple "
            "of 2",
        ),
        (3, "me must return (torch_module, numpy_network, inputs) or a dict, and returned an int"),
        (
            {"inputs": 1},
            f"the dict me returned has no torch_module, numpy_network; its names are {NAMES}",
        ),
        (
            {"torch_module": 1, "numpy_network": 1, "inputs": 1, "z": 1, "a": 1},
            f"the dict me returned has unknown a, z; its names are {NAMES}",
        ),
    ],
)
def test_what_is_no_pair_is_told_its_names(made, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        as_pair(made, "me")
    assert str(caught.value) == sentence


def refusing() -> None:
    raise ParityError("not today")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("a.b", "'a.b' names no factory: write package.module:factory"),
        (":b", "':b' names no factory: write package.module:factory"),
        ("a:", "'a:' names no factory: write package.module:factory"),
        (
            "nowhere.at_all:f",
            "cannot import nowhere.at_all: there is no module nowhere; run from the folder that "
            "holds it, or set PYTHONPATH",
        ),
        (f"{HERE}:HERE", f"HERE is not callable: {HERE}:HERE must name a function"),
        (f"{HERE}:no", f"no is not in {HERE}: {HERE}:no must name a function"),
        (f"{HERE}:refusing", "not today"),
        (f"{HERE}:a:b", f"a:b is not in {HERE}: {HERE}:a:b must name a function"),
        (f"{HERE}:refusal", f"{HERE}:refusal raised TypeError: refusal() missing 2 required"),
    ],
)
def test_what_is_no_factory_is_told(spec, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        load_pair(spec)
    assert str(caught.value).startswith(sentence)
    assert callable(load_factory(f"{HERE}:marked"))


class Mixed(Linear):
    def __init__(self) -> None:
        super().__init__(1, 1)

    def parameters(self) -> dict[str, np.ndarray]:
        return {"w": np.ones(1), "n": np.ones(1, int), "b": np.ones(1, np.float32)}


X32, X64 = np.ones((2, 1), np.float32), np.ones((2, 1))


@pytest.mark.parametrize(
    ("network", "inputs", "sentence"),
    [
        (Linear(1, 1), X64, "inputs are float64 but NumPy's weight is float32: give inputs and "),
        (Linear(1, 1), (X32, X64), "inputs[0] are float32 but inputs[1] is float64: give inputs "),
        (
            Mixed(),
            np.array([[1]]),
            "NumPy's w is float64 but NumPy's b is float32: give inputs and",
        ),
        (Linear(1, 1), X32[:0], "inputs of shape (0, 1) hold no sample: give at least one"),
        (Linear(1, 1), (X32, X32[:0]), "inputs[1] of shape (0, 1) hold no sample: give at least"),
        (Linear(1, 1), np.array(1, np.float32), "inputs of shape () hold no sample"),
        (Linear(1, 1), "text", "inputs must be a float32 or float64 array or tensor, not a str"),
        (Linear(1, 1), X32 * 1j, "inputs must be a float32 or float64 array or tensor, not compl"),
        (Linear(1, 1), X32 * np.nan, "inputs hold no finite number, so nothing would be compared"),
        (Sequential(Linear(1, 1)).to(np.float64), np.array([[1]]), "torch's Linear cannot run on"),
    ],
)
def test_inputs_that_cannot_be_compared_on(network, inputs, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        Pair(nn.Linear(1, 1), network, inputs).setting()
    assert str(caught.value).startswith(sentence)


class Takes(nn.Linear):
    def forward(self, x: Tensor, _: None) -> Tensor:
        return super().forward(x)


def test_why_there_is_nothing_to_go_back_for() -> None:
    table = nn.Embedding(3, 1)
    pair = Pair(table, Linear(1, 1), np.array([0, 2]), names={"weight": "weight"})
    assert pair._forward_only() == ""
    table.weight.requires_grad_(False)
    assert pair._forward_only() == "there is nothing to take a gradient of"
    assert replace(pair, inputs=X32)._forward_only() == ""


def test_tensors_are_arrays_from_the_start() -> None:
    pair = Pair(nn.Linear(1, 1), Linear(1, 1), {"x": torch.ones(2, 1)}, targets=torch.ones(2))
    for array in (pair.inputs["x"], pair.targets):
        assert type(array) is np.ndarray


def test_an_argument_may_be_none() -> None:
    setting = Pair(Takes(1, 1), Linear(1, 1), (X32, None)).setting()
    assert setting.task.forward_only == ""
    assert setting.task.inputs[1] is None


def test_a_loss_on_one_side_only_is_told() -> None:
    for losses in ({"torch_criterion": nn.MSELoss()}, {"numpy_criterion": object()}):
        with pytest.raises(ParityError) as caught:
            Pair(nn.Linear(1, 1), Linear(1, 1), X32, **losses).setting()
        assert str(caught.value) == (
            "a loss is needed on both sides: torch_criterion and numpy_criterion"
        )
    with pytest.raises(ParityError, match="no precision 'fp8'"):
        Pair(nn.Linear(1, 1), Linear(1, 1), X32, precision="fp8").setting()
    task = Pair(nn.Linear(1, 1), Linear(1, 1), X32, precision="tf32", seed=8).setting().task
    assert (task.format, task.seed, task.dtype) == ("tf32", 8, np.float32)
