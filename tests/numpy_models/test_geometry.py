"""Any geometry, any numbers: fast paths, general paths and torch agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numpy_models import AvgPool2d, Conv2d, MaxPool2d, Sequential

pytestmark = pytest.mark.kernels

hypothesis = pytest.importorskip("hypothesis", reason="pip install -e '.[dev]' brings hypothesis")
st = hypothesis.strategies

pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan]


@st.composite
def images(draw) -> np.ndarray:
    """Batches with ties (few distinct values) and sometimes a few non-finite numbers."""
    shape = tuple(draw(st.integers(1, n)) for n in (4, 3, 9, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-2, 3, shape).astype(np.float64) / draw(st.sampled_from([1, 3]))
    for value in draw(st.lists(st.sampled_from(SPECIAL), max_size=2)):
        x.flat[rng.integers(x.size)] = value
    return x


def torch_result(module: torch.nn.Module, x: np.ndarray, seed: int) -> list[np.ndarray] | None:
    """Output, input gradient and parameter gradients, or None where torch refuses the input."""
    given = torch.from_numpy(x).requires_grad_()
    try:
        y = module.double()(given)
    except RuntimeError:
        return None
    y.backward(torch.from_numpy(upstream(y.shape, seed)))
    return [y.detach().numpy(), given.grad.numpy(), *(p.grad.numpy() for p in module.parameters())]


def numpy_result(net: Sequential, x: np.ndarray, seed: int) -> list[np.ndarray]:
    y = net(x)
    dx = net.backward(upstream(y.shape, seed))
    return [y, dx, *(g.copy() for g in net.gradients().values())]


def upstream(shape, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(tuple(shape))


def assert_same(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def check(layer, general: str, module: torch.nn.Module, x: np.ndarray, seed: int) -> None:
    """``layer`` against torch, and with its fast path off against itself."""
    expected = torch_result(module, x, seed)
    paths = [layer, layer.copy()]
    setattr(paths[1], general, lambda: False)
    for path in paths:
        net = Sequential(path).to(np.float64)
        if net.parameters():
            net.load_state_dict({f"0.{k}": v.numpy() for k, v in module.state_dict().items()})
        if expected is None:
            with pytest.raises(ValueError, match="empty output"):
                net(x)
        else:
            assert_same(numpy_result(net, x, seed), expected)
            narrow = numpy_result(net.to(np.float32), x.astype(np.float32), seed)
            assert {array.dtype for array in narrow} == {np.dtype(np.float32)}


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    images(), st.integers(1, 3), pair, pair, st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_convolution(x, filters, kernel, stride, padding, bias, seed) -> None:
    stride = (1, 1) if seed % 2 else stride
    module = torch.nn.Conv2d(x.shape[1], filters, kernel, stride, padding, bias=bias)
    layer = Conv2d(x.shape[1], filters, kernel, stride, padding, bias)
    check(layer, "_by_row_windows", module, x, seed)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(images(), pair, st.none() | pair, st.data(), st.booleans(), st.integers(0, 99))
def test_max_pooling(x, kernel, stride, data, ceil_mode, seed) -> None:
    padding = data.draw(st.tuples(*(st.integers(0, k // 2) for k in kernel)))
    module = torch.nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    check(MaxPool2d(kernel, stride, padding, ceil_mode), "_tiles", module, x, seed)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    images(), pair, st.none() | pair, st.data(), st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_average_pooling(x, kernel, stride, data, ceil_mode, include, seed) -> None:
    padding = data.draw(st.tuples(*(st.integers(0, k // 2) for k in kernel)))
    module = torch.nn.AvgPool2d(kernel, stride, padding, ceil_mode, include)
    check(AvgPool2d(kernel, stride, padding, ceil_mode, include), "_tiles", module, x, seed)
