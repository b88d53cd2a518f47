"""A planted fault, a harmless rewrite, and the scene both are planted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from torch import nn

import numpy_models
from numpy_models import Layer
from parity.pair import Pair
from parity.steps import Batch, Recipe


@dataclass
class Scene:
    """A right pair, its loss and its training; planting changes the NumPy side alone.

    Attributes:
        module: torch's side.
        network: NumPy's side, in float32.
        batches: (inputs, targets) of each training step; the first is what is compared.
        recipe: how both sides train, and their losses.
        vary: whether the pair is held on variations of its inputs too.
    """

    module: nn.Module
    network: Any
    batches: list[Batch]
    recipe: Recipe
    vary: bool = False

    def pair(self, train: bool = True) -> Pair:
        """Return what is compared."""
        losses = self.recipe.torch_criterion, self.recipe.numpy_criterion
        sides = self.module, self.network
        return Pair(*sides, *self.batches[0], *losses, train=train, vary=self.vary)


Plant = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """One mistake that people make.

    Attributes:
        name: what the mistake is, unique.
        area: the kind of code it is made in.
        culprit: what the harness must name: a layer, "loss", "optimizer", "schedule", a tensor or
            method where the fault belongs to no layer.
        scene: name of the pair it is planted in (`parity.faults.scenes`).
        plant: puts it there.
    """

    name: str
    area: str
    culprit: str
    scene: str
    plant: Plant = field(repr=False)


@dataclass(frozen=True)
class Rewrite:
    """Another right way to compute the same, which must pass."""

    name: str
    scene: str
    plant: Plant = field(repr=False)


def become(layer: str, kind: type[Layer]) -> Plant:
    """Plant by turning one layer into an instance of a subclass of its class."""

    def plant(scene: Scene) -> None:
        target = scene.network.layers[layer]
        assert issubclass(kind, type(target)), f"{layer} is a {type(target).__name__}"
        target.__class__ = kind

    return plant


def with_loss(kind: Callable[[], Any]) -> Plant:
    """Plant by taking another NumPy loss."""

    def plant(scene: Scene) -> None:
        scene.recipe = replace(scene.recipe, numpy_criterion=kind())

    return plant


def network_becomes(kind: type[numpy_models.Sequential]) -> Plant:
    """Plant by turning the network into an instance of a subclass of Sequential."""

    def plant(scene: Scene) -> None:
        scene.network.__class__ = kind

    return plant


Kind = TypeVar("Kind")


@dataclass
class Ledger:
    """The faults of one area, entered where each is written down.

    Attributes:
        area: the kind of code the mistakes are made in.
        culprit: what the harness must name, unless a fault says otherwise.
        scene: where a fault is planted, unless it says otherwise.
        how: makes the plant of what is decorated and of a fault's options; by default the culprit
            is a layer, and becomes an instance of the decorated subclass of its class.
        faults: what was entered.
    """

    area: str
    culprit: str = ""
    scene: str = "lenet5_relu"
    _: KW_ONLY
    how: Callable[..., Plant] | None = None
    faults: list[Fault] = field(default_factory=list)

    def plant(self, name: str, plant: Plant, culprit: str = "", scene: str = "") -> None:
        """Enter a fault that is planted in its own way."""
        place = culprit or self.culprit, scene or self.scene
        self.faults.append(Fault(name, self.area, *place, plant))

    def __call__(
        self, name: str, culprit: str = "", scene: str = "", **options: Any
    ) -> Callable[[Kind], Kind]:
        """Enter a class: of the layer, or as `how` says."""

        def enter(kind: Any) -> Any:
            plant = self.how(kind, **options) if self.how else become(culprit or self.culprit, kind)
            self.plant(name, plant, culprit, scene)
            return kind

        return enter

    def setting(self, name: str, layer: str = "", scene: str = "", **values: Any) -> None:
        """Enter a layer whose attributes are wrong."""

        def plant(scene: Scene) -> None:
            target = scene.network.layers[layer or self.culprit]
            for attribute, value in values.items():
                assert hasattr(target, attribute)
                setattr(target, attribute, value)

        self.plant(name, plant, layer, scene)

    def forward(self, name: str, layer: str = "", scene: str = "") -> Callable[[Kind], Kind]:
        """Enter change(layer, x, y), with which a layer's forward ends.

        It may write into what it is given, or return another y.
        """
        return self._ending(name, "forward_batch_last", layer, scene)

    def backward(self, name: str, layer: str = "", scene: str = "") -> Callable[[Kind], Kind]:
        """Enter change(layer, dy, dx), with which a layer's backward ends, likewise."""
        return self._ending(name, "backward_batch_last", layer, scene)

    def gradient(
        self, name: str, tensor: str, layer: str = "", scene: str = ""
    ) -> Callable[[Callable[..., Any]], None]:
        """Enter change(layer, dy, gradient), which returns a parameter's gradient."""

        def enter(change: Callable[..., Any]) -> None:
            @self.backward(name, layer, scene)
            def _(target: Any, dy: np.ndarray, dx: np.ndarray) -> None:
                gradient = target._gradients[tensor]
                gradient[...] = change(target, dy, gradient)

        return enter

    def scaled(
        self, name: str, tensor: str, factor: float, layer: str = "", scene: str = ""
    ) -> None:
        """Enter a factor on one gradient ("input", "weight" or "bias") of a layer."""
        if tensor == "input":
            self.backward(name, layer, scene)(lambda _, dy, dx: dx * dx.dtype.type(factor))
        else:
            self.gradient(name, tensor, layer, scene)(lambda _, dy, gradient: gradient * factor)

    def _ending(self, name: str, method: str, layer: str, scene: str) -> Callable[[Kind], Kind]:
        def enter(change: Any) -> Any:
            def plant(scene: Scene) -> None:
                target = scene.network.layers[layer or self.culprit]
                right = getattr(type(target), method)

                def wrong(self: Layer, given: np.ndarray, *flag: bool) -> Any:
                    result = right(self, given, *flag)
                    changed = change(self, given, result)
                    return result if changed is None else changed

                target.__class__ = type("Faulty", (type(target),), {method: wrong})

            self.plant(name, plant, layer, scene)
            return change

        return enter
