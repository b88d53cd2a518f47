"""Mistakes in convolutions. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("convolution", "c3")
FAULTS = fault.faults
bn = fault.on("lenet5_bn")
tanh = fault.on("lenet5_tanh")
overlapping = fault.on("overlapping")
strided = fault.on("strided")
avgpool = fault.on("lenet5_avgpool")

#: Loop over kernel offsets instead of taking the fast path.
GENERAL = "return «w.stride == (1, 1) and→False and» w.padding[0]"

fault(
    "window shifted by one", "row_windows.forward(«x→np.roll(x, (1, 1), axis=(0, 2))», weight, bias"
)
# As if padded once, above and to the left, and cut to size.
fault(
    "padding on one side",
    GENERAL,
    "offsets(«self.windows.frame(x, 0)"
    "→np.roll(self.windows.frame(x, 0), self.windows.padding, axis=(0, 2))»)",
    culprit="c1",
)
fault(
    "edges repeated instead of zeros",
    GENERAL,
    "offsets(«self.windows.frame(x, 0)→np.pad(x, ((2, 2), (0, 0), (2, 2), (0, 0)), mode='edge')»)",
    culprit="c1",
)
bn(
    "every filter has the first one's bias",
    "weight, «bias→bias[:1].repeat(self.out_channels)», self.windows.padding",
    culprit="c1",
)
# `=` for `+=` in the loop over samples.
fault(
    "weight gradient of the last sample alone",
    "row_windows.weight_gradient(x«→[..., -1:]», dy«→[..., -1:]», padding, gradient)",
)
ASSIGNED = GENERAL, "window« +=→[...] =» np.einsum"
tanh("overlapping windows assigned, not added", *ASSIGNED)
overlapping("overlapping windows assigned, stride 2", *ASSIGNED)
overlapping(
    "padding left on the input gradient",
    GENERAL,
    "«self.windows.inside(d_framed, x.shape)→d_framed[: len(x), :, : x.shape[2]]»",
    culprit="c1",
)
# No zeros between the upstream gradient's elements for a stride above 1.
strided(
    "stride forgotten in the input gradient",
    "«window→d_framed[i : i + oh, :, j : j + ow]» += np.einsum",
    culprit="c1",
)
fault("convolution keeps its first input", 'self._saved = «x→self.__dict__.setdefault("first", x)»')
avgpool(
    "weight gradients accumulate",
    "«→before = gradient.copy(); »row_windows.weight_gradient(x, dy, padding, gradient)"
    "«→; gradient += before»",
)
fault(
    "weights updated in backward",
    "«return→dx =» row_windows.input_gradient(dy, weight, padding, x.shape)"
    "«→; weight -= 1e-4 * gradient; return dx»",
)
for name, change in (
    ("kernel flipped: a true convolution", "[:, :, ::-1, ::-1]"),
    ("kernel rows and columns swapped", ".swapaxes(2, 3)"),
    ("input channels in reverse order", "[:, ::-1]"),
    ("columns flattened in another order", ".transpose(0, 2, 3, 1).reshape(weight.shape)"),
    ("products in half precision", ".astype(np.float16)"),
):
    fault(name, f"row_windows.forward(x, weight«→{change}», bias")
fault(
    "input gradient with the kernel unflipped",
    "row_windows.input_gradient(dy, weight«→[:, :, ::-1, ::-1]», padding",
)
fault("convolution forgets its bias", "weight, «bias→None», self.windows.padding")
fault("input gradient of the wrong sign", "return «→-»row_windows.input_gradient(")
fault("bias gradient is a mean over positions", "np.ones(ow * n, dy.dtype)«→ / (oh * ow)»")
fault("bias gradient divided by the batch size", "np.ones(ow * n, dy.dtype)«→ / n»", culprit="c1")
fault(
    "last filter forgotten",
    "«return→y =» row_windows.forward(x, weight, bias, self.windows.padding)"
    "«→; y[:, -1] = 0; return y»",
)
WRITTEN = "row_windows.weight_gradient(x, dy, padding, gradient)"
fault("weight gradient misses its last row", f"{WRITTEN}«→; gradient[:, :, -1] = 0»")
fault(
    "weight gradient flipped",
    "row_windows.weight_gradient(x, dy, padding, gradient«→[:, :, ::-1, ::-1]»)",
)
fault("weight gradient clipped", f"{WRITTEN}«→; gradient.clip(-1e-3, 1e-3, out=gradient)»")
fault("convolution's input gradient 0.1 % off", "return «→1.001 * »row_windows.input_gradient(")
fault("convolution's weight gradient 0.1 % off", f"{WRITTEN}«→; gradient *= 1.001»")
fault("convolution's bias gradient 0.1 % off", "np.ones(ow * n, dy.dtype)«→ * 1.001»")
