"""Your convolution: write forward and backward."""

import numpy as np


class Conv2d:
    """A two-dimensional convolution, as torch.nn.Conv2d with square kernels.

    weight is (out_channels, in_channels, k, k) and bias (out_channels,), both float32. Like torch,
    do not flip the kernel. Padding adds rows and columns of zeros on all four sides.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        self.stride, self.padding = stride, padding
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = np.zeros(shape, np.float32)
        self.bias = np.zeros(out_channels, np.float32)
        self.d_weight = np.zeros_like(self.weight)
        self.d_bias = np.zeros_like(self.bias)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return y, (N, out_channels, H', W') float32, for x, (N, in_channels, H, W) float32.

        H' is (H + 2 padding - k) // stride + 1, and W' likewise. Leave x unchanged, and keep on
        self what backward will need.
        """
        raise NotImplementedError("Conv2d.forward is yours to write")

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dL/dx, of x's shape, given dL/dy, of y's shape.

        Also set self.d_weight and self.d_bias to dL/dweight and dL/dbias, summed over the batch.
        Set them, do not add to what they were.
        """
        raise NotImplementedError("Conv2d.backward is yours to write")

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the arrays themselves: torch's weights are copied into them."""
        return {"weight": self.weight, "bias": self.bias}

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the parameters' gradients, under the parameters' names."""
        return {"weight": self.d_weight, "bias": self.d_bias}

    def buffers(self) -> dict[str, np.ndarray]:
        """Return what is saved but not trained: nothing here."""
        return {}
