"""Files of networks that hold none or several."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from torch import nn

from torch_models import registry


@pytest.mark.parametrize(("classes", "found"), [((), "none"), (("One", "Two"), "One, Two")])
def test_a_file_that_does_not_hold_one_network_is_told(classes, found, monkeypatch) -> None:
    odd = ModuleType("torch_models.odd")
    for name in (*classes, "_Part"):
        setattr(odd, name, type(name, (nn.Module,), {"__module__": odd.__name__}))
    monkeypatch.setitem(sys.modules, odd.__name__, odd)
    monkeypatch.setattr(registry, "names", lambda: ["odd"])
    with pytest.raises(ValueError, match=f"must define one public nn.Module, found {found}$"):
        registry.build("odd")
