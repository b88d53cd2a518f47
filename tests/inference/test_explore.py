"""The page in a real browser: its network agrees with the twins, and hands can use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

import numpy_models
import pretrained
import torch_models
from inference.__main__ import main
from inference.explore import command
from inference.networks import logits
from numpy_models.layer import Layer
from numpy_models.sequential import Sequential
from parity import Comparison, DisagreementError, assert_parity
from pretrained import Preprocessing, Weights
from tests.inference.browser import Page, chromium, executable
from tests.inference.show_page import draw
from training.data import load_dataset, resize_bilinear
from training.errors import ConfigError

VARIANT = {"activation": "silu", "batch_norm": True, "residual": True}


@pytest.fixture(scope="module")
def weights() -> list[Weights]:
    """The five networks as they come, and one that has the layers that they lack."""
    state = torch_models.build("lenet5_variant", **VARIANT).state_dict()
    rng = np.random.default_rng(0)
    arrays = {
        name: value.numpy() if "running" not in name else rng.uniform(0.01, 1, value.shape)
        for name, value in state.items()
    }
    arrays = {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}
    variant = Weights("lenet5_variant", VARIANT, arrays, {}, Preprocessing(32, 1 / 255, 0.0))
    return [*map(pretrained.load, command.NETWORKS), variant]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """A digit, paper without ink, and noise: uint8 (3, 28, 28)."""
    digit = load_dataset("digits", announce=lambda _: None).test_images[0]
    noise = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    return np.stack([digit, np.zeros_like(digit), noise])


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    return command.samples()


@pytest.fixture(scope="module")
def home(
    weights: list[Weights], samples: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("explore") / "page.html"
    document = command.page([command.entry(w, w.model) for w in weights], samples)
    path.write_text(document, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    program = executable()
    if program is None:
        pytest.skip("needs Chromium or Chrome (apt-get install chromium)")
    with chromium(program) as opened:
        opened.look(1280, 900)
        yield opened


@pytest.fixture
def page(browser: Page, home: Path) -> Page:
    """The page, as the test before has left it."""
    if browser.run("location.href") != home.as_uri():
        browser.open(home)
    return browser


class InThePage:
    """A layer or network of `numpy_models` as the page computes it: a side of parity's."""

    def __init__(self, page: Page, layer: Layer) -> None:
        self.page, self.layer = page, layer
        self.layers = {name: InThePage(page, inner) for name, inner in layer.layers.items()}
        self.parameters, self.buffers = layer.parameters, layer.buffers

    def forward(self, x: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """Return the output; of a network what every layer passes on."""
        alone = not isinstance(self.layer, Sequential)
        layers = command.layers({"": self.layer} if alone else self.layer.layers)
        shape, samples = list(x.shape[1:]), x.reshape(len(x), -1).tolist()
        runs = self.page.run(f"""(() => {{
            const layers = {json.dumps(layers)};
            decode(layers);
            return {samples}.map((sample) =>
              forward({{ layers }}, {{ shape: {shape}, data: Float32Array.from(sample) }})
                .map(({{ shape, data }}) => [shape, Array.from(data)]));
        }})()""")
        passed = {
            layer["name"]: np.stack([np.float32(run[i][1]).reshape(run[i][0]) for run in runs])
            for i, layer in enumerate(layers)
        }
        return passed[""] if alone else passed


class InNumpy(InThePage):
    """The NumPy twin on the same terms."""

    def forward(self, x: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        if not isinstance(self.layer, Sequential):
            return self.layer(x)
        passed = {}
        for name, layer in self.layer.layers.items():
            passed[name] = x = layer(x)
        return passed


def passing_on(module: nn.Module) -> nn.Module:
    """Have a module return what each of its layers passes on."""
    passed: dict[str, Tensor] = {}
    for name, layer in module.named_children():
        layer.register_forward_hook(lambda _, __, y, name=name: passed.update({name: y}))
    module.register_forward_hook(lambda *_: dict(passed))
    return module


def held(side: type[InThePage], page: Page, weights: Weights, images: np.ndarray) -> Comparison:
    """Hold a side to the torch twin by parity's rule."""
    module = torch_models.build(weights.model, weights=weights, **weights.arguments)
    network = numpy_models.build(weights.model, weights=weights, **weights.arguments)
    inputs = weights.preprocessing(images)
    options = {"train": False, "vary": False, "name": f"{weights.model}, {side.__name__}"}
    return assert_parity(passing_on(module), side(page, network), inputs, **options)


@pytest.mark.parametrize("side", [InThePage, InNumpy])
@pytest.mark.parametrize("number", range(6))
def test_the_third_twin(
    page: Page, weights: list[Weights], images: np.ndarray, number: int, side: type[InThePage]
) -> None:
    comparison = held(side, page, weights[number], images)
    layers = numpy_models.build(weights[number].model, **weights[number].arguments).layers
    assert {check.tensor for check in comparison.checks} >= {f"output[{n}]" for n in layers}


@pytest.mark.parametrize(
    ("right", "wrong", "network", "layer"),
    [
        ("top = -ph, r", "top = 0, r", "lenet5_relu", "c1"),  # padding below instead of around
        ("row < height &&", "row <= height &&", "lenet5_bn", "c1"),  # and the next channel's row
        ("top <= height - kh", "top < height - kh", "lenet5_relu", "s2"),
        ("pooled(layer, x, -Infinity", "pooled(layer, x, 0", "lenet5_bn", "s2"),  # of negatives
        ("pooled(layer, x, 0,", "pooled(layer, x, 1,", "lenet5_tanh", "s2"),
        ("running_var.data[c] + eps", "running_var.data[c]", "lenet5_variant", "bn1"),
        ("value * factor", "value", "deepcnn21", "dropout1"),
        ("Math.min(first + i, rows - 1)", "Math.min(first + i, rows - 2)", "lenet5_relu", "c1"),
    ],
)
def test_a_wrong_line_is_told(
    browser: Page,
    weights: list[Weights],
    samples: list[dict[str, Any]],
    images: np.ndarray,
    tmp_path: Path,
    right: str,
    wrong: str,
    network: str,
    layer: str,
) -> None:
    (trained,) = (w for w in weights if w.model == network)
    document = command.page([command.entry(trained, network)], samples)
    assert document.count(right) == 1
    path = tmp_path / "wrong.html"
    path.write_text(document.replace(right, wrong), encoding="utf-8")
    browser.open(path)
    with pytest.raises(DisagreementError) as told:
        held(InThePage, browser, trained, images[2:])
    assert told.value.culprits[0] == layer


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


def cut(image: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(image)
    return image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def test_ink_is_fitted_as_mnist_was(page: Page) -> None:
    """However large and wherever it is drawn; what MNIST's makers have fitted stays as it is."""
    data = load_dataset(download=False, announce=lambda _: None)

    def digit(ink: np.ndarray) -> np.ndarray:
        return np.uint8(page.run(f"Array.from(digit({picture(ink)}).data)")).reshape(28, 28)

    for image in data.test_images[:8]:
        if data.name == "mnist":
            np.testing.assert_array_equal(digit(image), image)
        large = np.kron(image, np.ones((5, 5), np.uint8))
        fitted = digit(np.pad(large, ((90, 3), (0, 40))))
        np.testing.assert_array_equal(fitted, digit(np.pad(large, ((0, 30), (20, 0)))))
        box = cut(fitted)
        assert max(box.shape) == 20
        centre = np.average(np.indices((28, 28)).reshape(2, -1), axis=1, weights=fitted.ravel())
        assert np.all(np.abs(centre - 14) <= 0.5)
        pillow = Image.fromarray(cut(large)).resize(box.shape[::-1], Image.Resampling.BILINEAR)
        # Pillow may begin with the other axis, and each rounds.
        assert np.abs(np.int64(box) - np.asarray(pillow)).max() <= 1
    assert page.run(f"digit({picture(np.zeros((9, 9), np.uint8))})") is None


STROKE = [(0.35, 0.2), (0.65, 0.2), (0.5, 0.45), (0.4, 0.8)]  # a seven


def test_drawing_by_mouse(page: Page, weights: list[Weights]) -> None:
    page.run("choose(0)")
    page.run("pad.show(samples[2].picture)")
    said = page.run("$('live').textContent")
    draw(page, STROKE)
    seen = np.uint8(page.run("Array.from(pad.picture.data)")).reshape(1, 28, 28)
    expected = [str(logits(trained, seen).argmax()) for trained in weights]
    assert page.run("$('live').textContent").startswith(f"lenet5_relu reads {expected[0]}, ")
    assert page.run("$('answer').textContent") == expected[0]
    page.run("others(pad.picture)")
    assert page.run("networks.map((_, n) => $(`says${n}`).textContent)") == expected
    page.run("$('erase').click()")
    draw(page, STROKE)
    assert page.run("pad.picture") is None, "the eraser is wider than the pen"
    assert page.run("$('live').textContent") == "The pad is empty."
    page.run("$('erase').click(), $('undo').click(), $('undo').click()")
    assert page.run("$('live').textContent") == said
    page.run("$('clear').click()")
    assert page.run("$('answer').textContent") == "–"


def test_drawing_by_finger(page: Page) -> None:
    """On a phone a finger draws what the mouse draws, and the page stays where it is."""
    page.look(390, 844)
    page.run("pad.show()")
    drawn = []
    for finger in (False, True):
        draw(page, STROKE, finger=finger)
        drawn.append(page.run("Array.from(pad.picture.data)"))
        page.run("$('undo').click()")
        assert page.run("pad.picture") is None
    assert drawn[0] == drawn[1]
    assert page.run("window.scrollY") == 0
    page.look(1280, 900)


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
        command.layers(net.layers)

    class Swish(numpy_models.Tanh):
        pass

    with pytest.raises(ConfigError, match=r"layer act .*Swish.* network\.js"):
        command.layers({"act": Swish()})


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, capsys) -> None:
    arguments = ["--weights", "lenet5_bn", "--output", str(tmp_path / "nowhere" / "page.html")]
    monkeypatch.setattr("sys.argv", ["inference", "explore", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert re.fullmatch(r"cannot write .*page\.html: No such file.*\n", capsys.readouterr().err)


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "page.html"
    command.main(["--weights", "lenet5_bn", "--output", str(target)])
    text = target.read_text(encoding="utf-8")
    assert "lenet5_bn" in text
    assert not re.search(r'(src|href)="', text)
    assert str(target) in capsys.readouterr().out
