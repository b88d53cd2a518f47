"""Networks by name."""

from __future__ import annotations

import pytest

from numpy_models import build


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lenet6", {}, "no network named 'lenet6'.*lenet5_relu"),
        ("sync_batchnorm", {}, "must define exactly one network class"),
        ("deepcnn21", {"width": 3}, r"does not take \['width'\].*depth"),
    ],
)
def test_what_cannot_be_built_is_refused(name, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **arguments)
