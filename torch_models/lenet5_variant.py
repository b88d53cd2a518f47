"""``lenet5_tanh`` with report R1's future work: ReLU or SiLU, batch norm, residual connections.

Assumed, because the report only names them: batch normalisation comes between each convolution and
its activation; no layer of LeNet-5 keeps its input's shape, so a residual connection is an extra
3×3 convolution with a shortcut around it, after each pooling's activation. With its defaults the
network is ``lenet5_tanh``, except for the activations' names.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from torch_models.residual import Residual

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


class LeNet5Variant(nn.Module):
    """Map images (N, 1, 32, 32) to logits (N, 10).

    Args:
        activation: "tanh" (the report's), "relu" or "silu".
        batch_norm: whether each convolution is followed by batch normalisation.
        residual: whether a residual convolution follows each pooling.

    Raises:
        ValueError: for another activation.
    """

    def __init__(
        self,
        activation: Literal["tanh", "relu", "silu"] = "tanh",
        batch_norm: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ValueError(f"LeNet5Variant: activation is one of {known}, not {activation!r}")
        act = _ACTIVATIONS[activation]
        self.c1 = nn.Conv2d(1, 6, 5)
        self.bn1 = nn.BatchNorm2d(6) if batch_norm else None
        self.act1 = act()
        self.s2 = nn.AvgPool2d(2)
        self.act2 = act()
        self.res2 = Residual(nn.Conv2d(6, 6, 3, padding=1)) if residual else None
        self.c3 = nn.Conv2d(6, 16, 5)
        self.bn3 = nn.BatchNorm2d(16) if batch_norm else None
        self.act3 = act()
        self.s4 = nn.AvgPool2d(2)
        self.act4 = act()
        self.res4 = Residual(nn.Conv2d(16, 16, 3, padding=1)) if residual else None
        self.c5 = nn.Conv2d(16, 120, 5)
        self.bn5 = nn.BatchNorm2d(120) if batch_norm else None
        self.act5 = act()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.act6 = act()
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 32, 32)
        """Return the logits, (N, 10)."""
        x = self.act1(_through(self.bn1, self.c1(x)))  # (N, 6, 28, 28)
        x = self.act2(self.s2(x))  # (N, 6, 14, 14)
        x = _through(self.res2, x)  # (N, 6, 14, 14)
        x = self.act3(_through(self.bn3, self.c3(x)))  # (N, 16, 10, 10)
        x = self.act4(self.s4(x))  # (N, 16, 5, 5)
        x = _through(self.res4, x)  # (N, 16, 5, 5)
        x = self.act5(_through(self.bn5, self.c5(x)))  # (N, 120, 1, 1)
        x = self.flatten(x)  # (N, 120)
        x = self.act6(self.f6(x))  # (N, 84)
        return self.out(x)  # (N, 10)


def _through(layer: nn.Module | None, x: Tensor) -> Tensor:
    return x if layer is None else layer(x)
