"""The page in a browser: `python -m tests.inference.show_page` measures and pictures it.

It prints how long a forward pass of each network and a redraw of the page take, and writes
docs/pictures/explore.png, with scikit-learn's digits as samples.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pretrained
from inference.explore import command
from tests.house import ROOT
from tests.inference.browser import Page, chromium, executable
from training.environment import processor

PICTURE = ROOT / "docs" / "pictures" / "explore.png"
ROUNDS = 200
# Each point of a stroke is one redraw; the networks take turns, so that all meet the same load.
_MEASURE = f"""(() => {{
  const sorted = (list) => list.toSorted((a, b) => a - b);
  const input = networks.map((network) => networkInput(samples[0].picture, network));
  const [passes, redraws] = [networks.map(() => []), networks.map(() => [])];
  const timed = (list, run) => {{
    const start = performance.now();
    run();
    list.push(performance.now() - start);
  }};
  for (let round = 0; round < {ROUNDS}; round++) {{
    networks.forEach((network, n) => timed(passes[n], () => forward(network, input[n])));
  }}
  networks.forEach((_, n) => {{
    choose(n);
    pad.show();
    pad.begin([0.5, 0.1]);
    for (let i = 0; i < {ROUNDS}; i++) {{
      timed(redraws[n], () => pad.extend([[0.5 + 0.3 * Math.sin(i / 9), 0.1 + i / 250]]));
    }}
  }});
  const summary = (list) => [sorted(list)[0], sorted(list)[list.length >> 1]];
  return networks.map(({{ name }}, n) => [name, summary(passes[n]), summary(redraws[n])]);
}})()"""


def three() -> list[tuple[float, float]]:
    """Return a three in two arcs, in parts of the pad."""
    arcs = ((0.33, 0.15, -160, 90), (0.65, 0.18, -90, 150))
    return [
        (0.5 + radius * math.cos(angle), y + radius * math.sin(angle))
        for y, radius, start, stop in arcs
        for angle in (math.radians(degrees) for degrees in range(start, stop + 1, 10))
    ]


def draw(page: Page, points: list[tuple[float, float]], finger: bool = False) -> None:
    """Draw a stroke with the mouse or a finger, given in parts of the pad."""
    left, top, size = page.run(
        "(({ left, top, width }) => [left, top, width])($('pad').getBoundingClientRect())"
    )
    press = page.finger if finger else page.mouse
    press([(left + x * size, top + y * size) for x, y in points])


def main() -> None:
    """Measure and picture the page of the five networks."""
    program = executable()
    if program is None:
        sys.exit("this needs Chromium or Chrome")
    entries = [command.entry(pretrained.load(name), name) for name in command.NETWORKS]
    with TemporaryDirectory() as folder, chromium(program) as page:
        path = Path(folder) / "page.html"
        path.write_text(command.page(entries, command.samples("digits")), encoding="utf-8")
        page.look(1280, 960)
        page.open(path)
        print(f"{processor()}, {page.send('Browser.getVersion')['product']}, {ROUNDS} rounds")
        print(f"{'milliseconds':<16} pass: best  median   redraw: best  median")
        for name, (best, median), (least, middle) in page.run(_MEASURE):
            print(f"{name:<16} {best:>10.1f} {median:>7.1f} {least:>14.1f} {middle:>7.1f}")
        page.look(1280, 1100, dark=True)
        page.open(path)
        draw(page, three())
        time.sleep(0.5)  # every network's answer follows
        PICTURE.write_bytes(page.picture())
    print(f"wrote {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
