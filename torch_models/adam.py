"""Adam (Kingma and Ba, 2015) with ε in each of the three places the reports put it.

With m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) and the step counted from t = 1:

* ``torch``: θ −= lr·m̂/(√v̂ + ε), as ``torch.optim.Adam``;
* ``uncorrected``: θ −= α_t·m/(√v + ε) with α_t = lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ), report R0;
* ``inside_root``: θ −= lr·m̂/√(v̂ + ε), report R3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

EpsMode = Literal["torch", "uncorrected", "inside_root"]


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` with a choice of where ε is added; all modes have the same state names.

    Args:
        params: parameters or parameter groups, as for ``torch.optim.Adam``.
        lr: learning rate (a tensor when capturable).
        betas: decay of the first and second moment.
        eps: the constant ε.
        weight_decay: L2 penalty added to the gradient.
        eps_mode: "torch", "uncorrected" or "inside_root" (see the module's docstring).
        capturable: keep the step count on the device so that a CUDA graph can capture the step.
        fused: torch's fused kernel; only for eps_mode "torch".

    Raises:
        ValueError: if eps_mode is unknown, or fused is requested with a mode other than "torch".
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        eps_mode: EpsMode = "torch",
        capturable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if eps_mode not in ("torch", "uncorrected", "inside_root"):
            raise ValueError(
                f'Adam\'s eps_mode is "torch", "uncorrected" or "inside_root", not {eps_mode!r}'
            )
        if fused and eps_mode != "torch":
            raise ValueError(f'fused=True needs eps_mode="torch", not {eps_mode!r}')
        options: dict[str, Any] = {"capturable": capturable, "fused": fused}
        super().__init__(params, lr, betas, eps, weight_decay, **options)
        self.eps_mode = eps_mode

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return the closure's loss, if any."""
        if self.eps_mode == "torch":
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        grads = [p.grad for p in params]
        for p in params:
            self._start(p, group["capturable"])
        m = [self.state[p]["exp_avg"] for p in params]
        v = [self.state[p]["exp_avg_sq"] for p in params]
        steps = [self.state[p]["step"] for p in params]
        beta1, beta2 = group["betas"]

        torch._foreach_add_(steps, 1)
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)

        t = torch.stack(steps).double()
        rates, correction2 = group["lr"] / (1 - beta1**t), 1 - beta2**t
        if self.eps_mode == "uncorrected":
            rates = rates * correction2.sqrt()
            denominators = torch._foreach_sqrt(v)
            torch._foreach_add_(denominators, group["eps"])
        else:
            denominators = torch._foreach_div(v, self._each(correction2, group))
            torch._foreach_add_(denominators, group["eps"])
            torch._foreach_sqrt_(denominators)
        updates = torch._foreach_div(m, denominators)
        torch._foreach_mul_(updates, self._each(rates, group))
        torch._foreach_sub_(params, updates)

    @staticmethod
    def _each(values: Tensor, group: dict[str, Any]) -> Any:
        """Return a number for each parameter, without waiting for a device if capturable."""
        return values.unbind() if group["capturable"] else values.tolist()

    def _start(self, p: Tensor, capturable: bool) -> None:
        """Give a parameter its state at its first step, laid out as torch.optim.Adam does."""
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros((), device=p.device if capturable else "cpu")
            state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
