"""A planted fault, a harmless rewrite, and the scene both are planted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn

from parity.faults.edits import mistaken
from parity.pair import Pair
from parity.steps import Batch, Recipe


@dataclass
class Scene:
    """A right pair, its loss and its training; planting changes the NumPy side alone.

    The first batch is what is compared, with `vary` on variations of its inputs too.
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

    def replace(self, **parts: Any) -> None:
        """Train in another way."""
        self.recipe = replace(self.recipe, **parts)


Plant = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """One mistake that people make in an area of the code, planted in a scene by its name.

    The culprit is what the harness must name: a layer, "loss", "optimizer", "schedule", a tensor or
    method where the fault belongs to no layer.
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


@dataclass
class Ledger:
    """The faults of one area, entered where each is written down.

    Attributes:
        area: the kind of code the mistakes are made in.
        culprit: what the harness must name, unless a fault says otherwise.
        scene: where the faults are planted.
        part: what is mistaken: the layer that is the culprit, the whole network, or a part of the
            recipe.
        faults: what was entered.
    """

    area: str
    culprit: str = ""
    scene: str = "lenet5_relu"
    part: Literal["layer", "network", "criterion", "optimizer", "schedule"] = "layer"
    faults: list[Fault] = field(default_factory=list)

    def on(self, scene: str) -> Ledger:
        """Return the ledger for faults that are planted in another scene."""
        return replace(self, scene=scene)

    def __call__(self, name: str, *edits: str, culprit: str = "", **options: Any) -> None:
        """Enter edits of the source (`parity.faults.edits`), or options that are wrong."""
        blamed = culprit or self.culprit

        def plant(scene: Scene) -> None:
            if self.part == "layer":
                mistaken(scene.network.layers[blamed], edits, options)
            elif self.part == "network":
                mistaken(scene.network, edits, options)
            else:
                right = getattr(scene.recipe, f"numpy_{self.part}")
                scene.replace(**{f"numpy_{self.part}": mistaken(right, edits, options)})

        self.faults.append(Fault(name, self.area, blamed, self.scene, plant))
