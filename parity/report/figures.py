"""The report's figures as plain data: what is measured, written to JSON and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from parity.tolerance import TensorCheck


@dataclass(frozen=True)
class Tensor(TensorCheck):
    """One tensor's verdict, with what the report tells besides.

    Attributes:
        shape: its shape in NumPy; empty for a scalar or where there is no array.
        torch_error: torch's largest distance from the float64 reference; None in float64, where
            torch is the reference.
    """

    shape: tuple[int, ...] = ()
    torch_error: float | None = None

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts failures last, then by the share of the budget used."""
        return not self.passed, self.share

    @property
    def label(self) -> str:
        """Layer and tensor in words."""
        return f"{self.layer}, {self.tensor}" if self.layer else self.tensor


@dataclass(frozen=True)
class Layer:
    """One layer, or the loss, run alone on what torch gave it.

    Attributes:
        name: the layer's name.
        kind: its class on the torch side.
        output: shape of its output, batch included.
        tensors: a verdict for each of its tensors.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    tensors: list[Tensor]

    @property
    def passed(self) -> bool:
        """Whether the layer is right by itself."""
        return all(tensor.passed for tensor in self.tensors)

    @property
    def forward(self) -> Tensor | None:
        """The worst of output, loss and buffers."""
        return worst([t for t in self.tensors if not t.tensor.startswith("gradient")])

    @property
    def backward(self) -> Tensor | None:
        """The worst gradient."""
        return worst([t for t in self.tensors if t.tensor.startswith("gradient")])


@dataclass(frozen=True)
class Run:
    """One forward and backward pass of the whole network, and of each layer alone.

    Attributes:
        dtype: "float32" or "float64".
        train: training or evaluation mode.
        tensors: a verdict for each tensor of the whole network.
        layers: the layers in torch's calling order, then the loss.
        culprits: names of what is wrong by itself.
        verdict: the disagreement in words; empty if both sides agree.
    """

    dtype: str
    train: bool
    tensors: list[Tensor]
    layers: list[Layer]
    culprits: list[str] = field(default_factory=list)
    verdict: str = ""

    @property
    def title(self) -> str:
        """The run in words."""
        return f"{self.dtype}, {'training' if self.train else 'evaluation'}"

    @property
    def passed(self) -> bool:
        """Whether the whole network and every layer alone are within their budgets."""
        return not self.verdict and all(tensor.passed for tensor in self.all_tensors)

    @property
    def all_tensors(self) -> list[Tensor]:
        """The whole network's tensors, then those of the layers alone."""
        return [*self.tensors, *(tensor for layer in self.layers for tensor in layer.tensors)]


@dataclass(frozen=True)
class Step:
    """One optimizer step: both losses and the tensor nearest to, or farthest outside, its envelope.

    Attributes:
        number: from 1.
        rate: learning rate of the step.
        torch_loss: before the step.
        numpy_loss: before the step.
        worst: that tensor.
    """

    number: int
    rate: float
    torch_loss: float
    numpy_loss: float
    worst: Tensor


@dataclass(frozen=True)
class Training:
    """Both sides trained on the same batches, up to the first step that disagrees.

    Attributes:
        dtype: "float32" or "float64".
        optimizer: the optimizer and its settings in words.
        steps: the steps made.
        culprits: names of what is wrong by itself.
        verdict: the disagreement in words; empty if both sides agree.
    """

    dtype: str
    optimizer: str
    steps: list[Step]
    culprits: list[str] = field(default_factory=list)
    verdict: str = ""

    @property
    def passed(self) -> bool:
        """Whether no tensor ever left its envelope."""
        return not self.verdict

    @property
    def worst(self) -> Step | None:
        """The step with the largest share of an envelope."""
        return max(self.steps, key=lambda step: step.worst.rank, default=None)


@dataclass(frozen=True)
class HeatMap:
    """NumPy's error in one tensor, laid out on a plane.

    Attributes:
        tensor: the tensor's verdict.
        where: dtype, mode and whether the layer ran alone, in words.
        layout: how the tensor's axes became rows and columns, in words.
        cells: rows of errors; NaN where there is no element, infinity where one is not finite.
    """

    tensor: Tensor
    where: str
    layout: str
    cells: list[list[float]]


@dataclass(frozen=True)
class Network:
    """Everything measured of one network.

    Attributes:
        name: file stem and arguments.
        report: which report describes it; empty if none does.
        input: shape of one sample, (C, H, W).
        seconds: time the measuring took.
        kind: class on the torch side.
        parameters: number of trained parameters.
        runs: float32 and float64, training and evaluation.
        trainings: float32 and float64.
        heat_map: of the worst tensor that is not a scalar.
        problem: why it could not be measured; empty if it could.
        reproduction: file that shows the failure again; empty without one.
    """

    name: str
    report: str
    input: tuple[int, ...]
    seconds: float
    kind: str = ""
    parameters: int = 0
    runs: list[Run] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    heat_map: HeatMap | None = None
    problem: str = ""
    reproduction: str = ""

    @property
    def failures(self) -> list[Run | Training]:
        """The runs and trainings that disagree."""
        parts: list[Run | Training] = [*self.runs, *self.trainings]
        return [part for part in parts if not part.passed]

    @property
    def passed(self) -> bool:
        """Whether every run and every training agrees."""
        return not self.problem and not self.failures

    @property
    def culprit(self) -> str:
        """The name of what is wrong by itself; empty if that is nothing, or unknown."""
        return next((name for part in self.failures for name in part.culprits), "")

    @property
    def verdict(self) -> str:
        """The disagreement in words; empty if both sides agree."""
        return self.problem or next((part.verdict for part in self.failures), "")

    @property
    def closest(self) -> tuple[Run, Tensor] | None:
        """The run and the tensor that use most of a budget, layers alone included."""
        pairs = [(run, tensor) for run in self.runs for tensor in run.all_tensors]
        return max(pairs, key=lambda pair: pair[1].rank, default=None)


@dataclass(frozen=True)
class Report:
    """All networks and where, when and with which seed they were measured.

    Attributes:
        date: UTC, ISO 8601.
        seed: of weights, images and dropout masks.
        seconds: time the measuring took.
        environment: versions and machine, by what the page calls them.
        networks: in the order measured.
    """

    date: str
    seed: int
    seconds: float
    environment: dict[str, str]
    networks: list[Network]

    @property
    def passed(self) -> bool:
        """Whether every network agrees."""
        return all(network.passed for network in self.networks)


def worst(tensors: list[Tensor]) -> Tensor | None:
    """Return the tensor that uses most of its budget, a failure if there is one."""
    return max(tensors, key=lambda tensor: tensor.rank, default=None)
