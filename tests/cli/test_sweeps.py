"""What a sweep's settings come to, in Hydra's own order."""

from __future__ import annotations

import pytest

from training.cli.jobs import expand
from training.config.composition import composer


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["seed=0,1"], ["seed=0", "seed=1"]),
        (
            ["seed=0,1", "init=torch,he"],
            ["seed=0 init=torch", "seed=0 init=he", "seed=1 init=torch", "seed=1 init=he"],
        ),
        (["seed=range(1,3)", "data=digits"], ["seed=1 data=digits", "seed=2 data=digits"]),
        (["seed=0,1", "data=digits", "seed=5"], ["seed=5 data=digits"]),
        (["init=glob(*e)"], ["init=he"]),
        (["++study.title='a,b'", "~study.form"], ["++study.title='a,b' ~study.form"]),
        (["a=[0.8,0.9],[0.9,1]"], ["a=[0.8,0.9]", "a=[0.9,1]"]),
    ],
)
def test_jobs(arguments, expected) -> None:
    with composer() as opened:
        overrides = opened.parse(arguments)
        assert [" ".join(job) for job in expand(overrides)] == expected
