"""The page in a real browser: its network agrees with the twins, and hands can use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import numpy_models
import pretrained
import torch_models
from inference.explore import command
from parity.runs import Task, references
from parity.tolerance import TensorCheck, judge
from pretrained import Preprocessing, Weights
from tests.inference.browser import Page, chromium, executable
from training.data import load_dataset, resize_bilinear
from training.errors import ConfigError, OutputError

pytestmark = pytest.mark.skipif(
    executable() is None, reason="needs Chromium or Chrome (apt-get install chromium)"
)
VARIANT = {"activation": "silu", "batch_norm": True, "residual": True}


@pytest.fixture(scope="module")
def weights() -> list[Weights]:
    """The five networks as they come, and one that has the layers that they lack."""
    state = torch_models.build("lenet5_variant", **VARIANT).state_dict()
    rng = np.random.default_rng(0)
    arrays = {
        name: value.numpy() if "running" not in name else rng.uniform(0.5, 2, value.shape)
        for name, value in state.items()
    }
    arrays = {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}
    variant = Weights("lenet5_variant", VARIANT, arrays, {}, Preprocessing(32, 1 / 255, 0.0))
    return [*map(pretrained.load, pretrained.names()), variant]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """A digit, paper without ink, and noise: uint8 (3, 28, 28)."""
    digit = load_dataset("digits", announce=lambda _: None).test_images[0]
    noise = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    return np.stack([digit, np.zeros_like(digit), noise])


@pytest.fixture(scope="module")
def document(weights: list[Weights]) -> str:
    return command.page([command.entry(w, w.model) for w in weights], command.samples())


@pytest.fixture(scope="module")
def home(document: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explore") / "page.html"
    path.write_text(document, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(home: Path) -> Iterator[Page]:
    program = executable()
    assert program
    with chromium(program) as opened:
        opened.look(1280, 900)
        opened.open(home)
        yield opened


class UpTo(nn.Module):
    """A network that returns what one of its layers passes on."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network.requires_grad_(False), layer

    def forward(self, x: Tensor) -> Tensor:
        passed: list[Tensor] = []
        layer = self.network.get_submodule(self.layer)
        hook = layer.register_forward_hook(lambda _, __, y: passed.append(y))
        self.network(x)
        hook.remove()
        return passed[0]


