"""The PyTorch side of training: everything resident on the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.backends.protocol import EpochPlan, LayerRow, State, Totals, check_state, pixel_scale
from training.backends.ranks import ALONE, Ranks
from training.backends.torch.batch_norm import convert_batchnorm
from training.backends.torch.devices import prepare
from training.backends.torch.masks import DropoutMasks
from training.backends.torch.networks import copied, layer_table, open_network
from training.backends.torch.optimizers import Schedule, make_optimizer, state_kinds
from training.backends.torch.steps import Pixels, Steps
from training.config.schema import Config
from training.data import Dataset

EVALUATION_BATCH = {"cpu": 1000, "cuda": 10000}
#: On CUDA the device has nothing to do while the sums after a call are looked at.
STEPS_PER_CALL = {"cpu": 1, "cuda": 512}
#: On the CPU with several processes, where each call is an exchange between them.
SHARED_STEPS_PER_CALL = 16


class TorchBackend:
    """The backend on torch; float32 with TF32 off unless precision says else."""

    name = "torch"

    def __init__(self, config: Config, ranks: Ranks = ALONE) -> None:
        self._ranks, world = ranks, ranks.world
        self._execution = execution = prepare(config, world)
        self.device, self.threads = execution.device, execution.threads
        self.steps_per_call = STEPS_PER_CALL[self.device]
        if world > 1:
            self.steps_per_call = max(self.steps_per_call, SHARED_STEPS_PER_CALL)
        self._net = open_network(config, self.device)
        self.notes = execution.notes
        if world > 1:
            convert_batchnorm(self._net, ranks.all_reduce)
            through = {"cpu": "gloo", "cuda": "NCCL"}[self.device]
            self.notes = (*execution.notes, f"{ranks.note}, {through}")
        self._image_shape = (1, config.model.image_size, config.model.image_size)
        captured = execution.captured
        self._optimizer = make_optimizer(self._net.parameters(), config.optimizer, captured)
        self._kinds = state_kinds(config.optimizer)
        self._schedule = Schedule(config.optimizer.lr, config.scheduler)
        self._taken = 0
        masks = DropoutMasks(self._net, config.seed, self.device, self._image_shape)
        self._pixels = Pixels(*map(float, pixel_scale(config.data.scaling)))
        self._steps = Steps(self._net, self._optimizer, masks, self._pixels, execution, ranks)

    def place(self, dataset: Dataset) -> None:
        images = self._on_device(dataset.train_images).unsqueeze(1)
        self._test_images = self._on_device(dataset.test_images).unsqueeze(1)
        self._steps.place(images, self._on_device(dataset.train_labels))

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        self._plan, self._images_seen = plan, totals.images
        self._steps.begin(plan, totals if self._ranks.rank == 0 else Totals())
        self._net.train()

    def train(self, first: int, last: int) -> None:
        offsets = self._plan.offsets[first : last + 1].tolist()
        self._steps.run(offsets, self._plan.first_step + first)
        self._images_seen += offsets[-1] - offsets[0]
        self._taken += last - first

    def totals(self) -> Totals:
        loss, correct = (self._ranks.all_reduce(part.clone()) for part in self._steps.sums())
        return Totals(loss.item(), int(correct.item()), self._images_seen)

    def end_epoch(self) -> None:
        self._schedule.step()
        self._schedule.write(self._optimizer.param_groups[0])

    @torch.inference_mode()
    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        self._net.eval()
        images = (
            self._test_images if first_training is None else self._steps.images[:first_training]
        )
        part = self._ranks.part(len(images))
        with self._execution.autocast():
            parts = [
                self._net(self._pixels(batch))
                for batch in images[part].split(EVALUATION_BATCH[self.device])
            ]
        self._net.train()
        logits = torch.cat(parts).float()
        whole = logits.new_zeros(len(images), *logits.shape[1:])
        whole[part] = logits
        return self._ranks.all_reduce(whole).cpu().numpy()

    @property
    def lr(self) -> float:
        return self._schedule.lr

    def weights(self) -> State:
        return {name: copied(value) for name, value in self._net.state_dict().items()}

    def state(self) -> State:
        state = {f"model.{name}": value for name, value in self.weights().items()}
        state["optimizer.step"] = np.asarray(self._taken)
        state["optimizer.lr"] = np.asarray(self._schedule.lr)
        state["scheduler.last_epoch"] = np.asarray(self._schedule.epoch)
        for name, parameter in self._net.named_parameters():
            kept = self._optimizer.state.get(parameter, {})  # nothing before the first step
            for kind in [kind for kind in self._kinds if kind in kept]:
                state[f"optimizer.{kind}.{name}"] = copied(kept[kind])
        return state

    def state_bytes(self) -> int:
        moments = len(self._kinds) * sum(value.nbytes for value in self._net.parameters())
        return moments + sum(value.nbytes for value in self._net.state_dict().values())

    def load_state(self, state: State) -> None:
        names = [name for name, _ in self._net.named_parameters()]
        check_state(state, self.weights(), names, self._kinds)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        self._net.load_state_dict(
            {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        )
        self._taken = int(tensors["optimizer.step"])
        self._schedule.epoch = int(tensors["scheduler.last_epoch"])
        self._schedule.lr = float(tensors["optimizer.lr"])
        optimizer = self._optimizer.state_dict()
        for number, name in enumerate(names if self._taken else []):
            arrays = {kind: tensors[f"optimizer.{kind}.{name}"] for kind in self._kinds}
            optimizer["state"][number] = {"step": torch.tensor(float(self._taken)), **arrays}
        self._optimizer.load_state_dict(optimizer)
        self._schedule.write(self._optimizer.param_groups[0])
        self._steps.forget()

    def layer_table(self) -> list[LayerRow]:
        return layer_table(self._net, self._image_shape, self.device)

    def _on_device(self, array: NDArray) -> Tensor:
        # torch warns when it is lent a read-only array, so it gets its own copy.
        return torch.tensor(array, device=self.device)
