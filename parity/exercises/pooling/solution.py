"""Your max pooling: write forward and backward."""

import numpy as np


class MaxPool2d:
    """The maximum of each window, as torch.nn.MaxPool2d without padding.

    Windows are kernel_size × kernel_size and begin every stride rows and columns. What does not
    fill a window at the bottom or on the right is left out. Where several elements of a window are
    its maximum, the first one, in reading order, counts.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return y, (N, C, H', W') float32, for x, (N, C, H, W) float32.

        H' is (H - kernel_size) // stride + 1, and W' likewise. Leave x unchanged, and keep on self
        what backward will need.
        """
        raise NotImplementedError("MaxPool2d.forward is yours to write")

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dL/dx, of x's shape, given dL/dy, of y's shape. Windows may overlap."""
        raise NotImplementedError("MaxPool2d.backward is yours to write")

    def parameters(self) -> dict[str, np.ndarray]:
        """Return what is trained: nothing here."""
        return {}

    gradients = buffers = parameters
