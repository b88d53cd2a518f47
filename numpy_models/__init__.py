"""Pure-NumPy layers with hand-written backward passes, and the five networks built from them."""

from numpy_models.activations import Flatten, ReLU, SiLU, Tanh
from numpy_models.avgpool import AvgPool2d
from numpy_models.batchnorm import BatchNorm2d
from numpy_models.conv import Conv2d
from numpy_models.deepcnn21 import DeepCNN21
from numpy_models.dropout import Dropout
from numpy_models.example_unit import ExampleUnit
from numpy_models.layer import Layer
from numpy_models.lenet5_avgpool import LeNet5AvgPool
from numpy_models.lenet5_bn import LeNet5BN
from numpy_models.lenet5_relu import LeNet5ReLU
from numpy_models.lenet5_tanh import LeNet5Tanh
from numpy_models.lenet5_variant import LeNet5Variant
from numpy_models.linear import Linear
from numpy_models.losses import CrossEntropyLoss, MSELoss
from numpy_models.maxpool import MaxPool2d
from numpy_models.microbatches import loss_and_gradients, outputs
from numpy_models.optimizers import SGD, Adagrad, Adam
from numpy_models.registry import build
from numpy_models.residual import Residual
from numpy_models.schedules import StepLR
from numpy_models.sequential import Sequential
from numpy_models.sync_batchnorm import SyncBatchNorm2d, convert_sync_batchnorm

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "DeepCNN21",
    "Dropout",
    "ExampleUnit",
    "Flatten",
    "Layer",
    "LeNet5AvgPool",
    "LeNet5BN",
    "LeNet5ReLU",
    "LeNet5Tanh",
    "LeNet5Variant",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "StepLR",
    "SyncBatchNorm2d",
    "Tanh",
    "build",
    "convert_sync_batchnorm",
    "loss_and_gradients",
    "outputs",
]
