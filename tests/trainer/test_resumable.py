"""Whatever is accepted can be resumed: a checkpoint gives back the very configuration."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support import compose, few_digits
from training.backends.opening import open_backend
from training.backends.protocol import Totals
from training.cli.arguments import parse
from training.cli.jobs import read
from training.config import composition
from training.config.composition import composer
from training.config.schema import Config
from training.config.settings import quote
from training.errors import ConfigError
from training.trainer import resume
from training.trainer.plan import plan_epoch

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is a development dependency")
given = hypothesis.strategies

NUMBERS = given.floats() | given.integers() | given.integers(10**300, 10**300 + 9)
TEXTS = given.text(max_size=8) | given.text("'\\\"${}, :=[]#~\t", max_size=8)
TEXTS |= given.sampled_from(["x" * 499, "x" * 501, "null", "1e3", "true", "[a]", "${seed}"])
VALUES = given.recursive(
    NUMBERS.map(repr) | TEXTS.map(quote) | given.sampled_from(["null", "true", "{}"]),
    lambda inner: (
        given.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | given.dictionaries(given.sampled_from(["a", "b_1", "c d", "2"]), inner, max_size=2).map(
            lambda entries: f"{{{','.join(f'{k}: {v}' for k, v in entries.items())}}}"
        )
    ),
    max_leaves=4,
)
CHOICES = """
model=lenet5_bn model=deepcnn21 backend=numpy optimizer=sgd optimizer=adagrad scheduler=step
init=normal data=digits experiment=r2_deepcnn21 experiment=r4_lenet5_bn
"""
KEYS = """
study.title +model.arguments.width optimizer.lr optimizer.betas optimizer.weight_decay
optimizer.eps trainer.checkpoint_every trainer.epochs data.flip seed scheduler.step_size
+model.arguments.more model.image_size backend.threads data.scaling device
"""
SETTINGS = given.lists(
    given.sampled_from(CHOICES.split())
    | given.builds("{}={}".format, given.sampled_from(KEYS.split()), VALUES),
    max_size=3,
)


def given_back(config: Config) -> Config:
    """What a run of this configuration is resumed with."""
    record = json.loads(json.dumps(resume.record_of(config)))
    with composer() as opened:
        saved = resume.saved_settings(Path("file"), record)
        return opened.check(opened.restore(saved))


@pytest.fixture(scope="module")
def _no_explanation():
    """What is refused is refused without many compositions that find out what was meant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "explain", lambda *_: ConfigError("refused"))
        yield


@pytest.mark.usefixtures("_no_explanation")
@hypothesis.settings(max_examples=20, deadline=None, database=None)
@hypothesis.given(SETTINGS)
def test_what_is_accepted_is_given_back(settings):
    try:
        (job,) = read(parse(settings)).jobs
    except ConfigError:
        return
    assert asdict(given_back(job.config)) == asdict(job.config)


@pytest.mark.parametrize(
    "setting",
    [
        "study.title=' it\\'s \"so\" \\\\'",
        "+model.arguments.width=[1,[2.5,'3'],null,true]",
        "+model.arguments.width={a: {b: 'x'}}",
        "optimizer.eps=1e-300",
        "seed=9223372036854775807",
        "~model.arguments.ties",
    ],
)
def test_odd_values_are_given_back(setting):
    config = compose(setting)
    assert given_back(config) == config


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("study.title='a\tb'", "one line"),
        (f"study.title={'x' * 501}", "at most 500"),
        ("+model.arguments.width=nan", "a finite number"),
        ("+model.arguments.width={}", "a finite number"),
        ("+model.arguments.width={a b: 1}", "there is no setting"),
        (f"+model.arguments.width=[{','.join('1' * 201)}]", "a short list"),
    ],
)
def test_what_could_not_be_given_back_is_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        compose(setting)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
def test_the_size_of_a_checkpoint_is_known_before_the_first_step(backend, optimizer):
    config = compose(f"backend={backend}", f"optimizer={optimizer}", "model=lenet5_bn")
    opened = open_backend(config)
    opened.place(few_digits())
    foreseen = opened.state_bytes()
    opened.begin_epoch(plan_epoch(config, 96, 0), Totals())
    opened.train(0, 1)
    scalars = 3 * 8
    assert foreseen <= sum(array.nbytes for array in opened.state().values()) <= foreseen + scalars


@pytest.mark.usefixtures("few_digits")
def test_a_checkpoint_that_could_not_be_read_ends_the_run_before_it_begins(
    call_main, tmp_path, capsys
):
    run = ("data=digits", "backend=numpy", "backend.threads=1", "hydra.run.dir=run")
    assert call_main(*run, "trainer.epochs=5000000") == 2
    said = capsys.readouterr().err
    assert "it would have 32" in said
    assert said.endswith("use a smaller network, or fewer epochs\n")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
