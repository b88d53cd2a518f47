"""Networks of one kind as one function: their parameters stacked along a leading axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from training.torch_backend.masks import StackedMasks


class StackedNetworks:
    """Maps inputs (networks, N, 1, H, W) to logits (networks, N, 10).

    Args:
        nets: the networks, which are copied.
        masks: the numbers of their dropout layers.

    Attributes:
        parameters: by name, (networks, ...), leaves of the computation.
        buffers: the same of batch normalisation's statistics.
    """

    def __init__(self, nets: Sequence[nn.Module], masks: StackedMasks) -> None:
        self._net, self._masks = nets[0], masks
        self.parameters, self.buffers = stack_module_state(list(nets))
        self._names = list(self._net.state_dict())

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the logits in training mode."""
        self._net.train()
        masks = self._masks.buffers(inputs.shape[1])
        return vmap(self._train)(self.parameters, self.buffers, masks, inputs)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return all networks' logits (networks, N, 10) for the same inputs (N, 1, H, W)."""
        self._net.eval()
        return vmap(self._call, (0, 0, None))(self.parameters, self.buffers, inputs)

    def state_dict(self, row: int) -> dict[str, Tensor]:
        """Return one network's parameters and buffers, as views."""
        stacked = self.parameters | self.buffers
        return {name: stacked[name].detach()[row] for name in self._names}

    def parts(self, rows: Sequence[slice]) -> list[list[nn.Parameter]]:
        """Return parameters for optimizers: the networks' in each slice, in the same memory.

        A backward pass gives them their parts of the gradients and leaves the stacked parameters
        without any.
        """
        parts: list[list[nn.Parameter]] = [[] for _ in rows]
        for stacked in self.parameters.values():
            views = [nn.Parameter(stacked.detach()[part]) for part in rows]
            for part, view in zip(parts, views, strict=True):
                part.append(view)

            def share(whole: Tensor, views: list[nn.Parameter] = views) -> None:
                assert whole.grad is not None
                for view, part in zip(views, rows, strict=True):
                    view.grad = whole.grad[part]
                whole.grad = None

            stacked.register_post_accumulate_grad_hook(share)
        return parts

    def _train(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        masks: list[Tensor],
        inputs: Tensor,
    ) -> Tensor:
        self._masks.feed(masks)
        return self._call(parameters, buffers, inputs)

    def _call(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor
    ) -> Tensor:
        return functional_call(self._net, (parameters, buffers), (inputs,))
