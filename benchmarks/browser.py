"""A headless Chromium that is driven through its debugging pipe; no driver program is needed.

The pipe carries JSON with a zero byte after each message (Chrome DevTools Protocol).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.realpeers import Context

__all__ = ["Browser", "find_browser"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ANSWER_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_CAPTURE_SECONDS: Final = 30
_CLICK_SECONDS: Final = 0.05

_CAPTURE: Final = """
(async () => {
  const context = new AudioContext({sampleRate: %d});
  await context.resume();
  const source = context.createMediaStreamSource(document.querySelector("audio").srcObject);
  const tap = context.createScriptProcessor(4096, 1, 1);
  window.captured = [];
  tap.onaudioprocess = (event) => {
    window.captured.push(event.inputBuffer.getChannelData(0).slice());
    while (window.captured.length * 4096 > context.sampleRate * %d) window.captured.shift();
  };
  source.connect(tap);
  tap.connect(context.destination);
})()
"""
_CAPTURED: Final = """
(() => {
  const samples = new Int16Array(window.captured.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of window.captured) for (const x of part)
    samples[place++] = Math.max(-1, Math.min(1, x)) * 32767;
  const bytes = new Uint8Array(samples.buffer), text = [];
  for (let first = 0; first < bytes.length; first += 8192)
    text.push(String.fromCharCode(...bytes.subarray(first, first + 8192)));
  return btoa(text.join(""));
})()
"""


def find_browser() -> str:
    """The program, "" where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), "")


class Browser(Context):
    """One page; `microphone` is a WAV file that is spoken again and again, None for no microphone.

    folder: for its profile. size: of the window, in points.
    """

    def __init__(
        self, folder: Path, *, microphone: Path | None, size: tuple[int, int] = (1180, 820)
    ) -> None:
        to_browser, to_us = os.pipe(), os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
            f"--window-size={size[0]},{size[1]}",
        ]
        if microphone is not None:
            options += [
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ]
        # The browser wants its pipe as descriptors 3 and 4.
        redirect = f'exec "$@" 3<&{to_browser[0]} 4>&{to_us[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "browser", find_browser(), *options, "about:blank"],
            pass_fds=(to_browser[0], to_us[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (to_browser[0], to_us[1]):
            os.close(descriptor)
        self._out, self._in = to_browser[1], to_us[0]
        self._received = bytearray()
        self._number = 0
        self.errors: list[str] = []
        """What went wrong in the page's scripts."""
        pages = self._ask("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._page: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_page"):
            message["sessionId"] = self._page
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", str(details)))
            elif answer.get("method") == "Log.entryAdded":
                entry = answer["params"]["entry"]
                if entry["level"] == "error" and entry["source"] != "network":
                    self.errors.append(entry["text"])
        raise RuntimeError(f"{method}: the browser does not answer")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def open(self, url: str) -> None:
        """Go to a page, and wait until its scripts run."""
        self._ask("Page.navigate", url=url)
        self.wait(lambda: self.run("document.readyState") == "complete", what="the page")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        result = self._ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        """What people read there; empty if it is hidden."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Press the primary button there for a moment."""
        now = time.time()
        self.mouse("mousePressed", selector, at=now - _CLICK_SECONDS)
        self.mouse("mouseReleased", selector, at=now)

    def mouse(self, kind: str, selector: str, *, at: float | None = None) -> None:
        """One event of the primary button there.

        at: when the hand moved, in seconds since 1970, however late this program or the page is.
        """
        place = self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self._ask(
            "Input.dispatchMouseEvent",
            type=kind,
            x=place[0],
            y=place[1],
            button="left",
            clickCount=1,
            timestamp=time.time() if at is None else at,
        )

    def key(self, kind: str, key: str) -> None:
        """One event of the keyboard, "keyDown" or "keyUp"."""
        self._ask("Input.dispatchKeyEvent", type=kind, key=key, timestamp=time.time())

    def type(self, selector: str, text: str) -> None:
        """Fill a field in and submit its form."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{field}.value = {json.dumps(text)}; {field}.form.requestSubmit()")

    def wait(self, condition: Callable[[], object], *, what: str, seconds: float = 40.0) -> None:
        """Wait until something is true.

        Raises:
            RuntimeError: it did not become so in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come; in the page: {self.errors}")
            time.sleep(0.1)

    def capture(self, sample_rate: int) -> None:
        """Begin to record what the page's audio element plays."""
        self.run(_CAPTURE % (sample_rate, _CAPTURE_SECONDS))

    def captured(self) -> Pcm:
        """The last half minute of what was recorded; shape (samples,)."""
        data = base64.b64decode(self.run(_CAPTURED))
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)

    def screenshot(self, path: Path, *, width: int, height: int, scale: float = 1.0) -> None:
        """A picture of the page (PNG) as a screen of so many points shows it."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        time.sleep(0.5)
        picture = self._ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(picture["data"]))

    def dark(self, on: bool) -> None:
        """Whether people prefer dark colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[feature])

    def close(self) -> None:
        for descriptor in (self._out, self._in):
            os.close(descriptor)
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
