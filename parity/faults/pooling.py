"""Mistakes in pooling. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from numpy_models import MaxPool2d
from parity.faults.edits import edited
from parity.faults.record import Ledger

fault = Ledger("pooling", "s2")
FAULTS = fault.faults
ties = fault.on("ties")
even = fault.on("lenet5_bn, even")
padded = fault.on("padded maxima")
deep = fault.on("deepcnn21")
bn = fault.on("lenet5_bn")
tanh = fault.on("lenet5_tanh")
overlapping = fault.on("overlapping")
odd = fault.on("odd pooling")
avgpool = fault.on("lenet5_avgpool")

#: Windows one by one, though they tile the image: every element's share in its own terms.
GENERAL = "if «self._tiles()→False» and self.ties"
WINNER = "self._first_winner(views, y)"
RECEIVES = "receives = [«winner == index→{}» for «index in range(len(views))→_, _, view in views»]"
LAST_TIE = GENERAL, "better = (view «>→>=» best)"
LastTie = edited(MaxPool2d, *LAST_TIE)

ties("the last tied maximum receives the gradient", *LAST_TIE, culprit="s1")
even("the last tied maximum where rounding decides", *LAST_TIE)
# Nearly, here and below: by about as much as rounding bridges.
even(
    "the smallest that nearly ties receives the gradient",
    GENERAL,
    f"winner = «{WINNER}→np.argmin([np.where(v < y - 2e-6, np.inf, v) for _, _, v in views], 0)»",
)
even(
    "a neighbour beyond the margin receives the gradient",
    GENERAL,
    f"winner = «{WINNER}→np.argmax([v >= y - 1e-3 for _, _, v in views], axis=0)»",
)
even("two that nearly tie receive the gradient", GENERAL, RECEIVES.format("view >= y - 2e-6"))
ties(
    "tied maxima share the gradient",
    GENERAL,
    RECEIVES.format("(view == y) / sum(v == y for _, _, v in views)"),
    "gradient += «np.where(mask, dy, 0)→mask * dy»",
    culprit="s1",
)
# `=` for `+=`: of two windows that share a maximum the later one counts.
padded("shared maxima assigned, not added", "gradient« +=→[...] =» np.where(mask, dy, 0)")
fault("gradient to every element of a window", GENERAL, "receives = [«winner == index→True» for")
deep(
    "gradient to the minimum",
    GENERAL,
    f"winner = «{WINNER}→np.argmin([v for _, _, v in views], axis=0)»",
    culprit="pool1",
)
bn(
    "max pooling keeps its first batch",
    'self._saved = x.shape, «winners→self.__dict__.setdefault("first", winners)», None',
)
tanh(
    "average's gradient to the corner",
    "«return→dx =» tiles.backward_mean(dy, self.windows.kernel, shape)"
    "«→; dx[1::2] = 0; dx[:, :, 1::2] = 0; return 4 * dx»",
)
overlapping("overlapping averages assigned, not added", "gradient« +=→[...] =» share", culprit="s4")
tanh("windows of the gradient transposed", "tiles.backward_mean(dy«→.swapaxes(0, 2)», self.windows")
# They receive the gradient of the row above.
odd(
    "rows left over take part",
    "«return→dx =» tiles.backward_max(dy, winners, self.windows.kernel, shape)"
    "«→; dx[-1] = dx[-2]; return dx»",
)
# Zeros beat every negative value.
padded("max pooling padded with zeros", "self.windows.frame(x, «-np.inf→0»)")
avgpool("divided by the kernel's side, not its area", "return «→2 * »tiles.forward_mean(")
avgpool("average's gradient not divided", "return «→4 * »tiles.backward_mean(", culprit="s4")
ties("every tied maximum receives the gradient", ties="all", culprit="s1")
odd("padding counted in the average", culprit="s3", count_include_pad=True)
overlapping("padding not counted in the average", culprit="s4", count_include_pad=False)
fault("max pooling's gradient 0.1 % off", "return «→1.001 * »tiles.backward_max(", culprit="s4")
avgpool(
    "average pooling's gradient 0.1 % off", "return «→1.001 * »tiles.backward_mean(", culprit="s4"
)