def in_the_page(page: Page, number: int, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Run the page's forward pass; return what every layer passes on, by name."""
    shape, samples = list(inputs.shape[1:]), inputs.reshape(len(inputs), -1).tolist()
    runs = page.run(f"""{samples}.map((sample) =>
        forward(networks[{number}], {{ shape: {shape}, data: Float32Array.from(sample) }})
          .map(({{ shape, data }}) => [shape, Array.from(data)]))""")
    names = page.run(f"networks[{number}].layers.map(({{ name }}) => name)")
    return {
        name: np.stack([np.float32(run[i][1]).reshape(run[i][0]) for run in runs])
        for i, name in enumerate(names)
    }


def in_numpy(weights: Weights, inputs: np.ndarray) -> dict[str, np.ndarray]:
    net = numpy_models.build(weights.model, weights=weights, **weights.arguments)
    passed, x = {}, inputs
    for name, layer in net.layers.items():
        passed[name] = x = layer(x)
    return passed


def held(weights: Weights, inputs: np.ndarray, *sides: dict[str, np.ndarray]) -> list[TensorCheck]:
    """Judge what every layer passes on, on every side, by parity's rule; return what failed."""
    module = torch_models.build(weights.model, weights=weights, **weights.arguments)
    failed = []
    for layer in sides[0]:
        task = Task(inputs, np.ones_like(sides[-1][layer]), train=False)
        given = references(UpTo(module, layer), task)
        place = "", "output"
        expected = given.own[place], given.exact[place], given.budgets[place]
        checks = [judge(weights.model, layer, "output", side[layer], *expected) for side in sides]
        failed += [check for check in checks if not check.passed]
    return failed


@pytest.mark.parametrize("number", range(6))
def test_the_third_twin(
    page: Page, weights: list[Weights], images: np.ndarray, number: int
) -> None:
    inputs = weights[number].preprocessing(images)
    passed = in_the_page(page, number, inputs), in_numpy(weights[number], inputs)
    assert passed[0].keys() == passed[1].keys()
    assert held(weights[number], inputs, *passed) == []


@pytest.mark.parametrize(
    ("right", "wrong", "network", "layer"),
    [
        ("top = -ph, r", "top = 0, r", "lenet5_relu", "c1"),  # padding below instead of around
        ("row < height &&", "row <= height &&", "lenet5_bn", "c1"),  # and the next channel's row
        ("top <= height - kh", "top < height - kh", "lenet5_relu", "s2"),
        ("pooled(layer, x, -Infinity", "pooled(layer, x, 0", "lenet5_bn", "s2"),  # of negatives
        ("pooled(layer, x, 0,", "pooled(layer, x, 1,", "lenet5_tanh", "s2"),
        ("running_var.data[c] + eps", "running_var.data[c]", "lenet5_bn", "bn2"),
        ("value * factor", "value", "deepcnn21", "dropout1"),
        ("Math.min(first + i, rows - 1)", "Math.min(first + i, rows - 2)", "lenet5_relu", "c1"),
    ],
)
def test_a_wrong_line_is_told(
    page: Page,
    home: Path,
    document: str,
    weights: list[Weights],
    images: np.ndarray,
    tmp_path: Path,
    right: str,
    wrong: str,
    network: str,
    layer: str,
) -> None:
    assert document.count(right) == 1
    path = tmp_path / "wrong.html"
    path.write_text(document.replace(right, wrong), encoding="utf-8")
    number = pretrained.names().index(network)
    inputs = weights[number].preprocessing(images)
    page.open(path)
    try:
        passed = in_the_page(page, number, inputs)
    finally:
        page.open(home)
    last = list(passed).index(layer) + 1
    passed = dict(list(passed.items())[max(0, last - 2) : last])  # the one before is right
    failed = held(weights[number], inputs, passed, in_numpy(weights[number], inputs))
    assert {check.layer for check in failed} == {layer}


def picture(image: np.ndarray) -> str:
    height, width = image.shape
    data = image.ravel().tolist()
    return f"{{ height: {height}, width: {width}, data: Uint8Array.from({data}) }}"


def test_inputs_are_the_training_images_bit_for_bit(
    page: Page, weights: list[Weights], images: np.ndarray
) -> None:
    for image in images:
        for number, trained in enumerate(weights):
            found = page.run(f"Array.from(networkInput({picture(image)}, networks[{number}]).data)")
            np.testing.assert_array_equal(found, trained.preprocessing(image[None]).ravel())
    found = page.run(f"Array.from(resized({picture(images[2])}, 20, 20).data)")
    np.testing.assert_array_equal(found, resize_bilinear(images[2], 20).ravel())


def test_ink_is_fitted_as_mnist_was(page: Page) -> None:
    """Wherever and however large it is drawn; what MNIST's makers have fitted stays as it is."""
    data = load_dataset(download=False, announce=lambda _: None)
    fit = "Array.from(digit({}).data)"
    for image in data.test_images[:8]:
        fitted = np.uint8(page.run(fit.format(picture(image)))).reshape(28, 28)
        ink = np.argwhere(fitted)
        assert max(np.ptp(ink, axis=0)) + 1 == 20
        centre = np.average(np.indices((28, 28)).reshape(2, -1), axis=1, weights=fitted.ravel())
        assert np.all(np.abs(centre - 14) <= 0.5)
        if data.name == "mnist":
            np.testing.assert_array_equal(fitted, image)
        large = np.pad(np.kron(fitted, np.ones((5, 5), np.uint8)), ((90, 3), (0, 40)))
        again = np.int64(page.run(fit.format(picture(large)))).reshape(28, 28)
        assert np.abs(again - fitted).mean() < 4  # of 255: enlarged and reduced again
    assert page.run(f"digit({picture(np.zeros((9, 9), np.uint8))})") is None


STROKE = [(0.35, 0.2), (0.65, 0.2), (0.5, 0.45), (0.4, 0.8)]  # a seven


def draw(page: Page) -> None:
    left, top, size = page.run(
        "(({ left, top, width }) => [left, top, width])($('pad').getBoundingClientRect())"
    )
    page.mouse([(left + x * size, top + y * size) for x, y in STROKE])


def test_drawing_by_mouse(page: Page, weights: list[Weights]) -> None:
    page.run("choose(3)")
    page.run("pad.show(samples[2].picture)")
    said = page.run("$('live').textContent")
    draw(page)
    seen = np.uint8(page.run("Array.from(pad.picture.data)")).reshape(1, 28, 28)
    expected = in_numpy(weights[3], weights[3].preprocessing(seen))["out"].argmax()
    assert page.run("$('live').textContent").startswith(f"lenet5_relu reads {expected}, ")
    assert page.run("$('answer').textContent") == str(expected)
    page.run("$('erase').click()")
    draw(page)
    assert page.run("pad.picture") is None, "the eraser is wider than the pen"
    assert page.run("$('live').textContent") == "The pad is empty."
    page.run("$('erase').click(), $('undo').click(), $('undo').click()")
    assert page.run("$('live').textContent") == said
    page.run("$('clear').click()")
    assert page.run("$('answer').textContent") == "–"


def test_drawing_by_keyboard(page: Page) -> None:
    page.run("pad.show(), pad.place = [0.35, 0.2], $('pad').focus()")
    for key in [" ", *["ArrowRight"] * 8, *["ArrowDown"] * 16]:
        page.key(key)
    assert page.run("$('live').textContent") == "18 across, 22 down, drawing"
    page.key(" ")
    assert re.match(r"\w+ reads \d, ", page.run("$('live').textContent"))
    rows, columns = np.nonzero(np.uint8(page.run("Array.from(pad.picture.data)")).reshape(28, 28))
    assert (np.ptp(rows) + 1, columns[rows.argmin()] < columns[rows.argmax()]) == (20, True)
    page.key("Backspace")
    assert page.run("$('live').textContent") == "The pad is empty."
    page.key("e")
    assert page.run("pad.erasing")
    page.key("e")


def test_everything_has_a_name_and_nothing_is_fetched(page: Page) -> None:
    page.send("Accessibility.enable")
    roles = {"button", "radio", "slider", "image", "application", "list", "img", "group"}
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    controls = [n for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
    assert len(controls) > 40
    assert [n for n in controls if not n.get("name", {}).get("value")] == []
    assert page.run("performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_window_is_too_narrow(page: Page, width: int) -> None:
    page.look(width, 800)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.look(1280, 900)


def test_colours_follow_the_reader(page: Page) -> None:
    def background() -> Any:
        return page.run("getComputedStyle(document.body).backgroundColor")

    light = background()
    page.run("$('theme').click()")
    assert background() != light
    page.run("$('theme').click()")
    assert background() == light


def test_a_layer_that_the_page_lacks_is_named() -> None:
    net = numpy_models.Sequential(pool=numpy_models.MaxPool2d(3, padding=1))
    with pytest.raises(ConfigError, match="padding"):
        command.layers(net)

    class Swish(numpy_models.Tanh):
        pass

    with pytest.raises(ConfigError, match=r"layer act .*Swish.* network\.js"):
        command.layers(numpy_models.Sequential(act=Swish()))


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    arguments = ["--weights", "lenet5_bn", "--output", str(tmp_path / "nowhere" / "page.html")]
    with pytest.raises(OutputError, match=r"cannot write .*page\.html: No such file"):
        command.main(arguments)


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "page.html"
    assert command.main(["--weights", "lenet5_bn", "--output", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert "lenet5_bn" in text
    assert not re.search(r'(src|href)="', text)
    assert str(target) in capsys.readouterr().out
