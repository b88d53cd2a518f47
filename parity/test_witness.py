"""Both sides against the reports: layer order, kinds, output shapes, parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity.witness import Row, Witness, witnesses


def torch_rows(network: nn.Module, shape: tuple[int, ...]) -> list[Row]:
    """Return the layers in the order in which a forward pass calls them."""
    names = {layer: name for name, layer in network.named_modules() if name}
    rows: list[Row] = []

    def record(layer: nn.Module, _: tuple, y: torch.Tensor) -> None:
        count = sum(p.numel() for p in layer.parameters())
        rows.append(Row(names[layer], type(layer).__name__, tuple(y.shape[1:]), count))

    for layer in names:
        layer.register_forward_hook(record)
    with torch.no_grad():
        network(torch.zeros(2, *shape))
    return rows


@pytest.mark.parametrize("witness", witnesses(), ids=lambda w: w.title)
def test_torch(witness: Witness) -> None:
    network = torch_models.build(witness.network, **witness.arguments)
    assert torch_rows(network, witness.input) == witness.layers
    assert sum(p.numel() for p in network.parameters()) == witness.parameters


@pytest.mark.parametrize("witness", witnesses(), ids=lambda w: w.title)
def test_numpy(witness: Witness) -> None:
    network = numpy_models.build(witness.network, **witness.arguments)
    rows = [
        Row(name, type(layer).__name__, tuple(shape), layer.flat_parameters.size)
        for name, layer, shape in network.output_shapes(witness.input)
    ]
    assert rows == witness.layers
    assert sum(p.size for p in network.parameters().values()) == witness.parameters


@pytest.mark.parametrize("witness", witnesses(), ids=lambda w: w.title)
def test_the_witness_adds_up(witness: Witness) -> None:
    assert sum(row.parameters for row in witness.layers) == witness.parameters


def test_both_sides_know_the_same_networks() -> None:
    assert {w.network for w in witnesses()} <= set(torch_models.names())
    for name in torch_models.names():
        ours, theirs = torch_models.build(name), numpy_models.build(name)
        assert type(ours).__name__ == type(theirs).__name__
        assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("package", [torch_models, numpy_models])
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lenet6", {}, "lenet5_relu"),
        ("deepcnn21", {"deph": 5}, "depth"),
        ("deepcnn21", {"depth": 3}, "3"),
        ("lenet5_relu", {"ties": "last"}, "last"),
        ("../setup", {}, "lenet5_relu"),
    ],
)
def test_a_wrong_name_or_argument_is_told_the_right_ones(package, name, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        package.build(name, **arguments)
