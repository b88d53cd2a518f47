"""Any bytes and any text give a result or the documented error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.storage.forgery import META, build, forged, tensor
from training.cli.arguments import parse as parse_arguments
from training.cli.jobs import read
from training.config.schema import Config
from training.errors import ConfigError
from training.storage.checkpoint import CheckpointError, parse

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is a development dependency")
given = hypothesis.strategies
GOOD = forged({"a": 1}, {"model.a": np.arange(4, dtype=np.float32), "b": np.asarray(1)})
NAME = Path("file")

values = (
    given.none()
    | given.booleans()
    | given.integers()
    | given.floats()
    | given.text(max_size=5)
    | given.sampled_from([[], {}, [[]], {"a": {}}, [0, None]])
)
entries = given.builds(
    tensor,
    dtype=given.sampled_from(["F32", "F64", "I64", "BF16"]) | values,
    shape=given.lists(given.integers(-1, 5), max_size=3) | values,
    data_offsets=given.lists(given.integers(0, 40), min_size=2, max_size=2) | values,
)
headers = given.dictionaries(given.text(max_size=4), entries | values, max_size=4)
files = (
    given.binary(max_size=80)
    | given.builds(build, given.binary(max_size=40), given.binary(max_size=40))
    | given.builds(lambda h, data: build({**META, **h}, data), headers, given.binary(max_size=40))
    | given.builds(lambda record: forged(json.dumps(record)), values)
    | given.builds(
        lambda at, bits: GOOD[: at % len(GOOD)] + bytes([bits]) + GOOD[at % len(GOOD) + 1 :],
        given.integers(0, len(GOOD)),
        given.integers(0, 255),
    )
)


@hypothesis.settings(max_examples=200, deadline=None, database=None)
@hypothesis.given(files)
def test_the_checkpoint_reader(data):
    try:
        content = parse(data, NAME)
        state = content.state
    except CheckpointError as error:
        told = str(error)
    else:
        told = "file"
        assert isinstance(content.record, dict)
        assert sum(array.nbytes for array in state.values()) <= len(data)
    assert told.startswith("file")
    assert "\n" not in told


NAMES = (
    "seed device model backend data optimizer scheduler init trainer trainer.epochs resume hydra "
    "trainer.batch_size trainer.checkpoint_every optimizer.lr optimizer.betas data.flip "
    "model.arguments.ties model.arguments model.image_size hydra.run.dir experiment "
    "data.shift data.rotation data.validation"
)
KEYS = given.sampled_from(NAMES.split())
ODD = (
    "null nan inf 1e400 ${seed} ${oc.env:HOME} ${seed ${ [1,2 {a:1} choice(1,2) range(3) glob(*) "
    "??? true int(3) ../../x torch adam ' \\ 1_0 0x1 1e-8"
)
TEXTS = (
    given.text(max_size=12)
    | given.text("0123456789.-+e'\"[]{}(),:=$\\ \t", max_size=10)
    | given.sampled_from([*ODD.split(), "9" * 5000])
)
PREFIXES = given.sampled_from(["", "", "", "+", "++", "~"])
ARGUMENTS = given.builds("{}{}={}".format, PREFIXES, KEYS | given.text(max_size=6), TEXTS) | TEXTS


@hypothesis.settings(max_examples=80, deadline=None, database=None)
@hypothesis.given(given.lists(ARGUMENTS, min_size=1, max_size=2))
def test_the_command_line(arguments):
    told = "a request"
    try:
        request = read(parse_arguments(arguments))
        assert all(isinstance(job.config, Config) for job in request.jobs)
    except ConfigError as error:
        told = str(error)
    assert told
    assert "\n" not in told
