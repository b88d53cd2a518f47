"""Your batch normalisation: write forward and backward."""

import numpy as np


class BatchNorm2d:
    """Normalisation of each channel over batch and positions, as torch.nn.BatchNorm2d.

    weight (γ) and bias (β), running_mean and running_var are (num_features,) float32. In training,
    x is normalised with the mean and the biased variance of its own batch, and the running
    statistics move towards the batch's: new = (1 - momentum) · old + momentum · batch's, where the
    variance is the unbiased one; num_batches_tracked counts the batches. In evaluation, x is
    normalised with the running statistics, and nothing moves. eps is added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.eps, self.momentum, self.training = eps, momentum, True
        self.weight = np.ones(num_features, np.float32)
        self.bias = np.zeros(num_features, np.float32)
        self.d_weight = np.zeros_like(self.weight)
        self.d_bias = np.zeros_like(self.bias)
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
        self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return y for x, both (N, num_features, H, W) float32, in the mode self.training says.

        Leave x unchanged, change the running statistics in place (array[...] = …), and keep on
        self what backward will need.
        """
        raise NotImplementedError("BatchNorm2d.forward is yours to write")

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dL/dx given dL/dy, both of x's shape, for the mode that forward ran in.

        Also set self.d_weight and self.d_bias to dL/dγ and dL/dβ. In training, the mean and the
        variance depend on x too.
        """
        raise NotImplementedError("BatchNorm2d.backward is yours to write")

    def train(self) -> None:
        """Switch to training mode."""
        self.training = True

    def eval(self) -> None:
        """Switch to evaluation mode."""
        self.training = False

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the arrays themselves: torch's weights are copied into them."""
        return {"weight": self.weight, "bias": self.bias}

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the parameters' gradients, under the parameters' names."""
        return {"weight": self.d_weight, "bias": self.d_bias}

    def buffers(self) -> dict[str, np.ndarray]:
        """Return what is saved but not trained, the arrays themselves."""
        return {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "num_batches_tracked": self.num_batches_tracked,
        }
