"""The PyTorch side of training: everything resident on the device, eager steps."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR

import torch_models
from training.backend import EpochPlan, LayerRow, State, Totals, check_state, pixel_scale
from training.config import AdagradConfig, AdamConfig, Config, OptimizerConfig, SGDConfig
from training.data import Dataset
from training.environment import available_cores
from training.errors import ConfigError
from training.initialisation import initial_weights
from training.models import build_network
from training.random import stream

EVALUATION_BATCH = 1000

_STATE_KINDS: dict[str, tuple[str, ...]] = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adagrad": ("sum",),
    "sgd": ("momentum_buffer",),
}


class TorchBackend:
    """A `training.backend.Backend` on torch; float32, TF32 off so that the CPU is reproduced.

    Raises:
        ConfigError: if device=cuda and there is none, or the network cannot be built.
    """

    name = "torch"

    def __init__(self, config: Config) -> None:
        _set_determinism(getattr(config.backend, "deterministic", False))
        self.device = _choose_device(config.device)
        self.threads = config.backend.threads or available_cores()
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.steps_per_call = 1 if self.device == "cpu" else 16
        self.notes: tuple[str, ...] = ()
        self._seed = config.seed
        self._scale, self._shift = (float(value) for value in pixel_scale(config.data.scaling))
        self._net = build_network(torch_models.build, "torch_models", config.model).to(self.device)
        shapes = {name: tuple(p.shape) for name, p in self._net.named_parameters()}
        start = initial_weights(shapes, config.init, config.seed)
        with torch.no_grad():
            for name, parameter in self._net.named_parameters():
                parameter.copy_(torch.from_numpy(start[name]))
        self._image_shape = (1, 1, config.model.image_size, config.model.image_size)
        self._optimizer = _optimizer(self._net, config.optimizer)
        self._kinds = _STATE_KINDS[config.optimizer.name]
        if isinstance(config.optimizer, SGDConfig) and not config.optimizer.momentum:
            self._kinds = ()
        step_size = config.scheduler.step_size
        self._scheduler = (
            StepLR(self._optimizer, step_size, config.scheduler.gamma) if step_size else None
        )
        self._epoch = self._steps = 0
        self._dropouts = [m for m in self._net.modules() if isinstance(m, torch_models.Dropout)]

    def place(self, dataset: Dataset) -> None:
        """Copy images and labels to the device once."""
        self._images = _on(self.device, dataset.train_images).unsqueeze(1)
        self._labels = _on(self.device, dataset.train_labels)
        self._test_images = _on(self.device, dataset.test_images).unsqueeze(1)

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Copy the plan to the device and start the sums there."""
        self._plan = plan
        self._indices = _on(self.device, plan.indices)
        self._flips = None if plan.flips is None else _on(self.device, plan.flips)
        self._images_seen = totals.images
        self._loss_sum = torch.tensor(totals.loss, dtype=torch.float64, device=self.device)
        self._correct = torch.tensor(totals.correct, dtype=torch.int64, device=self.device)
        self._net.train()

    def train(self, first: int, last: int) -> None:
        """Take the plan's steps first..last-1."""
        offsets = self._plan.offsets[first : last + 1].tolist()
        for step, (start, stop) in enumerate(pairwise(offsets), first):
            if self._dropouts:
                self._draw_masks(self._plan.first_step + step)
            indices = self._indices[start:stop]
            images = self._input(self._images[indices])
            if self._flips is not None:
                flips = self._flips[start:stop, None, None, None]
                images = torch.where(flips, images.flip(-1), images)
            labels = self._labels[indices]
            logits = self._net(images)
            loss = F.cross_entropy(logits, labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            self._loss_sum.add_(loss.detach(), alpha=stop - start)
            self._correct.add_((logits.detach().argmax(1) == labels).sum())
            self._images_seen += stop - start
            self._steps += 1

    def totals(self) -> Totals:
        """Return the epoch's sums so far."""
        return Totals(self._loss_sum.item(), int(self._correct.item()), self._images_seen)

    def end_epoch(self) -> None:
        """Advance the schedule."""
        self._epoch += 1
        if self._scheduler:
            self._scheduler.step()

    @torch.inference_mode()
    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return the logits of the test images, or of the first training images."""
        self._net.eval()
        images = self._test_images if first_training is None else self._images[:first_training]
        batches = images.split(EVALUATION_BATCH)
        logits = torch.cat([self._net(self._input(images)) for images in batches])
        self._net.train()
        return logits.cpu().numpy()

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    def weights(self) -> State:
        """Return copies of parameters and buffers."""
        return {name: _copy(value) for name, value in self._net.state_dict().items()}

    def state(self) -> State:
        """Return the network's, the optimizer's and the schedule's state."""
        state = {f"model.{name}": value for name, value in self.weights().items()}
        state["optimizer.step"] = np.asarray(self._steps)
        state["optimizer.lr"] = np.asarray(self.lr)
        state["scheduler.last_epoch"] = np.asarray(self._epoch)
        for name, parameter in self._net.named_parameters():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if key in self._kinds:
                    state[f"optimizer.{key}.{name}"] = _copy(value)
        return state

    def load_state(self, state: State) -> None:
        """Continue from a state of either backend."""
        names = [name for name, _ in self._net.named_parameters()]
        check_state(state, self.weights(), names, self._kinds)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        self._net.load_state_dict(
            {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        )
        self._steps, self._epoch = (
            int(tensors["optimizer.step"]),
            int(tensors["scheduler.last_epoch"]),
        )
        optimizer = self._optimizer.state_dict()
        optimizer["param_groups"][0]["lr"] = lr = float(tensors["optimizer.lr"])
        for number, name in enumerate(names if self._steps else []):
            arrays = {kind: tensors[f"optimizer.{kind}.{name}"] for kind in self._kinds}
            optimizer["state"][number] = {"step": torch.tensor(float(self._steps)), **arrays}
        self._optimizer.load_state_dict(optimizer)
        if self._scheduler:
            # torch counts schedule steps to warn of one before the first optimizer step; a run
            # saved at an epoch's last step is no such case.
            schedule = {"last_epoch": self._epoch, "_last_lr": [lr], "_step_count": 2 + self._epoch}
            self._scheduler.load_state_dict(self._scheduler.state_dict() | schedule)

    @torch.inference_mode()
    def layer_table(self) -> list[LayerRow]:
        """Run one blank image and note every layer's output."""
        rows: list[LayerRow] = []

        def note(module: nn.Module, _: Any, output: Tensor) -> None:
            count = sum(p.numel() for p in module.parameters())
            rows.append(
                LayerRow(names[module], type(module).__name__, tuple(output.shape[1:]), count)
            )

        leaves = {n: m for n, m in self._net.named_modules() if not list(m.children())}
        names = {module: name for name, module in leaves.items()}
        hooks = [module.register_forward_hook(note) for module in leaves.values()]
        self._net.eval()
        self._net(torch.zeros(self._image_shape, device=self.device))
        self._net.train()
        for hook in hooks:
            hook.remove()
        return rows

    def _input(self, images: Tensor) -> Tensor:
        return images.to(torch.float32).mul_(self._scale).add_(self._shift)

    def _draw_masks(self, step: int) -> None:
        generator = stream(self._seed, "dropout", step)

        def draw(shape: tuple[int, ...]) -> Tensor:
            return torch.from_numpy(generator.random(shape, np.float32))

        for layer in self._dropouts:
            layer.draw = draw


def _set_determinism(wanted: bool) -> None:
    if wanted:  # cuBLAS reads it when the device is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted


def _choose_device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device here (use device=cpu or auto)")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _optimizer(net: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    match config:
        case AdamConfig():
            return torch_models.Adam(
                net.parameters(),
                betas=(config.betas[0], config.betas[1]),
                eps=config.eps,
                eps_mode=config.eps_mode,  # type: ignore[arg-type]
                fused=config.eps_mode == "torch",
                **common,
            )
        case SGDConfig():
            return torch.optim.SGD(
                net.parameters(),
                momentum=config.momentum,
                dampening=config.dampening,
                nesterov=config.nesterov,
                fused=True,
                **common,
            )
        case AdagradConfig():
            return torch.optim.Adagrad(
                net.parameters(),
                lr_decay=config.lr_decay,
                initial_accumulator_value=config.initial_accumulator_value,
                eps=config.eps,
                **common,
            )
    raise ConfigError(f"the torch backend has no optimizer {config.name}")


def _on(device: str, array: NDArray) -> Tensor:
    # torch warns when it is lent a read-only array, so it gets its own copy.
    return torch.tensor(array, device=device)


def _copy(value: Tensor) -> NDArray:
    return value.detach().cpu().numpy().copy()
