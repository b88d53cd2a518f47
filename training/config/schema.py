"""The configuration's types and limits; `composition` holds a configuration to them.

Each dataclass that fills a Hydra group is registered as an option of that group, so its defaults
are the option's values; conf/config.yaml picks one option per group. OmegaConf sees the plain
types, `limits` what `Annotated` adds. This module imports neither NumPy nor torch: the
configuration decides how they start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from training.config.limits import (
    Count,
    Fraction,
    Fractions,
    Natural,
    NonNegative,
    Positive,
    between,
    interval,
    one_of,
)


@dataclass
class ModelConfig:
    """A network: its file's stem, its class's arguments, the side of the images it takes."""

    name: str = MISSING
    image_size: Annotated[int, between(1, 128)] = 28
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class BackendConfig:
    """Which twin trains."""

    name: str = MISSING
    # Cores used: threads in each process of PyTorch; processes of NumPy, with one core each. Null
    # means as many as are worth using.
    threads: Annotated[int, between(1, 1024)] | None = None


@dataclass
class TorchBackendConfig(BackendConfig):
    """The PyTorch twin."""

    name: Annotated[str, one_of("torch")] = "torch"
    # On CUDA, use only algorithms that give the same bits every time; on the CPU all do.
    deterministic: bool = False
    # "eager" calls each step's kernels one by one, "graph" replays them as one CUDA graph; "auto"
    # is graph on CUDA where possible, and eager elsewhere.
    mode: Annotated[str, one_of("auto", "eager", "graph")] = "auto"
    compile: bool = False  # the forward and backward pass, with torch.compile
    # Of convolutions and matrix products; only float32 agrees with the other twin to rounding.
    precision: Annotated[str, one_of("float32", "tf32", "bf16")] = "float32"


@dataclass
class NumpyBackendConfig(BackendConfig):
    """The NumPy twin, on the CPU; torch is never imported."""

    name: Annotated[str, one_of("numpy")] = "numpy"


@dataclass
class DataConfig:
    """The images and how an epoch is drawn from them."""

    # "auto" is mnist if it is available and digits otherwise.
    name: Annotated[str, one_of("auto", "mnist", "digits")] = MISSING
    root: str | None = None  # folder of the MNIST files; null: MNIST_ROOT or the user's cache
    download: bool = True  # whether missing MNIST files may be downloaded
    # Pixel x in 0..255 becomes "unit" x/255, "standard" (x/255 - 0.1307)/0.3081, or "raw" x.
    scaling: Annotated[str, one_of("unit", "standard", "raw")] = "standard"
    # "shuffle" (every image once an epoch, last batch shorter) or "replacement" (report R0: full
    # batches of independent draws).
    sampling: Annotated[str, one_of("shuffle", "replacement")] = "shuffle"
    flip: Fraction = 0.0  # probability of mirroring a training image left to right (R1: 0.5)
    # The greatest shift of a training image, in pixels, to each side and up or down.
    shift: Annotated[float, between(0, 128)] = 0.0
    # The greatest rotation of a training image, in degrees, in either direction.
    rotation: Annotated[float, between(0, 180)] = 0.0
    # Images, the last of the training set, that are held out of it and replace the test images,
    # which are then not used.
    validation: Natural = 0


@dataclass
class OptimizerConfig:
    """Settings that all optimizers have."""

    name: str = MISSING
    lr: Positive = MISSING
    weight_decay: NonNegative = 0.0


@dataclass
class AdamConfig(OptimizerConfig):
    """Adam; eps_mode is where ε is added: "torch", "uncorrected" (R0) or "inside_root" (R3)."""

    name: Annotated[str, one_of("adam")] = "adam"
    lr: Positive = 1e-3
    betas: Fractions = (0.9, 0.999)
    eps: NonNegative = 1e-8
    eps_mode: Annotated[str, one_of("torch", "uncorrected", "inside_root")] = "torch"


@dataclass
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum as torch defines it."""

    name: Annotated[str, one_of("sgd")] = "sgd"
    lr: Positive = 1e-2
    momentum: NonNegative = 0.9
    dampening: NonNegative = 0.0
    nesterov: bool = False


@dataclass
class AdagradConfig(OptimizerConfig):
    """AdaGrad (report R2 uses lr 0.01 and eps 1e-7)."""

    name: Annotated[str, one_of("adagrad")] = "adagrad"
    lr: Positive = 1e-2
    lr_decay: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-10


@dataclass
class SchedulerConfig:
    """Multiply the learning rate by gamma every step_size epochs; step_size null: never."""

    step_size: Count | None = None
    gamma: Positive = 0.5


@dataclass
class StepSchedulerConfig(SchedulerConfig):
    """StepLR with report R1's values."""

    step_size: Count | None = 20


@dataclass
class InitConfig:
    """Initial weights: "torch", "he", "xavier" or "normal" (backends/initialisation.py)."""

    name: Annotated[str, one_of("torch", "he", "xavier", "normal")] = MISSING


@dataclass
class NormalInitConfig(InitConfig):
    """Linear weights N(0, linear_std²), the form that report R0 prints with a scale of 1."""

    name: Annotated[str, one_of("normal")] = "normal"
    linear_std: Positive = 1.0


@dataclass
class TrainerConfig:
    """Length of the run, how often its state is saved, and what is recorded on the way."""

    epochs: Count | None = None  # null means DEFAULT_EPOCHS of the data set
    batch_size: Count = 128  # images in a step
    # A whole number and a unit, "1 epoch" or "200 steps", counted from the run's start. The state
    # is also saved after the last epoch and on a signal.
    checkpoint_every: Annotated[str, interval] = "1 epoch"
    # Only with data.sampling=replacement, which has no natural end of an epoch; null means as many
    # full batches as there are images for.
    steps_per_epoch: Count | None = None
    log_every: Count | None = None  # steps between rows of steps.csv; null for none
    # Training and test images on which accuracies in evaluation mode are written to
    # evaluations.csv, after the first step and each epoch; 0 for none.
    evaluation_samples: Natural = 0


@dataclass
class StudyConfig:
    """How a sweep is summarised at its end (studies/sweep.py)."""

    title: str = ""  # a line above its table and picture
    # A row for each setting, a column over the epochs, or accuracies on samples over the epochs.
    form: Annotated[str, one_of("table", "curves", "evaluations")] = "table"
    # The column of metrics.csv that is compared.
    column: Annotated[str, one_of("train_loss", "train_accuracy", "test_loss", "test_accuracy")] = (
        "test_accuracy"
    )


@dataclass
class Config:
    """Everything that determines a run."""

    resume: str | None = None  # folder of a run to resume, with its own settings
    resume_override: bool = False  # whether settings that change the result may differ from them
    seed: Annotated[int, between(0, 2**63 - 1)] = 0
    device: Annotated[str, one_of("auto", "cpu", "cuda")] = "auto"
    model: ModelConfig = MISSING
    backend: BackendConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    init: InitConfig = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    study: StudyConfig = field(default_factory=StudyConfig)


DEFAULT_EPOCHS = {"mnist": 10, "digits": 60}
