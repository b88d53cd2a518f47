"""The NumPy side of training: a process for each core, BLAS keeps to one thread."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import numpy_models
from numpy_models import (
    CrossEntropyLoss,
    Dropout,
    Layer,
    StepLR,
    convert_sync_batchnorm,
    loss_and_gradients,
    outputs,
)
from training.backends.initialisation import initial_weights
from training.backends.models import build_network
from training.backends.protocol import EpochPlan, LayerRow, State, Totals, check_state, pixel_scale
from training.backends.ranks import ALONE, Ranks
from training.backends.streams import stream
from training.config.schema import Config
from training.data import Dataset, flip_images, move_images
from training.environment import available_cores, keep_freed_memory

#: Images that are scaled to float32 at a time.
EVALUATION_BATCH = 1000
#: Images that a rank has at least: as many float32 values as a cache line of 64 bytes holds. The
#: batch is the last axis, and shorter rows move as many lines and take as many instructions.
IMAGES_PER_RANK = 16

#: Each takes its configuration's settings by their names.
OPTIMIZERS: dict[str, Any] = {
    "adam": numpy_models.Adam,
    "sgd": numpy_models.SGD,
    "adagrad": numpy_models.Adagrad,
}


class NumpyBackend:
    """A `training.backends.protocol.Backend` on numpy_models; float32 throughout.

    Every rank keeps its own parameters and updates them with the same sum of gradients, so that
    they stay equal to the last bit.
    """

    name = "numpy"
    device = "cpu"
    steps_per_call = 1

    def __init__(self, config: Config, ranks: Ranks = ALONE) -> None:
        if "OPENBLAS_NUM_THREADS" not in os.environ:
            threadpool_limits(1, user_api="blas")
        keep_freed_memory()
        self._ranks, self.threads = ranks, ranks.world
        self.notes: tuple[str, ...] = (ranks.note,) if ranks.note else ()
        self._seed = config.seed
        self._scale, self._shift = pixel_scale(config.data.scaling)
        self._net: Layer = build_network(numpy_models.build, "numpy_models", config.model)
        if ranks.world > 1:
            self._net = convert_sync_batchnorm(self._net, self._gather)
        parameters = self._net.parameters()
        shapes = {name: array.shape for name, array in parameters.items()}
        for name, values in initial_weights(shapes, config.init, config.seed).items():
            parameters[name][...] = values
        self._image_shape = (1, config.model.image_size, config.model.image_size)
        self._criterion = CrossEntropyLoss()
        settings = asdict(config.optimizer)
        self._optimizer = OPTIMIZERS[settings.pop("name")](self._net, **settings)
        step_size = config.scheduler.step_size
        self._scheduler = (
            StepLR(self._optimizer, step_size, config.scheduler.gamma) if step_size else None
        )
        self._epoch = 0
        leaves = self._net.leaves().values()
        self._dropouts = [leaf for leaf in leaves if isinstance(leaf, Dropout)]
        self._shared = False

    def place(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        self._plan, self._totals = plan, totals
        self._net.train()

    def train(self, first: int, last: int) -> None:
        plan = self._plan
        for step in range(first, last):
            batch = slice(*plan.offsets[step : step + 2].tolist())
            self._step(plan.first_step + step, batch)

    def totals(self) -> Totals:
        return self._totals

    def end_epoch(self) -> None:
        self._epoch += 1
        if self._scheduler:
            self._scheduler.step()

    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        images = self._dataset.test_images
        if first_training is not None:
            images = self._dataset.train_images[:first_training]
        part = self._part(len(images))
        own = images[part]
        batches = (own[i : i + EVALUATION_BATCH] for i in range(0, len(own), EVALUATION_BATCH))
        logits = np.concatenate([outputs(self._net, self._input(batch)) for batch in batches])
        if not self._shared:
            return logits
        whole = np.zeros((len(images), *logits.shape[1:]), np.float32)
        whole[part] = logits
        return self._ranks.all_reduce(whole)

    @property
    def lr(self) -> float:
        return float(self._optimizer.lr)

    def weights(self) -> State:
        return self._net.state_dict()

    def state(self) -> State:
        state = {f"model.{name}": value for name, value in self.weights().items()}
        optimizer = self._optimizer.state_dict()
        if not optimizer["step"]:
            optimizer = {"step": 0, "lr": optimizer["lr"]}
        state |= {f"optimizer.{name}": np.asarray(value) for name, value in optimizer.items()}
        state["scheduler.last_epoch"] = np.asarray(self._epoch)
        return state

    def state_bytes(self) -> int:
        arrays = [*self.weights().values(), *self._optimizer.state_dict().values()]
        return sum(np.asarray(array).nbytes for array in arrays)

    def load_state(self, state: State) -> None:
        current = self._optimizer.state_dict()
        kinds = {name.partition(".")[0] for name in current if "." in name}
        check_state(state, self.weights(), self._net.parameters(), kinds)
        self._net.load_state_dict(_under("model.", state))
        self._optimizer.load_state_dict(current | _under("optimizer.", state))
        self._epoch = int(state["scheduler.last_epoch"])
        if self._scheduler:
            self._scheduler.load_state_dict({"last_epoch": self._epoch})

    def layer_table(self) -> list[LayerRow]:
        return [
            LayerRow(name, type(layer).__name__, shape, layer.flat_parameters.size)
            for name, layer, shape in self._net.output_shapes(self._image_shape)
        ]

    def _step(self, number: int, batch: slice) -> None:
        """Train on a batch of the plan, of which each rank has a part."""
        size = batch.stop - batch.start
        part = self._part(size)
        plan, own = self._plan, slice(batch.start + part.start, batch.start + part.stop)
        indices = plan.indices[own]
        images, labels = self._dataset.train_images[indices], self._dataset.train_labels[indices]
        if plan.flips is not None:
            images = flip_images(images, plan.flips[own])
        if plan.moves is not None:
            images = move_images(images, plan.moves[own])
        self._draw_masks(number, size, part)
        loss, logits = loss_and_gradients(
            self._net, self._criterion, self._input(images), labels, whole=size
        )
        sums = np.array([loss * size, (logits.argmax(axis=1) == labels).sum()])
        if self._shared:
            self._ranks.all_reduce(self._net.flat_gradients)
            self._ranks.all_reduce(sums)
        self._optimizer.step()
        seen = self._totals
        loss, correct = sums.tolist()
        self._totals = Totals(seen.loss + loss, seen.correct + int(correct), seen.images + size)

    def _part(self, size: int) -> slice:
        """Return this rank's part of `size` images, and note whether there are others.

        Fewer images than ranks are every rank's: all compute the same, and exchange nothing.
        """
        self._shared = size >= self._ranks.world > 1
        return self._ranks.part(size) if self._shared else slice(0, size)

    def _gather(self, moments: NDArray) -> list[NDArray]:
        """Return the moments of all parts of the batch, for batch normalisation."""
        return self._ranks.all_gather(moments) if self._shared else [moments]

    def _input(self, images: NDArray[np.uint8 | np.float32]) -> NDArray[np.float32]:
        scaled = np.multiply(images[:, None], self._scale, dtype=np.float32)
        scaled += self._shift
        return scaled

    def _draw_masks(self, step: int, size: int, part: slice) -> None:
        """Have the dropout layers take their part of what is drawn for the whole batch."""
        if self._dropouts:
            generator = stream(self._seed, "dropout", step)
            for layer in self._dropouts:
                layer.draw = lambda shape: generator.random((size, *shape[1:]), np.float32)[part]


def worthwhile_ranks(config: Config) -> int:
    """Return how many processes train: as many as asked for, or a core for each IMAGES_PER_RANK.

    Nothing is timed: on the same cores, the same settings always give the same number of ranks, and
    with it the same bits.
    """
    share = config.trainer.batch_size // IMAGES_PER_RANK
    return config.backend.threads or max(1, min(available_cores(), share))


def _under(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
