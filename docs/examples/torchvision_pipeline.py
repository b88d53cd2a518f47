"""A torch twin trained from a plain torchvision pipeline, on `train.py`'s curve.

    MNIST_ROOT=... python docs/examples/torchvision_pipeline.py

Everything but two lines is what any torch user writes: torchvision's MNIST and transforms, a
DataLoader, Adam. The two lines take `train.py`'s initial weights and its order of the images, both
drawn from the seed, so that the losses are those of

    python train.py model=lenet5_bn backend=torch data=mnist trainer.epochs=2

up to rounding.
"""

import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets
from torchvision.transforms import v2

import torch_models
from training.backends.initialisation import initial_weights
from training.backends.streams import stream
from training.config.schema import InitConfig
from training.data import epoch_batches

SEED = 0
TRANSFORM = v2.Compose(
    [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.1307], [0.3081]),
    ]
)


def train(dataset: Dataset, epochs: int = 2, batch_size: int = 128) -> list[float]:
    """Return the mean training loss of each epoch."""
    net = torch_models.build("lenet5_bn")
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    start = initial_weights(shapes, InitConfig("torch"), SEED)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in start.items()}, strict=False)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for epoch in range(epochs):
        order = stream(SEED, "order", epoch)
        batches = epoch_batches(len(dataset), batch_size, "shuffle", order)
        total = 0.0
        for images, labels in DataLoader(dataset, batch_sampler=batches):
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        losses.append(total / len(dataset))
        print(f"epoch {epoch + 1}  train {losses[-1]:.4f}")
    return losses


def main() -> None:
    # torchvision wants the files in MNIST/raw below its root.
    train(datasets.MNIST(os.environ["MNIST_ROOT"], transform=TRANSFORM))


if __name__ == "__main__":
    main()
