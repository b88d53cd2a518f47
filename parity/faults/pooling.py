"""Mistakes in pooling. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from typing import Any

from numpy_models import MaxPool2d
from parity.faults.edits import edited
from parity.faults.record import Ledger

fault = Ledger("pooling", "s2")
FAULTS = fault.faults

TIES: dict[str, Any] = {"culprit": "s1", "scene": "ties"}
EVEN: dict[str, Any] = {"scene": "lenet5_bn, even"}  # where rounding decides most windows
#: Windows one by one, though they tile the image: every element's share in its own terms.
GENERAL = "if «self._tiles()→False» and self.ties"
WINNER = "self._first_winner(views, y)"
RECEIVES = "receives = [«winner == index→{}» for «index in range(len(views))→_, _, view in views»]"
LAST_TIE = GENERAL, "better = (view «>→>=» best)"
LastTie = edited(MaxPool2d, *LAST_TIE)

fault("the last tied maximum receives the gradient", *LAST_TIE, **TIES)
fault("the last tied maximum where rounding decides", *LAST_TIE, **EVEN)
# Nearly, here and below: by about as much as rounding bridges.
fault(
    "the smallest that nearly ties receives the gradient",
    GENERAL,
    f"winner = «{WINNER}→np.argmin([np.where(v < y - 2e-6, np.inf, v) for _, _, v in views], 0)»",
    **EVEN,
)
fault(
    "a neighbour beyond the margin receives the gradient",
    GENERAL,
    f"winner = «{WINNER}→np.argmax([v >= y - 1e-3 for _, _, v in views], axis=0)»",
    **EVEN,
)
fault(
    "two that nearly tie receive the gradient", GENERAL, RECEIVES.format("view >= y - 2e-6"), **EVEN
)
fault(
    "tied maxima share the gradient",
    GENERAL,
    RECEIVES.format("(view == y) / sum(v == y for _, _, v in views)"),
    "gradient += «np.where(mask, dy, 0)→mask * dy»",
    **TIES,
)
# `=` for `+=`: of two windows that share a maximum the later one counts.
fault(
    "shared maxima assigned, not added",
    "gradient« +=→[...] =» np.where(mask, dy, 0)",
    scene="padded maxima",
)
fault("gradient to every element of a window", GENERAL, "receives = [«winner == index→True» for")
fault(
    "gradient to the minimum",
    GENERAL,
    f"winner = «{WINNER}→np.argmin([v for _, _, v in views], axis=0)»",
    culprit="pool1",
    scene="deepcnn21",
)
fault(
    "max pooling keeps its first batch",
    'self._saved = x.shape, «winners→self.__dict__.setdefault("first", winners)», None',
    scene="lenet5_bn",
)
fault(
    "average's gradient to the corner",
    "«return→dx =» tiles.backward_mean(dy, self.windows.kernel, shape)"
    "«→; dx[1::2] = 0; dx[:, :, 1::2] = 0; return 4 * dx»",
    scene="lenet5_tanh",
)
fault(
    "overlapping averages assigned, not added",
    "gradient« +=→[...] =» share",
    culprit="s4",
    scene="overlapping",
)
fault(
    "windows of the gradient transposed",
    "tiles.backward_mean(dy«→.swapaxes(0, 2)», self.windows",
    scene="lenet5_tanh",
)
# They receive the gradient of the row above.
fault(
    "rows left over take part",
    "«return→dx =» tiles.backward_max(dy, winners, self.windows.kernel, shape)"
    "«→; dx[-1] = dx[-2]; return dx»",
    scene="odd pooling",
)
# Zeros beat every negative value.
fault("max pooling padded with zeros", "self.windows.frame(x, «-np.inf→0»)", scene="padded maxima")
fault(
    "divided by the kernel's side, not its area",
    "return «→2 * »tiles.forward_mean(",
    scene="lenet5_avgpool",
)
fault(
    "average's gradient not divided",
    "return «→4 * »tiles.backward_mean(",
    culprit="s4",
    scene="lenet5_avgpool",
)
fault("every tied maximum receives the gradient", ties="all", **TIES)
fault("padding counted in the average", culprit="s3", scene="odd pooling", count_include_pad=True)
fault(
    "padding not counted in the average",
    culprit="s4",
    scene="overlapping",
    count_include_pad=False,
)
fault("max pooling's gradient 0.1 % off", "return «→1.001 * »tiles.backward_max(", culprit="s4")
fault(
    "average pooling's gradient 0.1 % off",
    "return «→1.001 * »tiles.backward_mean(",
    culprit="s4",
    scene="lenet5_avgpool",
)
