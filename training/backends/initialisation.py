"""Initial weights by rule and seed, the same for both backends.

====== ============================ =================== =============================
rule   convolution weights          linear weights      biases
====== ============================ =================== =============================
torch  U(±1/√fan_in)                U(±1/√fan_in)       U(±1/√fan_in)
he     N(0, 2/fan_in)               N(0, 2/fan_in)      0
xavier N(0, 2/(fan_in + fan_out))   the same            0
normal N(0, 2/fan_in)               N(0, linear_std²)   0
====== ============================ =================== =============================

"torch" is what torch's layers do themselves: kaiming_uniform with a = √5 is U(±1/√fan_in).
"he" is He et al. (2015) and report R2; "xavier" is Glorot and Bengio (2010), in their normal form.
"normal" is report R0, which prints N(0, 1) for the linear layers and does not show the
convolutions': He's rule there is an assumption. Batch normalisation starts at scale 1, shift 0
under every rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.backends.streams import stream
from training.config.schema import InitConfig, NormalInitConfig

Weights = dict[str, NDArray[np.float32]]


def initial_weights(shapes: Mapping[str, tuple[int, ...]], init: InitConfig, seed: int) -> Weights:
    """Return float32 arrays for every parameter named in shapes.

    Args:
        shapes: parameter names as torch gives them ("c1.weight") and their shapes: (O, I, kH, kW)
            for a convolution, (out, in) for a linear layer, (C,) for batch normalisation's weight;
            a shape of another kind raises ValueError.
        init: the rule's name, and what it takes.
        seed: each parameter's draws depend on this and its name alone, not on the other layers.
    """
    weights: Weights = {}
    for name, shape in shapes.items():
        kernel = shapes[f"{name.rpartition('.')[0]}.weight"]
        if len(kernel) == 1:
            fill = np.ones if name.endswith(".weight") else np.zeros
            weights[name] = fill(shape, np.float32)
        elif len(kernel) in (2, 4):
            weights[name] = _draw(name, shape, kernel, init, seed)
        else:
            raise ValueError(f"no initial values are defined for {name} of shape {shape}")
    return weights


def _draw(
    name: str, shape: tuple[int, ...], kernel: tuple[int, ...], init: InitConfig, seed: int
) -> NDArray[np.float32]:
    area = math.prod(kernel[2:])
    fan_in, fan_out = kernel[1] * area, kernel[0] * area
    generator = stream(seed, f"init {name}")
    if init.name == "torch":
        bound = 1 / math.sqrt(fan_in)
        return generator.uniform(-bound, bound, shape).astype(np.float32)
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    std = math.sqrt(2 / (fan_in + fan_out) if init.name == "xavier" else 2 / fan_in)
    if isinstance(init, NormalInitConfig) and len(kernel) == 2:
        std = init.linear_std
    return (generator.standard_normal(shape) * std).astype(np.float32)
