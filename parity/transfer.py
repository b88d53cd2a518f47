"""Weight transfer: the identity map on names, strict in both directions.

Parameters and buffers have one name, shape, layout and dtype on both sides, so nothing is ever
renamed, transposed or cast; anything that does not match stops the transfer before a single number
has moved. Values are copied: no array and tensor ever share memory afterwards.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from parity.protocol import Network, ParityError, arrays_of, kind_of


def to_numpy(torch_module: nn.Module, numpy_network: Network) -> None:
    """Copy every parameter and buffer of a torch module into a NumPy network, in place.

    Raises:
        ParityError: on a missing or extra name or another shape or dtype, and then nothing is
            copied; or if the network hands out copies of its arrays.
    """
    tensors, arrays = _matched(torch_module, numpy_network)
    for name, array in arrays.items():
        array[...] = tensors[name].detach().cpu().numpy()
    held = _arrays(numpy_network)
    for name, array in arrays.items():
        if not np.array_equal(held[name], array, equal_nan=True):
            raise ParityError(
                f"{type(numpy_network).__name__} did not keep what was transferred into {name}: "
                "parameters() and buffers() must give the arrays themselves, not copies"
            )


def to_torch(numpy_network: Network, torch_module: nn.Module) -> None:
    """Copy every parameter and buffer of a NumPy network into a torch module, in place.

    Raises:
        ParityError: on a missing or extra name or another shape or dtype; nothing is copied.
    """
    tensors, arrays = _matched(torch_module, numpy_network)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(np.array(arrays[name])))


@overload
def to_array(values: np.ndarray | Tensor) -> np.ndarray: ...
@overload
def to_array(values: None) -> None: ...
def to_array(values: Any) -> Any:
    """Return a tensor's numbers as an array, and anything else as it is.

    Raises:
        ParityError: if NumPy has no such dtype.
    """
    if not isinstance(values, Tensor):
        return values
    try:
        return values.detach().cpu().numpy()
    except TypeError as error:
        raise ParityError(
            f"NumPy cannot hold a tensor of {values.dtype}: give one of torch.float32 or "
            "torch.float64"
        ) from error


def tied(torch_module: nn.Module) -> list[list[str]]:
    """Return the names of each parameter or buffer that has several."""
    groups: dict[int, list[str]] = {}
    for name, tensor in torch_module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _arrays(numpy_network: Network) -> dict[str, np.ndarray]:
    return arrays_of(numpy_network, "parameters") | arrays_of(numpy_network, "buffers")


def _matched(
    torch_module: nn.Module, numpy_network: Network
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Return both sides' parameters and buffers after checking that they correspond."""
    tensors = dict(torch_module.state_dict(keep_vars=True))
    arrays = _arrays(numpy_network)
    for names in tied(torch_module):  # of which one is enough
        if arrays.keys() & names:
            tensors = {n: t for n, t in tensors.items() if n in arrays or n not in names}
    faults = [f"{name} is only in torch" for name in tensors if name not in arrays]
    faults += [f"{name} is only in NumPy" for name in arrays if name not in tensors]
    for name in tensors:
        if name in arrays:
            faults += _difference(name, tensors[name], arrays[name])
    if faults:
        raise ParityError(
            f"torch's {type(torch_module).__name__} and NumPy's {type(numpy_network).__name__} "
            f"do not match: {'; '.join(faults)}"
        )
    return tensors, arrays


def _difference(name: str, tensor: Tensor, array: np.ndarray) -> list[str]:
    if not isinstance(array, np.ndarray):
        return [f"{name} is {kind_of(array)} in NumPy, not an array"]
    shapes = tuple(tensor.shape), array.shape
    if shapes[0] != shapes[1]:
        return [f"{name} has shape {shapes[0]} in torch and {shapes[1]} in NumPy"]
    dtypes = str(tensor.dtype).removeprefix("torch."), array.dtype.name
    if dtypes[0] != dtypes[1]:
        return [f"{name} has dtype {dtypes[0]} in torch and {dtypes[1]} in NumPy"]
    return []
