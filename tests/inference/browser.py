"""A headless Chromium, driven through the DevTools protocol over a pair of pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars "
    "--remote-debugging-pipe"
)
_PATIENCE = 60.0  # seconds for one answer


@cache
def executable() -> str | None:
    """Return where a Chromium or Chrome is that starts, None where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path and not subprocess.run([path, "--version"], capture_output=True).returncode:
            return path
    return None


class Page:
    """One page of a running browser; `requests` and `answers` are the ends of its pipes."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = os.fdopen(requests, "wb"), answers
        self._received, self._number = b"", 0
        self._session: dict[str, str] = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._requests.write(json.dumps(request).encode() + b"\0")
        self._requests.flush()
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser has said nothing for {_PATIENCE:.0f} seconds"
            chunk = os.read(self._answers, 1 << 20)
            assert chunk, "the browser is gone"
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path) -> None:
        """Open a file and wait until its scripts have run."""
        self.send("Page.navigate", url=path.as_uri())
        while self.run("document.readyState + location.href") != f"complete{path.as_uri()}":
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """Return what an expression comes to in the page, as JSON would carry it."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, width: int, height: int, dark: bool = False, enlarged: float = 1) -> None:
        """Choose the window's size, the user's colour scheme and the pixels for each CSS pixel."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": enlarged}
        self.send("Emulation.setDeviceMetricsOverride", mobile=width < 600, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def mouse(self, points: list[tuple[float, float]]) -> None:
        """Press the button at the first point, move over the others and let go at the last."""
        for number, (x, y) in enumerate(points):
            kind = "mouseMoved" if number else "mousePressed"
            self._mouse(kind, x, y)
        self._mouse("mouseReleased", *points[-1])

    def _mouse(self, kind: str, x: float, y: float) -> None:
        buttons = {"button": "left", "buttons": 1, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)

    def finger(self, points: list[tuple[float, float]]) -> None:
        """Put a finger down at the first point, move over the others and lift it."""
        self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        for number, (x, y) in enumerate(points):
            kind = "touchMove" if number else "touchStart"
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.send("Emulation.setTouchEmulationEnabled", enabled=False)

    def key(self, key: str, shift: bool = False) -> None:
        """Press and let go of a key, named as in KeyboardEvent.key."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, **text, modifiers=8 * shift
            )

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return b64decode(self.send("Page.captureScreenshot", format="png")["data"])


@contextmanager
def chromium(program: str) -> Iterator[Page]:
    """Start a browser with a fresh profile, give one page of it, and end it."""
    theirs_in, requests = os.pipe()
    answers, theirs_out = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def connect() -> None:  # the browser reads requests from descriptor 3 and answers on 4
            for end, number in ((theirs_in, 3), (theirs_out, 4)):
                os.dup2(end, number)
                os.set_inheritable(number, True)

        browser = subprocess.Popen(
            [program, *_FLAGS.split(), f"--user-data-dir={profile}"],
            close_fds=False,
            preexec_fn=connect,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            page = Page(requests, answers)
            yield page
            page.send("Browser.close")
            browser.wait(10)
        finally:
            browser.kill()
            browser.wait()
            os.close(answers)
