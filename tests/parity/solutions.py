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
