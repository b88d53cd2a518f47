"""Batch normalisation over parts of a batch is batch normalisation over the batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402

from training.backends.torch.batch_norm import SyncBatchNorm2d, convert_batchnorm  # noqa: E402

PARTS = {"even": (4, 4), "uneven": (5, 3), "an-empty-part": (3, 0), "one-image": (0, 1, 0)}


class Team:
    """Threads in the place of processes: each in turn with the others, in the same order."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._barrier = threading.Barrier(count, timeout=30)
        self._given: list[Tensor] = []

    def total(self, part: Tensor) -> Tensor:
        if self._barrier.wait() == 0:
            self._given = []
        self._barrier.wait()
        self._given.append(part)
        self._barrier.wait()
        return torch.stack(self._given).sum(0)

    def run(self, work: Callable[[int], None]) -> None:
        errors: list[BaseException] = []

        def guarded(rank: int) -> None:
            try:
                work(rank)
            except BaseException as error:
                errors.append(error)
                self._barrier.abort()

        threads = [threading.Thread(target=guarded, args=(rank,)) for rank in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def network(momentum: float | None = 0.1, affine: bool = True) -> nn.Sequential:
    norm = nn.BatchNorm2d(3, eps=1e-3, momentum=momentum, affine=affine).double()
    if affine:
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            norm.weight.copy_(torch.randn(3, generator=generator))
            norm.bias.copy_(torch.randn(3, generator=generator))
    return nn.Sequential(norm, nn.Tanh())


def step(net: nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = net(x)
    (y * upstream).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad


def batches(sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    shape = (sum(sizes), 3, 4, 5)
    return [
        tuple(torch.randn(shape, generator=generator, dtype=torch.float64) + 2 for _ in range(2))
        for _ in range(3)
    ]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("sizes", PARTS.values(), ids=PARTS)
def test_synchronised_is_the_whole_batch(sizes, affine, momentum):
    whole = network(momentum, affine)
    expected = [step(whole, x, upstream) for x, upstream in batches(sizes)]
    team, nets, found = Team(len(sizes)), [], {}
    for _ in sizes:
        net = network(momentum, affine)
        convert_batchnorm(net, team.total)
        assert type(net[0]) is SyncBatchNorm2d
        nets.append(net)

    def work(rank: int) -> None:
        found[rank] = [
            step(nets[rank], x.split(sizes)[rank], upstream.split(sizes)[rank])
            for x, upstream in batches(sizes)
        ]

    team.run(work)
    for number, (y, gradient) in enumerate(expected):
        parts = [found[rank][number] for rank in range(len(sizes))]
        torch.testing.assert_close(torch.cat([part[0] for part in parts]), y)
        torch.testing.assert_close(torch.cat([part[1] for part in parts]), gradient)
    for net in nets:
        for name, buffer in whole.named_buffers():
            torch.testing.assert_close(net.get_buffer(name), buffer, msg=name)
    for name, parameter in whole.named_parameters():
        gradients = [net.get_parameter(name).grad for net in nets]
        torch.testing.assert_close(torch.stack(gradients).sum(0), parameter.grad, msg=name)
    x = batches((6,))[0][0]
    torch.testing.assert_close(nets[-1].eval()(x), whole.eval()(x))


def test_a_conversion_keeps_names_and_objects():
    net = nn.ModuleDict({"inner": network().eval(), "other": nn.Conv2d(1, 3, 1)})
    before = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    convert_batchnorm(net, lambda part: part)
    after = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    assert list(before) == list(after)
    assert all(after[name] is tensor for name, tensor in before.items())
    norm = net["inner"][0]
    assert (norm.eps, norm.momentum, norm.training) == (1e-3, 0.1, False)


def test_half_precision_keeps_statistics_in_single():
    net = network().float()
    convert_batchnorm(net, lambda part: part)
    whole = network().float()
    x = batches((4,))[0][0].bfloat16()
    assert net(x).dtype == torch.bfloat16
    whole(x.float())
    torch.testing.assert_close(net[0].running_var, whole[0].running_var)


def test_two_values_of_a_channel_have_a_variance():
    """The running variance is divided by one less; of a single value it is nothing."""
    whole, net = network(), network()
    convert_batchnorm(net, lambda part: part)
    x = torch.tensor([1.0, 3.0]).double().view(2, 1, 1, 1).expand(2, 3, 1, 1)
    for each in (whole, net):
        each(x)
    torch.testing.assert_close(net[0].running_var, whole[0].running_var)
    before, kept = net[0].running_var.clone(), 1 - net[0].momentum
    net(x[:1])
    torch.testing.assert_close(net[0].running_var, kept * before)
