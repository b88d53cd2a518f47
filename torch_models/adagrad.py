"""Adagrad (Duchi, Hazan and Singer, 2011) in a form that a CUDA graph can capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Adagrad(torch.optim.Adagrad):
    """``torch.optim.Adagrad`` with its rate and step counts on the parameters' device.

    torch's own counts its steps on the host, outside the graph. With gₜ the gradient plus
    weight_decay·θ: s += gₜ², θ −= lr/(1 + (t − 1)·lr_decay)·gₜ/(√s + ε).

    Args:
        params: parameters or parameter groups, as for ``torch.optim.Adagrad``.
        lr: learning rate, a tensor on the parameters' device so that it can change in a graph.
        lr_decay: decay of the rate with the step count t.
        weight_decay: L2 penalty added to the gradient.
        initial_accumulator_value: the initial s.
        eps: the constant ε.

    Raises:
        ValueError: as ``torch.optim.Adagrad``.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(params, lr, lr_decay, weight_decay, initial_accumulator_value, eps)
        self._move_steps()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of this class or of ``torch.optim.Adagrad``."""
        super().load_state_dict(state_dict)
        self._move_steps()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        grads = [p.grad for p in params]
        sums = [self.state[p]["sum"] for p in params]
        steps = [self.state[p]["step"] for p in params]

        torch._foreach_add_(steps, 1)
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        torch._foreach_addcmul_(sums, grads, grads, value=1)
        denominators = torch._foreach_sqrt(sums)
        torch._foreach_add_(denominators, group["eps"])
        rate: Any = -group["lr"]
        if group["lr_decay"]:
            counts = torch.stack(steps).double()
            rate = (rate / (1 + (counts - 1) * group["lr_decay"])).unbind()
        torch._foreach_addcdiv_(params, torch._foreach_mul(grads, rate), denominators)

    def _move_steps(self) -> None:
        for p, state in self.state.items():
            state["step"] = state["step"].to(p.device)
