"""Solutions of the exercises, made of this project's own NumPy sides."""

ADAM = """
from types import SimpleNamespace
import numpy as np
import numpy_models


class Adam:
    '''numpy_models' Adam, whose parameters are one vector, on a dict of arrays.'''

    def __init__(self, **settings):
        self.settings, self.adam = settings, None

    def step(self, parameters, gradients):
        def flat(arrays):
            return np.concatenate([array.ravel() for array in arrays.values()])

        if self.adam is None:
            net = SimpleNamespace(flat_parameters=flat(parameters), parameters=lambda: parameters)
            self.adam = numpy_models.Adam(net, **self.settings)
        net = self.adam.net
        net.parameters = lambda: parameters
        net.flat_parameters[...], net.flat_gradients = flat(parameters), flat(gradients)
        self.adam.step()
        start = 0
        for array in parameters.values():
            array[...] = net.flat_parameters[start : start + array.size].reshape(array.shape)
            start += array.size

    def moments(self, kind):
        state = self.adam.state_dict()
        return {n.removeprefix(kind): a for n, a in state.items() if n.startswith(kind)}

    @property
    def m(self):
        return self.moments("exp_avg.")

    @property
    def v(self):
        return self.moments("exp_avg_sq.")
"""

NETWORK = """
from numpy_models import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


class Network(Sequential):
    def __init__(self):
        super().__init__(
            conv=Conv2d(1, 4, 3),
            relu1=ReLU(),
            pool=MaxPool2d(2),
            flatten=Flatten(),
            fc1=Linear(64, 12),
            relu2=ReLU(),
            fc2=Linear(12, 10),
        )
"""

SOLUTIONS = {
    "convolution": "from numpy_models import Conv2d",
    "pooling": "from numpy_models import MaxPool2d",
    "batch_norm": "from numpy_models import BatchNorm2d",
    "cross_entropy": "from numpy_models import CrossEntropyLoss",
    "adam": ADAM,
    "network": NETWORK,
}

BY_HAND = '''
import numpy as np


class Conv2d:
    """A student's, with nothing but NumPy."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        self.k, self.s, self.p = kernel_size, stride, padding
        self.w = np.zeros((out_channels, in_channels, kernel_size, kernel_size), np.float32)
        self.b = np.zeros(out_channels, np.float32)

    def windows(self, image, height, width):
        for i in range(self.k):
            for j in range(self.k):
                rows = slice(i, i + self.s * (height - 1) + 1, self.s)
                columns = slice(j, j + self.s * (width - 1) + 1, self.s)
                yield i, j, image[:, :, rows, columns]

    def forward(self, x):
        p, k, s = self.p, self.k, self.s
        self.image = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        height, width = ((n - k) // s + 1 for n in self.image.shape[2:])
        y = np.zeros((len(x), len(self.b), height, width), np.float32)
        for i, j, window in self.windows(self.image, height, width):
            y += np.einsum("fc,nchw->nfhw", self.w[:, :, i, j], window)
        return y + self.b[:, None, None]

    def backward(self, dy):
        self.dw, self.db = np.zeros_like(self.w), dy.sum(axis=(0, 2, 3))
        d_image = np.zeros_like(self.image)
        pairs = zip(self.windows(self.image, *dy.shape[2:]), self.windows(d_image, *dy.shape[2:]))
        for (i, j, window), (_, _, d_window) in pairs:
            self.dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dy, window)
            d_window += np.einsum("fc,nfhw->nchw", self.w[:, :, i, j], dy)
        height, width = d_image.shape[2:]
        return d_image[:, :, self.p : height - self.p, self.p : width - self.p]

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}

    def buffers(self):
        return {}
'''
