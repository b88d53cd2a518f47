"""Another torch module: compiled, quantised, in channels_last, under autocast, on a device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import trees

_HALVES = (torch.bfloat16, torch.float16)


class TorchModule:
    """A torch module as the side under test.

    Args:
        module: any module with the trusted one's parameters, or others by ``names=``; a copy of it
            is run. What `torch.compile` returns may be one.
        device: where it runs.
        autocast: torch.bfloat16 or torch.float16 to run under `torch.autocast`.
        memory_format: of inputs with four axes and of the module, torch.channels_last for example.
        frozen: it keeps its own weights, as a quantised module must; it is judged forward only.

    A module of 16-bit parameters takes and gives float32: NumPy has no bfloat16.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        device: str | torch.device = "cpu",
        autocast: torch.dtype | None = None,
        memory_format: torch.memory_format | None = None,
        frozen: bool = False,
    ) -> None:
        moved: dict[str, Any] = {"device": device}
        if memory_format is not None:
            moved["memory_format"] = memory_format
        self.module = copy.deepcopy(module).to(**moved)
        self.device, self.autocast, self.frozen = torch.device(device), autocast, frozen
        self.memory_format = memory_format
        self._whole = True
        self._inputs: Any = None
        self._outputs: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the module's output as arrays and keep its graph."""
        self._inputs = trees.mapped(self._tensor, trees.Call(args, kwargs), np.ndarray)
        autocast = torch.autocast(
            self.device.type, self.autocast, enabled=self.autocast is not None
        )
        with torch.set_grad_enabled(not self.frozen), autocast:
            self._outputs = self.module(*self._inputs.args, **self._inputs.kwargs)
        return trees.mapped(lambda _, y: _array(y), self._outputs, Tensor)

    @property
    def backward(self) -> Callable[[Any], Any] | None:
        """The function from the output's gradient to the input's; None for a frozen module."""
        return None if self.frozen else self._run_backward

    def _run_backward(self, dy: Any) -> Any:
        self.module.zero_grad()
        smooth = trees.mapped(lambda _, y: y if y.requires_grad else None, self._outputs, Tensor)
        outputs, given = trees.named(smooth, Tensor), trees.named(dy, np.ndarray)
        upstream = [torch.tensor(given[name], device=y.device) for name, y in outputs.items()]
        torch.autograd.backward(list(outputs.values()), upstream)
        args, kwargs = trees.mapped(lambda _, x: _gradient(x), self._inputs, object)
        return kwargs or (args if len(args) > 1 else args[0])

    def parameters(self) -> dict[str, Any]:
        """Return the parameters' values; what is to reach the module goes through `assign`."""
        return {} if self.frozen else {n: _array(p) for n, p in self._parameters()}

    def gradients(self) -> dict[str, Any]:
        """Return the parameters' gradients."""
        return {} if self.frozen else {n: _gradient(p) for n, p in self._parameters()}

    def buffers(self) -> dict[str, Any]:
        """Return the values of the buffers that are saved."""
        parameters = dict(self._parameters(tied=True))
        state = {} if self.frozen else self._state()
        return {name: _array(value) for name, value in state.items() if name not in parameters}

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy arrays by name into the module."""
        with torch.no_grad():
            state = self._state()
            for name, value in values.items():
                state[name].copy_(torch.from_numpy(np.array(value)))

    def train(self, mode: bool = True) -> None:
        """Switch the module's mode."""
        self.module.train(mode)

    def eval(self) -> None:
        """Switch to evaluation mode."""
        self.train(False)

    @property
    def layers(self) -> dict[str, TorchModule]:
        """The submodules by name, each run as the whole is, but not compiled."""
        found: dict[str, TorchModule] = {}
        for name, layer in _plain(self.module).named_modules() if self._whole else ():
            if name:
                part = found[_name(name)] = copy.copy(self)
                part.module, part._whole = layer, False
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_inputs": None, "_outputs": None}  # a graph cannot be copied

    def _parameters(self, tied: bool = False) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in _plain(self.module).named_parameters(remove_duplicate=not tied):
            if parameter.requires_grad:
                yield _name(name), parameter

    def _state(self) -> dict[str, Tensor]:
        state = _plain(self.module).state_dict()
        return {_name(name): value for name, value in state.items()}

    def _tensor(self, _: str, value: np.ndarray) -> Tensor:
        tensor = torch.tensor(value, device=self.device)
        if not tensor.is_floating_point():
            return tensor
        dtype = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), None)
        if dtype in _HALVES:
            tensor = tensor.to(dtype)
        if self.memory_format is not None and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.memory_format)
        return tensor.requires_grad_(not self.frozen)


class TorchOptimizer:
    """Torch's optimizer that `make` makes of a `TorchModule`'s parameters, for `parity.steps`."""

    def __init__(
        self, side: TorchModule, make: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    ) -> None:
        self._side, self.optimizer = side, make(side.module.parameters())

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Update the module's parameters."""
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state's tensors as "<state>.<parameter>"."""
        return {
            f"{kind}.{name}": _array(value)
            for name, parameter in self._side._parameters()
            for kind, value in self.optimizer.state[parameter].items()
            if isinstance(value, Tensor) and kind != "step"
        }


def _plain(module: nn.Module) -> nn.Module:
    """Return what was compiled, or the module itself."""
    return getattr(module, "_orig_mod", module)


def _name(name: str) -> str:
    return name.replace("_orig_mod.", "")


def _array(value: Any) -> Any:
    """Return a tensor's numbers; those of 16 bits as float32."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().to_dense().cpu()
    return np.array((value.float() if value.dtype in _HALVES else value).numpy())


def _gradient(tensor: Any) -> Any:
    return _array(tensor.grad) if isinstance(tensor, Tensor) else None
