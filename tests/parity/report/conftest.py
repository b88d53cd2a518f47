"""One small network measured once, and a network with a planted fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from numpy_models import Conv2d
from parity import networks
from parity.networks import NetworkCase, network_cases
from parity.report.measure import Network, Report, environment, measure

UNIT = next(case for case in network_cases() if case.name == "example_unit")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def right() -> Network:
    """The example unit as it is."""
    return measure(UNIT)


@pytest.fixture(scope="session")
def wrong() -> Network:
    """The example unit with a gradient a thousandth too large in its second convolution."""
    return measure(UNIT, planted(UNIT, "conv2", OffByAThousandth))


@pytest.fixture
def report_of() -> Callable[..., Report]:
    """Make a report of given networks."""

    def make(*networks: Network) -> Report:
        return Report("2026-01-02T03:04:05+00:00", 1.25, environment(), list(networks))

    return make


class OffByAThousandth(Conv2d):
    """The planted fault."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] *= 1.001
        return dx


def planted(case: NetworkCase, layer: str, kind: type):
    """Return a factory of the case's pair with one layer of another class."""

    def factory(**arguments):
        pair = networks.pair(**arguments)
        pair.numpy_network.layers[layer].__class__ = kind
        return pair

    return factory
