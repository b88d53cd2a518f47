"""The configuration's types; `training.config.check` holds what types cannot say.

Each dataclass that fills a Hydra group is registered as an option of that group, so its defaults
are the option's values; conf/config.yaml picks one option per group. This module imports neither
NumPy nor torch: the configuration decides how they start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from training.errors import ConfigError


@dataclass
class ModelConfig:
    """A network: its file's stem, its class's arguments, the side of the images it takes."""

    name: str = MISSING
    image_size: int = 28
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class BackendConfig:
    """Which twin trains; `threads` null means as many cores as pay off."""

    name: str = MISSING
    threads: int | None = None


@dataclass
class TorchBackendConfig(BackendConfig):
    """The PyTorch twin.

    Attributes:
        deterministic: on CUDA, use only algorithms that give the same bits every time; on the CPU
            they do anyway.
        mode: "eager" calls each step's kernels one by one, "graph" replays them as one CUDA
            graph; "auto" is graph on CUDA where it can be had, and eager elsewhere.
        compile: have torch.compile make the kernels of the forward and backward pass.
        precision: "float32", or "tf32" or "bf16" in convolutions and matrix products; only
            float32 agrees with the other twin to rounding.
        batch_norm: with several processes, "synchronised" normalises with the whole batch's
            statistics, as one process does, and "local" with those of each process's part; then
            the first process's running statistics are kept.
    """

    name: str = "torch"
    deterministic: bool = False
    mode: str = "auto"
    compile: bool = False
    precision: str = "float32"
    batch_norm: str = "synchronised"


@dataclass
class NumpyBackendConfig(BackendConfig):
    """The NumPy twin, on the CPU; torch is never imported."""

    name: str = "numpy"


@dataclass
class DataConfig:
    """The images and how an epoch is drawn from them.

    Attributes:
        name: "mnist", "digits", or "auto" for mnist where it can be had and digits otherwise.
        root: folder of the MNIST files; null for MNIST_ROOT or the user's cache folder.
        download: whether missing MNIST files may be fetched.
        scaling: pixel x in 0..255 becomes "unit" x/255, "standard" (x/255 - 0.1307)/0.3081,
            or "raw" x.
        sampling: "shuffle" (every image once an epoch, last batch shorter) or "replacement"
            (report R0: full batches of independent draws).
        flip: probability of mirroring a training image left to right (report R1: 0.5).
    """

    name: str = MISSING
    root: str | None = None
    download: bool = True
    scaling: str = "standard"
    sampling: str = "shuffle"
    flip: float = 0.0


@dataclass
class OptimizerConfig:
    """What every optimizer has."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = 0.0


@dataclass
class AdamConfig(OptimizerConfig):
    """Adam; eps_mode is where ε stands: "torch", "uncorrected" (R0) or "inside_root" (R3)."""

    name: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    eps_mode: str = "torch"


@dataclass
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum as torch defines it."""

    name: str = "sgd"
    lr: float = 1e-2
    momentum: float = 0.9
    dampening: float = 0.0
    nesterov: bool = False


@dataclass
class AdagradConfig(OptimizerConfig):
    """AdaGrad (report R2 uses lr 0.01 and eps 1e-7)."""

    name: str = "adagrad"
    lr: float = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10


@dataclass
class SchedulerConfig:
    """Multiply the learning rate by gamma every step_size epochs; step_size null: never."""

    step_size: int | None = None
    gamma: float = 0.5


@dataclass
class StepSchedulerConfig(SchedulerConfig):
    """StepLR with report R1's values."""

    step_size: int | None = 20


@dataclass
class InitConfig:
    """Initial weights: "torch", "he", "xavier" or "normal" (backends/initialisation.py)."""

    name: str = MISSING


@dataclass
class NormalInitConfig(InitConfig):
    """Linear weights N(0, linear_std²), the form that report R0 prints with a scale of 1."""

    name: str = "normal"
    linear_std: float = 1.0


@dataclass
class TrainerConfig:
    """Length of the run, how often its state is saved, and what is recorded on the way.

    Attributes:
        epochs: null means DEFAULT_EPOCHS of the data set.
        batch_size: images in a step.
        checkpoint_every: a whole number and a unit, "1 epoch" or "200 steps", counted from the
            run's start. The state is also saved after the last epoch and on SIGINT and SIGTERM.
        steps_per_epoch: only with data.sampling=replacement, which has no natural end of an
            epoch; null means as many full batches as there are images for.
        log_every: write loss and accuracy to steps.csv every so many steps; null for never.
        evaluation_samples: after the first step and each epoch, write the accuracies on so many
            training and test images, in evaluation mode, to evaluations.csv; 0 for none.
    """

    epochs: int | None = None
    batch_size: int = 128
    checkpoint_every: str = "1 epoch"
    steps_per_epoch: int | None = None
    log_every: int | None = None
    evaluation_samples: int = 0


@dataclass
class LoggerConfig:
    """A log for live viewing besides the CSV files, which are always written."""

    name: str = MISSING


@dataclass
class StudyConfig:
    """How a sweep is reported at its end (studies/sweep.py).

    Attributes:
        title: a line above its table and picture.
        form: "table" (one row for each setting), "curves" (a column over the epochs) or
            "evaluations" (accuracies on samples over the epochs).
        column: the column of metrics.csv that is compared.
    """

    title: str = ""
    form: str = "table"
    column: str = "test_accuracy"


@dataclass
class Config:
    """Everything that decides a run.

    Attributes:
        resume: folder of a run that is to be taken up where it was saved, with its own settings.
        resume_override: whether settings that change the result may differ from that run's.
    """

    resume: str | None = None
    resume_override: bool = False
    seed: int = 0
    device: str = "auto"
    model: ModelConfig = MISSING
    backend: BackendConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    init: InitConfig = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = MISSING
    study: StudyConfig = field(default_factory=StudyConfig)


class Interval(NamedTuple):
    """A number of steps or epochs."""

    number: int
    unit: str  # "step" or "epoch"


def parse_interval(text: str) -> Interval:
    """Return what "200 steps" or "1 epoch" says.

    Raises:
        ConfigError: if text is not of that form.
    """
    found = re.fullmatch(r"\s*([1-9][0-9]{0,11})\s*(step|epoch)s?\s*", text)
    if not found:
        raise ConfigError(
            "trainer.checkpoint_every must be a whole number of at least 1 and its unit, "
            f"as '1 epoch' or '200 steps', not {text!r}"
        )
    return Interval(int(found[1]), found[2])


DEFAULT_EPOCHS = {"mnist": 10, "digits": 60}

_OPTIONS: dict[str, dict[str, Any]] = {
    "backend": {"torch": TorchBackendConfig, "numpy": NumpyBackendConfig},
    "data": {name: DataConfig(name=name) for name in ("auto", "mnist", "digits")},
    "optimizer": {"adam": AdamConfig, "sgd": SGDConfig, "adagrad": AdagradConfig},
    "scheduler": {"constant": SchedulerConfig, "step": StepSchedulerConfig},
    "init": {
        **{name: InitConfig(name=name) for name in ("torch", "he", "xavier")},
        "normal": NormalInitConfig,
    },
    "logger": {name: LoggerConfig(name=name) for name in ("csv", "tensorboard")},
}


def register() -> None:
    """Make the types known to Hydra; harmless when repeated."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, options in _OPTIONS.items():
        for name, node in options.items():
            store.store(group=group, name=name, node=node)
