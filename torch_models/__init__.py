"""The networks as PyTorch modules, and what the reports need that torch lacks."""

from torch_models.adagrad import Adagrad
from torch_models.adam import Adam
from torch_models.deepcnn21 import DeepCNN21
from torch_models.dropout import Dropout
from torch_models.example_unit import ExampleUnit
from torch_models.lenet5_avgpool import LeNet5AvgPool
from torch_models.lenet5_bn import LeNet5BN
from torch_models.lenet5_relu import LeNet5ReLU
from torch_models.lenet5_tanh import LeNet5Tanh
from torch_models.lenet5_variant import LeNet5Variant
from torch_models.pooling import MaxPool2d
from torch_models.registry import build, names
from torch_models.residual import Residual

__all__ = [
    "Adagrad",
    "Adam",
    "DeepCNN21",
    "Dropout",
    "ExampleUnit",
    "LeNet5AvgPool",
    "LeNet5BN",
    "LeNet5ReLU",
    "LeNet5Tanh",
    "LeNet5Variant",
    "MaxPool2d",
    "Residual",
    "build",
    "names",
]
