"""`python -m inference export`: weights in other programs' formats, checked before it is said."""

from __future__ import annotations

import argparse
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from inference.networks import BACKENDS, forward, network
from inference.weights import find, metadata
from pretrained import Weights
from training.data.digits import load_digits
from training.errors import ConfigError
from training.storage.files import write_atomically
from training.storage.weights import serialize

#: Images on which an exported file is compared with both twins.
IMAGES = 32


class Format(NamedTuple):
    """How weights become a file's bytes, and what these compute from inputs (N, 1, H, W)."""

    suffix: str
    write: Callable[[Weights, NDArray], bytes]
    run: Callable[[bytes, Weights, NDArray], NDArray]


class Loaded:
    """A file that was loaded again, as one side of a comparison: forward only, its own weights."""

    frozen = True
    backward = None

    def __init__(self, run: Callable[[NDArray], NDArray]) -> None:
        self.forward = run

    def parameters(self) -> dict[str, NDArray]:
        """Return no arrays: the weights are the file's own."""
        return {}

    gradients = buffers = parameters


def main(arguments: Sequence[str]) -> None:
    """Export, load the file again, and compare."""
    made = argparse.ArgumentParser(
        prog="python -m inference export",
        description="Write weights for other programs; the file is checked against both twins.",
    )
    made.add_argument("weights", help="a network's name, a run's folder or a .safetensors file")
    made.add_argument("--format", required=True, choices=FORMATS)
    made.add_argument("--output", type=Path, metavar="FILE", help="(default: the network's name)")
    options = made.parse_args(arguments)
    weights, form = find(options.weights), FORMATS[options.format]
    path = options.output or Path(weights.model + form.suffix)
    print(f"{path}: {export(weights, form, path)}")


def export(weights: Weights, form: Format, path: Path) -> str:
    """Write weights to path; return in words how they were checked.

    Raises ConfigError, and writes nothing, if a package is missing or the file does not compute
    what both twins compute.
    """
    from parity import ParityError, compare

    images = load_digits()[2][:IMAGES]
    inputs = weights.preprocessing(images)
    twins = {backend: network(weights, backend) for backend in BACKENDS}
    try:
        content = form.write(weights, inputs)
        loaded = Loaded(lambda given: form.run(content, weights, given))
        outputs = loaded.forward(inputs)
        sides = {weights.model: twins["numpy"], f"{weights.model} from {path.name}": loaded}
        found = [
            compare(twins["torch"], side, inputs, train=False, name=title)
            for title, side in sides.items()
        ]
    except ParityError as error:
        raise ConfigError(str(error)) from error
    for comparison in found:
        if not comparison.passed:
            raise ConfigError(f"nothing was written to {path}: {comparison}")
    write_atomically(path, content)
    differences = {
        backend: float(np.abs(outputs - forward(net, inputs, backend)).max())
        for backend, net in twins.items()
    }
    told = ", ".join(f"{value:.2g} from {name}" for name, value in differences.items())
    return f"loaded again, its logits differ at most by {told} on {len(images)} images"


def _onnx(weights: Weights, inputs: NDArray) -> bytes:
    from parity import onnx

    return onnx.export(network(weights, "torch"), inputs)


def _run_onnx(content: bytes, weights: Weights, inputs: NDArray) -> NDArray:
    from parity.sides import OnnxFile

    return OnnxFile(content).forward(inputs)


def _torchscript(weights: Weights, inputs: NDArray) -> bytes:
    import torch

    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch call it deprecated
        traced = torch.jit.trace(network(weights, "torch"), torch.from_numpy(inputs))
        torch.jit.save(traced, target)
    return target.getvalue()


def _run_torchscript(content: bytes, weights: Weights, inputs: NDArray) -> NDArray:
    import torch

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(content))(torch.from_numpy(inputs)).numpy()


def _safetensors(weights: Weights, inputs: NDArray) -> bytes:
    return serialize(weights.state, metadata(weights))


def _run_safetensors(content: bytes, weights: Weights, inputs: NDArray) -> NDArray:
    return _run_state(weights, load(content), inputs)


def _npz(weights: Weights, inputs: NDArray) -> bytes:
    target = io.BytesIO()
    arrays: dict[str, Any] = dict(weights.state)
    np.savez(target, **arrays)
    return target.getvalue()


def _run_npz(content: bytes, weights: Weights, inputs: NDArray) -> NDArray:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return _run_state(weights, dict(arrays), inputs)


def _run_state(weights: Weights, state: dict[str, NDArray], inputs: NDArray) -> NDArray:
    """Return what the NumPy twin computes with other arrays."""
    return forward(network(replace(weights, state=state)), inputs, "numpy")


FORMATS = {
    "onnx": Format(".onnx", _onnx, _run_onnx),
    "torchscript": Format(".pt", _torchscript, _run_torchscript),
    "safetensors": Format(".safetensors", _safetensors, _run_safetensors),
    "npz": Format(".npz", _npz, _run_npz),
}
