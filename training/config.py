"""The configuration's types, choices and ranges.

Each dataclass that fills a Hydra group is registered as an option of that group, so its defaults
are the option's values; conf/config.yaml picks one option per group. `check` holds what types
cannot say. This module imports neither NumPy nor torch: the configuration decides how they start.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from training.errors import ConfigError, did_you_mean


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
    """Initial weights: "torch", "he", "xavier" or "normal" (see training/initialisation.py)."""

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
    """How a sweep is reported at its end (training/studies.py).

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

CHOICES: dict[str, tuple[str, ...]] = {
    "device": ("auto", "cpu", "cuda"),
    "backend.name": ("torch", "numpy"),
    "backend.mode": ("auto", "eager", "graph"),
    "backend.precision": ("float32", "tf32", "bf16"),
    "backend.batch_norm": ("synchronised", "local"),
    "data.name": ("auto", "mnist", "digits"),
    "data.scaling": ("unit", "standard", "raw"),
    "data.sampling": ("shuffle", "replacement"),
    "optimizer.name": ("adam", "sgd", "adagrad"),
    "optimizer.eps_mode": ("torch", "uncorrected", "inside_root"),
    "init.name": ("torch", "he", "xavier", "normal"),
    "logger.name": ("csv", "tensorboard"),
    "study.form": ("table", "curves", "evaluations"),
    "study.column": ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
}

_SYNONYMS = {"gpu": "cuda", "pytorch": "torch"}

_OPTIONS: dict[str, dict[str, Any]] = {
    "backend": {"torch": TorchBackendConfig, "numpy": NumpyBackendConfig},
    "data": {name: DataConfig(name=name) for name in CHOICES["data.name"]},
    "optimizer": {"adam": AdamConfig, "sgd": SGDConfig, "adagrad": AdagradConfig},
    "scheduler": {"constant": SchedulerConfig, "step": StepSchedulerConfig},
    "init": {
        **{name: InitConfig(name=name) for name in ("torch", "he", "xavier")},
        "normal": NormalInitConfig,
    },
    "logger": {name: LoggerConfig(name=name) for name in CHOICES["logger.name"]},
}

# key: (least, greatest, whether the least value itself is allowed)
_RANGES: dict[str, tuple[float, float, bool]] = {
    "seed": (0, 2**63 - 1, True),
    "model.image_size": (1, 128, True),
    "backend.threads": (1, 1024, True),
    "data.flip": (0, 1, True),
    "init.linear_std": (0, math.inf, False),
    "optimizer.lr": (0, math.inf, False),
    "optimizer.weight_decay": (0, math.inf, True),
    "optimizer.eps": (0, math.inf, True),
    "optimizer.momentum": (0, math.inf, True),
    "optimizer.dampening": (0, math.inf, True),
    "optimizer.lr_decay": (0, math.inf, True),
    "optimizer.initial_accumulator_value": (0, math.inf, True),
    "scheduler.step_size": (1, math.inf, True),
    "scheduler.gamma": (0, math.inf, False),
    "trainer.epochs": (1, math.inf, True),
    "trainer.batch_size": (1, math.inf, True),
    "trainer.steps_per_epoch": (1, math.inf, True),
    "trainer.log_every": (1, math.inf, True),
    "trainer.evaluation_samples": (0, math.inf, True),
}


def register() -> None:
    """Make the types known to Hydra; harmless when repeated."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, options in _OPTIONS.items():
        for name, node in options.items():
            store.store(group=group, name=name, node=node)


def check(config: DictConfig) -> Config:
    """Return the composed configuration as a `Config`, every value inside its range.

    Raises:
        ConfigError: with the key, its value, and what it may be.
    """
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{missing[0]} has no value: set it, as in {missing[0]}=...")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value is not None and value not in choices:
            hint = did_you_mean(_SYNONYMS.get(value, str(value)), choices)
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, not {value!r}{hint}")
    for key, (least, greatest, closed) in _RANGES.items():
        _check_range(key, OmegaConf.select(config, key), least, greatest, closed)
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, Config)
    parse_interval(typed.trainer.checkpoint_every)
    if isinstance(typed.optimizer, AdamConfig):
        betas = list(typed.optimizer.betas)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(
                f"optimizer.betas must be two numbers, each at least 0 and below 1, not {betas}"
            )
    if isinstance(typed.optimizer, SGDConfig):
        plain = typed.optimizer.momentum == 0 or typed.optimizer.dampening != 0
        if typed.optimizer.nesterov and plain:
            raise ConfigError(
                "optimizer.nesterov needs optimizer.momentum above 0 and optimizer.dampening=0"
            )
    if typed.trainer.steps_per_epoch and typed.data.sampling != "replacement":
        raise ConfigError(
            "trainer.steps_per_epoch needs data.sampling=replacement: with "
            f"data.sampling={typed.data.sampling} an epoch is one pass over the images"
        )
    if typed.backend.name == "numpy" and typed.device == "cuda":
        raise ConfigError(
            "device=cuda needs backend=torch: the NumPy twin runs on the CPU (device=cpu)"
        )
    return typed


def _check_range(key: str, value: Any, least: float, greatest: float, closed: bool) -> None:
    if value is None:
        return
    inside = least <= value <= greatest if closed else least < value <= greatest
    if not inside or not math.isfinite(value):
        wanted = f"at least {least}" if closed else f"above {least}"
        if math.isfinite(greatest):
            wanted = f"{wanted} and at most {greatest}"
        elif not math.isfinite(value):
            wanted = f"a finite number {wanted}"
        raise ConfigError(f"{key} must be {wanted}, not {value}")
