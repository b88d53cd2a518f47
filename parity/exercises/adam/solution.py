"""Your Adam: write step."""

import numpy as np


class Adam:
    """Adam with bias correction (Kingma & Ba 2015), as torch.optim.Adam without weight decay.

    Attributes:
        m: the running mean of the gradients, by parameter name; empty before the first step.
        v: the running mean of their squares, by parameter name; empty before the first step.
    """

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.m: dict[str, np.ndarray] = {}
        self.v: dict[str, np.ndarray] = {}

    def step(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Move each parameter one step along its gradient, in place (array -= … or array[...] = …).

        Both dicts have the same names, the same ones at every step; arrays are float32. eps is
        added to the square root of the corrected v.
        """
        raise NotImplementedError("Adam.step is yours to write")
