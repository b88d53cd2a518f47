"""Mistakes in how a network shows its parameters: names, layouts, dtypes, copies."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("transfer", part="network")
FAULTS = fault.faults
bn = fault.on("lenet5_bn")


def shown(change: str, *kinds: str) -> list[str]:
    """Return edits that change the arrays that methods of the network show."""
    return [
        f'«return→arrays =» self._named("_{kind}")«→; {change}; return arrays»' for kind in kinds
    ]


def exchanged(first: str, second: str, *kinds: str) -> list[str]:
    """Return edits that show two arrays under each other's name."""
    first, second = f'arrays["{first}"]', f'arrays["{second}"]'
    return shown(f"{first}, {second} = {second}, {first}", *kinds)


BOTH = "parameters", "gradients"
COPIES = "arrays = {name: array.copy() for name, array in arrays.items()}"

for name, culprit, transposed, scene, kinds in (
    ("weight stored (in, out)", "f6.weight", ".T", "lenet5_relu", BOTH),
    ("kernel stored HWIO", "c3.weight", ".transpose(2, 3, 1, 0)", "lenet5_relu", BOTH),
    ("square weight shown transposed", "f6.weight", ".T", "overlapping", BOTH[:1]),
    ("square kernel shown transposed", "c1.weight", ".swapaxes(2, 3)", "lenet5_relu", BOTH),
    ("parameter in double precision", "c5.bias", ".astype(np.float64)", "lenet5_relu", BOTH[:1]),
    ("weight flattened", "c1.weight", ".ravel()", "lenet5_relu", BOTH[:1]),
):
    edits = shown(f'arrays["{culprit}"] = arrays["{culprit}"]{transposed}', *kinds)
    fault.on(scene)(name, *edits, culprit=culprit)
bn("γ and β exchanged", *exchanged("bn2.weight", "bn2.bias", *BOTH), culprit="bn2.weight")
bn(
    "running mean and variance exchanged",
    *exchanged("bn4.running_mean", "bn4.running_var", "buffers"),
    culprit="bn4.running_mean",
)
bn(
    "gradients of two biases exchanged",
    *exchanged("bn2.bias", "c1.bias", "gradients"),
    culprit="c1.bias",
)
fault("bias missing", *shown('del arrays["out.bias"]', "parameters"), culprit="out.bias")
fault("gradient missing", *shown('del arrays["out.bias"]', "gradients"), culprit="out")
bn("buffer missing", *shown('del arrays["bn2.running_var"]', "buffers"), culprit="bn2.running_var")
fault(
    "parameter too many",
    *shown('arrays["out.scale"] = arrays["out.bias"]', "parameters"),
    culprit="out.scale",
)
fault("copies shown for parameters", *shown(COPIES, "parameters"), culprit="c1.weight")
bn("copies shown for buffers", *shown(COPIES, "buffers"), culprit="bn2.running_mean")
