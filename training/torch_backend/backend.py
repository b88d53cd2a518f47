"""The PyTorch side of training: everything resident on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import torch_models
from training.backend import EpochPlan, LayerRow, State, Totals, check_state, pixel_scale
from training.config import Config, TorchBackendConfig
from training.data import Dataset
from training.initialisation import initial_weights
from training.models import build_network
from training.torch_backend.collectives import ALONE, OneProcess
from training.torch_backend.devices import prepare
from training.torch_backend.masks import DropoutMasks
from training.torch_backend.optimizers import Schedule, make_optimizer, state_kinds
from training.torch_backend.steps import Pixels, Steps

EVALUATION_BATCH = {"cpu": 1000, "cuda": 10000}
#: On CUDA a look at the progress is cheap, but waits for no step.
STEPS_PER_CALL = {"cpu": 1, "cuda": 64}
#: On the CPU with several processes: each call is an exchange between them.
SHARED_STEPS_PER_CALL = 16


class TorchBackend:
    """A `training.backend.Backend` on torch; float32 with TF32 off unless precision says else.

    Args:
        config: the run's.
        processes: those that share it; each has such a backend and makes the same calls.

    Raises:
        ConfigError: if the network, the device or a setting cannot be had.
    """

    name = "torch"

    def __init__(self, config: Config, processes: OneProcess = ALONE) -> None:
        self._processes, world = processes, processes.shard.world
        self._execution = execution = prepare(config, world)
        self.device, self.threads = execution.device, execution.threads
        self.steps_per_call = STEPS_PER_CALL[self.device]
        if world > 1:
            self.steps_per_call = max(self.steps_per_call, SHARED_STEPS_PER_CALL)
        self._net = build_network(torch_models.build, "torch_models", config.model).to(self.device)
        _start(self._net, config)
        assert isinstance(config.backend, TorchBackendConfig)
        processes.exchange_batch_norm(self._net, config.backend.batch_norm)
        self.notes = (*execution.notes, *processes.notes(self._net))
        side = config.model.image_size
        self._image_shape = (1, side, side)
        captured = execution.captured
        self._optimizer = make_optimizer(self._net.parameters(), config.optimizer, captured)
        processes.add_gradients(self._optimizer)
        self._kinds = state_kinds(config.optimizer)
        self._schedule = Schedule(config.optimizer.lr, config.scheduler)
        self._taken = 0
        masks = DropoutMasks(self._net, config.seed, self.device, self._image_shape)
        self._pixels = Pixels(*map(float, pixel_scale(config.data.scaling)))
        self._steps = Steps(
            self._net, self._optimizer, masks, self._pixels, execution, processes.shard
        )

    def place(self, dataset: Dataset) -> None:
        """Copy images and labels to the device once."""
        self._images = self._on_device(dataset.train_images).unsqueeze(1)
        self._test_images = self._on_device(dataset.test_images).unsqueeze(1)
        self._steps.place(self._images, self._on_device(dataset.train_labels))

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Copy the plan to the device and start the sums there."""
        self._plan, self._images_seen = plan, totals.images
        before = totals if self._processes.shard.rank == 0 else Totals()
        loss, correct = np.asarray(before.loss, np.float64), np.asarray(before.correct, np.int64)
        self._steps.begin(plan.indices, plan.flips, loss, correct)
        self._net.train()

    def train(self, first: int, last: int) -> None:
        """Take the plan's steps first..last-1."""
        offsets = self._plan.offsets[first : last + 1].tolist()
        self._steps.run(offsets, self._plan.first_step + first)
        self._images_seen += offsets[-1] - offsets[0]
        self._taken += last - first

    def totals(self) -> Totals:
        """Return the epoch's sums so far."""
        loss, correct = map(self._processes.sum, self._steps.sums())
        return Totals(loss.item(), int(correct.item()), self._images_seen)

    def end_epoch(self) -> None:
        """Advance the schedule."""
        self._schedule.step()
        self._schedule.write(self._optimizer.param_groups[0])

    @torch.inference_mode()
    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return the logits of the test images, or of the first training images."""
        self._processes.agree(self._net)
        self._net.eval()
        images = self._test_images if first_training is None else self._images[:first_training]
        count, part = len(images), self._processes.shard.part(len(images))
        with self._execution.autocast():
            parts = [
                self._net(self._pixels(batch))
                for batch in images[part].split(EVALUATION_BATCH[self.device])
            ]
        self._net.train()
        return self._processes.gather(torch.cat(parts).float(), count).cpu().numpy()

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return self._schedule.lr

    def weights(self) -> State:
        """Return copies of parameters and buffers."""
        return {name: _copy(value) for name, value in self._net.state_dict().items()}

    def state(self) -> State:
        """Return the network's, the optimizer's and the schedule's state."""
        state = {f"model.{name}": value for name, value in self.weights().items()}
        state["optimizer.step"] = np.asarray(self._taken)
        state["optimizer.lr"] = np.asarray(self.lr)
        state["scheduler.last_epoch"] = np.asarray(self._schedule.epoch)
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
        self._taken = int(tensors["optimizer.step"])
        epoch, lr = int(tensors["scheduler.last_epoch"]), float(tensors["optimizer.lr"])
        self._schedule.load(epoch, lr)
        optimizer = self._optimizer.state_dict()
        for number, name in enumerate(names if self._taken else []):
            arrays = {kind: tensors[f"optimizer.{kind}.{name}"] for kind in self._kinds}
            optimizer["state"][number] = {"step": torch.tensor(float(self._taken)), **arrays}
        self._optimizer.load_state_dict(optimizer)
        self._schedule.write(self._optimizer.param_groups[0])
        self._steps.forget()

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
        self._net(torch.zeros(1, *self._image_shape, device=self.device))
        self._net.train()
        for hook in hooks:
            hook.remove()
        return rows

    def _on_device(self, array: NDArray) -> Tensor:
        # torch warns when it is lent a read-only array, so it gets its own copy.
        return torch.tensor(array, device=self.device)


def _start(net: nn.Module, config: Config) -> None:
    """Give the network its initial weights."""
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    values = initial_weights(shapes, config.init, config.seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))


def _copy(value: Tensor) -> NDArray:
    return value.detach().cpu().numpy().copy()
