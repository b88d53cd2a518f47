"""The PyTorch side of training.

`backend.py` is what the loop sees; `steps.py` takes the steps, `capture.py` records them as CUDA
graphs, `masks.py` feeds the dropout layers; `devices.py` and `optimizers.py` read the settings.
"""

from training.backends.torch.backend import TorchBackend

__all__ = ["TorchBackend"]
