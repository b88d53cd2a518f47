"""What tutorials show: torchvision's transforms for each image, a DataLoader, eager Adam."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import torch_models
from benchmarks.cases import CASES
from benchmarks.task import SEED, WARM_UP, EpochTask
from training.backends.initialisation import initial_weights
from training.config.schema import InitConfig

#: Report R1's recipe.
NETWORK = "lenet5_tanh"
RATE, FLIP = 1e-5, 0.5
BATCH, SIZE = CASES[NETWORK]


class Images(Dataset):
    """Arrays as torchvision's MNIST gives its files: a transformed image and a label by index."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self._images, self._labels = images, labels.tolist()
        self._transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.Resize(SIZE),
                transforms.RandomHorizontalFlip(FLIP),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


class StockLoop(EpochTask):
    """The loop; `loaders` is its DataLoader's num_workers."""

    def __init__(self, threads: int, images: int, loaders: int = 0, device: str = "cpu") -> None:
        self._loaders = loaders
        super().__init__(threads, images, device)

    def prepare(self) -> None:
        torch.set_num_threads(self.threads)
        torch.manual_seed(SEED)
        self._net = torch_models.build(NETWORK)
        shapes = {name: tuple(p.shape) for name, p in self._net.named_parameters()}
        start = initial_weights(shapes, InitConfig("torch"), SEED)
        self._net.load_state_dict({name: torch.from_numpy(v) for name, v in start.items()})
        self._net.to(self.device)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=RATE)
        self._schedule = torch.optim.lr_scheduler.StepLR(self._optimizer, 20, 0.5)
        self._loader = self._load(len(self.labels))

    def warm_up(self) -> None:
        self._train(self._load(min(WARM_UP * BATCH + len(self.labels) % BATCH, len(self.labels))))

    def epoch(self) -> float:
        return self._train(self._loader)

    def _train(self, loader: DataLoader) -> float:
        total = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for inputs, targets in loader:
            x, y = inputs.to(self.device), targets.to(self.device)
            self._optimizer.zero_grad()
            logits = self._net(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(y)
            correct += (logits.detach().argmax(1) == y).sum()
        self._schedule.step()
        return float(total) / len(loader.dataset)  # type: ignore[arg-type]

    def _load(self, images: int) -> DataLoader:
        data = Images(self.images[:images], self.labels[:images])
        return DataLoader(
            data,
            BATCH,
            shuffle=True,
            num_workers=self._loaders,
            persistent_workers=self._loaders > 0,
        )
