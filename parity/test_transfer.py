"""Weight transfer: identity on names, strict, copying, both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from numpy_models import BatchNorm2d, Conv2d, Linear, Sequential
from parity import ParityError, to_numpy, to_torch
from parity.networks import NetworkCase, network_cases


@pytest.mark.parametrize("case", network_cases(), ids=str)
def test_there_and_back(case: NetworkCase) -> None:
    module = torch_models.build(case.name, **case.arguments)
    network = numpy_models.build(case.name, **case.arguments)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.add_(torch.randn(tensor.shape).mul(9).to(tensor.dtype))
    to_numpy(module, network)
    expected = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    state = network.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
        assert state[name].dtype == value.dtype
    other = torch_models.build(case.name, **case.arguments)
    to_torch(network, other)
    for name, tensor in other.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name], err_msg=name)


def test_nothing_is_shared() -> None:
    module, network = nn.Sequential(nn.Linear(3, 2)), Sequential(Linear(3, 2))
    to_numpy(module, network)
    before = network.state_dict()
    with torch.no_grad():
        module.get_parameter("0.weight").fill_(7)
    np.testing.assert_array_equal(network.parameters()["0.weight"], before["0.weight"])
    to_torch(network, module)
    network.parameters()["0.weight"][...] = 5
    np.testing.assert_array_equal(module.state_dict()["0.weight"].numpy(), before["0.weight"])


@pytest.mark.parametrize(
    ("module", "network", "message"),
    [
        (nn.Linear(3, 2, bias=False), Linear(3, 2), "0.bias is only in NumPy"),
        (nn.Linear(3, 2), Linear(3, 2, bias=False), "0.bias is only in torch"),
        (
            nn.Conv2d(1, 2, 3),
            Conv2d(1, 2, 5),
            r"0.weight has shape \(2, 1, 3, 3\) in torch and \(2, 1, 5, 5\) in NumPy",
        ),
        (nn.Linear(3, 2).double(), Linear(3, 2), "0.weight has dtype float64 in torch and float32"),
        (
            nn.BatchNorm2d(2, track_running_stats=False),
            BatchNorm2d(2),
            "0.running_mean is only in NumPy",
        ),
    ],
)
def test_a_mismatch_is_one_sentence_and_moves_nothing(module, network, message) -> None:
    module, network = nn.Sequential(module), Sequential(network)
    left = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    right = network.state_dict()
    for transfer, pair in ((to_numpy, (module, network)), (to_torch, (network, module))):
        with pytest.raises(ParityError, match=message) as caught:
            transfer(*pair)
        assert "\n" not in str(caught.value)
        assert "torch's Sequential and NumPy's Sequential do not match" in str(caught.value)
    assert all(torch.equal(left[name], t) for name, t in module.state_dict().items())
    assert all(np.array_equal(right[name], a) for name, a in network.state_dict().items())
