"""The NumPy side of training: one thread works through each batch in micro-batches."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import numpy_models
from numpy_models import CrossEntropyLoss, Dropout, Layer, StepLR
from training.backend import EpochPlan, LayerRow, State, Totals, check_state, pixel_scale
from training.config import AdagradConfig, AdamConfig, Config, OptimizerConfig, SGDConfig
from training.data import Dataset, flip_images
from training.environment import keep_freed_memory
from training.errors import ConfigError
from training.initialisation import initial_weights
from training.models import build_network
from training.random import stream

SCALED_AT_ONCE = 1000

Optimizer = numpy_models.Adam | numpy_models.SGD | numpy_models.Adagrad


class NumpyBackend:
    """A `training.backend.Backend` on numpy_models; float32 throughout.

    Raises:
        ConfigError: if the network cannot be built.
    """

    name = "numpy"
    device = "cpu"
    steps_per_call = 1

    def __init__(self, config: Config) -> None:
        if "OPENBLAS_NUM_THREADS" not in os.environ:
            threadpool_limits(1, user_api="blas")
        keep_freed_memory()
        self.notes: tuple[str, ...] = ()
        self._seed = config.seed
        self._scale, self._shift = pixel_scale(config.data.scaling)
        self._net = build_network(numpy_models.build, "numpy_models", config.model)
        parameters = self._net.parameters()
        shapes = {name: array.shape for name, array in parameters.items()}
        for name, values in initial_weights(shapes, config.init, config.seed).items():
            parameters[name][...] = values
        self._image_shape = (1, config.model.image_size, config.model.image_size)
        self.threads = 1
        self._criterion = CrossEntropyLoss()
        self._optimizer = _optimizer(self._net, config.optimizer)
        step_size = config.scheduler.step_size
        self._scheduler = (
            StepLR(self._optimizer, step_size, config.scheduler.gamma) if step_size else None
        )
        self._epoch = 0
        self._dropouts = [la for la in self._net.leaves().values() if isinstance(la, Dropout)]

    def place(self, dataset: Dataset) -> None:
        """Keep the data set's own arrays."""
        self._dataset = dataset

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Take the epoch's plan and the sums so far."""
        self._plan, self._totals = plan, totals
        self._net.train()

    def train(self, first: int, last: int) -> None:
        """Take the plan's steps first..last-1."""
        plan, dataset = self._plan, self._dataset
        for step in range(first, last):
            if self._dropouts:
                self._draw_masks(plan.first_step + step)
            batch = slice(plan.offsets[step], plan.offsets[step + 1])
            indices = plan.indices[batch]
            images = dataset.train_images[indices]
            if plan.flips is not None:
                images = flip_images(images, plan.flips[batch])
            labels = dataset.train_labels[indices]
            loss, logits = numpy_models.loss_and_gradients(
                self._net, self._criterion, self._input(images), labels
            )
            self._optimizer.step()
            correct = int((logits.argmax(axis=1) == labels).sum())
            seen = self._totals
            self._totals = Totals(
                seen.loss + loss * len(labels), seen.correct + correct, seen.images + len(labels)
            )

    def totals(self) -> Totals:
        """Return the epoch's sums so far."""
        return self._totals

    def end_epoch(self) -> None:
        """Advance the schedule."""
        self._epoch += 1
        if self._scheduler:
            self._scheduler.step()

    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return the logits of the test images, or of the first training images."""
        images = self._dataset.test_images
        if first_training is not None:
            images = self._dataset.train_images[:first_training]
        return np.concatenate(
            [
                numpy_models.outputs(self._net, self._input(images[start : start + SCALED_AT_ONCE]))
                for start in range(0, len(images), SCALED_AT_ONCE)
            ]
        )

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return float(self._optimizer.lr)

    def weights(self) -> State:
        """Return copies of parameters and buffers."""
        return self._net.state_dict()

    def state(self) -> State:
        """Return the network's, the optimizer's and the schedule's state."""
        state = {f"model.{name}": value for name, value in self.weights().items()}
        optimizer = self._optimizer.state_dict()
        if not optimizer["step"]:
            optimizer = {"step": 0, "lr": optimizer["lr"]}
        state |= {f"optimizer.{name}": np.asarray(value) for name, value in optimizer.items()}
        state["scheduler.last_epoch"] = np.asarray(self._epoch)
        return state

    def load_state(self, state: State) -> None:
        """Continue from a state of either backend."""
        current = self._optimizer.state_dict()
        kinds = {name.partition(".")[0] for name in current if "." in name}
        check_state(state, self.weights(), self._net.parameters(), kinds)
        self._net.load_state_dict(_under("model.", state))
        self._optimizer.load_state_dict(current | _under("optimizer.", state))
        self._epoch = int(state["scheduler.last_epoch"])
        if self._scheduler:
            self._scheduler.load_state_dict({"last_epoch": self._epoch})

    def layer_table(self) -> list[LayerRow]:
        """Return the layers with the shapes they declare."""
        return [
            LayerRow(name, type(layer).__name__, shape, layer.flat_parameters.size)
            for name, layer, shape in self._net.output_shapes(self._image_shape)
        ]

    def _input(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scaled = np.multiply(images[:, None], self._scale, dtype=np.float32)
        scaled += self._shift
        return scaled

    def _draw_masks(self, step: int) -> None:
        generator = stream(self._seed, "dropout", step)
        for layer in self._dropouts:
            layer.draw = lambda shape: generator.random(shape, np.float32)


def _optimizer(net: Layer, config: OptimizerConfig) -> Optimizer:
    lr, weight_decay = config.lr, config.weight_decay
    match config:
        case AdamConfig(betas=betas, eps=eps, eps_mode=mode):
            first, second = betas
            return numpy_models.Adam(
                net,
                lr,
                (first, second),
                eps,
                weight_decay,
                eps_mode=mode,  # type: ignore[arg-type]
            )
        case SGDConfig(momentum=momentum, dampening=dampening, nesterov=nesterov):
            return numpy_models.SGD(net, lr, momentum, dampening, weight_decay, nesterov)
        case AdagradConfig(lr_decay=decay, initial_accumulator_value=start, eps=eps):
            return numpy_models.Adagrad(net, lr, decay, weight_decay, start, eps)
    raise ConfigError(f"the numpy backend has no optimizer {config.name}")


def _under(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
