"""The gateway: its page in a real browser, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import tonecodec
from conftest import ROOT, free_port, read_pcm

from benchmarks.alignment import align, estimate_delay
from benchmarks.browser import Browser, find_browser
from benchmarks.realpeers import free_udp_ports
from linkcodec.app.cli import main
from linkcodec.app.gateway.browser import Browser as PageConnection
from linkcodec.app.gateway.microphone import BrowserMicrophone
from linkcodec.app.soundpipe import SoundPipe
from linkcodec.codec import Pcm

RATE = 16_000
TOKEN = "-".join(["correct", "horse", "battery"])
CONFIG = """
[codec]
name = "compact"
quantizers = 8
[link]
kind = "loopback"
bind = "127.0.0.1:{bind}"
peer = "127.0.0.1:{peer}"
rate = 1200
framing = "sync"
[wire]
frames_per_packet = 7
[channel]
delay_ms = 100
"""

Start = Callable[..., subprocess.Popen[str]]


def write_config(path: Path, *, bind: int, peer: int) -> Path:
    path.write_text(CONFIG.format(bind=bind, peer=peer))
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `linkcodec` commands that say a word once they are ready."""
    running: list[subprocess.Popen[str]] = []

    def begin(word: str, *arguments: str | Path, token: str = TOKEN) -> subprocess.Popen[str]:
        said = tmp_path / f"said-{len(running)}"
        environment = {**os.environ, "LINKCODEC_TOKEN": token, "OMP_NUM_THREADS": "1"}
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "linkcodec", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                env=environment,
                cwd=ROOT,
            )
        running.append(process)
        deadline = time.monotonic() + 60
        while word not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


def likeness(said: Pcm, heard: Pcm) -> float:
    """How well the loudness of `heard` follows that of `said`, at the best delay; -1 to 1."""
    if heard.size < said.size:
        return 0.0
    delay = estimate_delay(said, heard, longest=heard.size / RATE - said.size / RATE)
    levels = []
    for pcm in (said, align(heard, delay=delay, length=said.size)):
        pieces = pcm[: pcm.size // 640 * 640].reshape(-1, 640)
        levels.append(np.log10(np.mean(np.square(pieces, dtype=np.float64), axis=1) + 1e-6))
    if np.ptp(levels[1]) == 0.0:  # nothing has come yet
        return 0.0
    return float(np.corrcoef(levels)[0, 1])


@pytest.mark.skipif(
    "LINKCODEC_LIVE" not in os.environ,
    reason="sound in real time needs a core that is free: `make test-live` runs it",
)
@pytest.mark.skipif(not find_browser(), reason="chromium is missing: `make debian` installs it")
def test_speech_from_the_page_and_back(tmp_path: Path, start: Start) -> None:
    """Over 1200 bit/s to an echo, which records it, and back into the page."""
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    near, far = free_udp_ports()
    port = free_port()
    said = tonecodec.speech_like(4.0, seed=3, pause=True)
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, said, RATE, subtype="PCM_16")
    recording = tmp_path / "far.wav"
    config = write_config(tmp_path / "far.toml", bind=far, peer=near)
    echo = start("sending back", "echo", "--config", config, "--record", recording)
    config = write_config(tmp_path / "near.toml", bind=near, peer=far)
    start("serving", "gateway", "--config", config, "--listen", f"127.0.0.1:{port}")
    with Browser(tmp_path / "profile", microphone=microphone) as browser:
        browser.open(f"http://127.0.0.1:{port}/#not-the-right-one")
        assert browser.run("location.hash") == ""
        browser.click("#talk")
        browser.wait(lambda: "does not know this token" in browser.text("#problem"), what="refusal")
        assert browser.text("#state") == "Not joined"
        browser.type("#token", TOKEN)
        browser.wait(lambda: browser.text("#state") == "Ready", what="joining")
        browser.click("#talk")
        browser.wait(lambda: browser.text("#state") == "Talking", what="talking")
        assert browser.run("document.querySelector('#talk').ariaPressed") == "true"
        browser.capture(RATE)

        def heard() -> bool:
            time.sleep(2.0)
            return likeness(said, browser.captured()) > 0.6

        browser.wait(heard, what="the echo", seconds=120)
        assert float(browser.text("#delay")) > 0
        browser.click("#talk")
        browser.wait(lambda: browser.text("#state") == "Ready", what="silence")
        assert browser.text("#problem") == ""
        assert browser.errors == []
    echo.send_signal(signal.SIGTERM)
    echo.wait(timeout=20)
    assert likeness(said, read_pcm(recording)) > 0.6


@pytest.mark.skipif(not find_browser(), reason="chromium is missing: `make debian` installs it")
def test_the_talk_button(tmp_path: Path, start: Start) -> None:
    """A tap switches, a press that lasts talks as long as it lasts; by mouse and by key."""
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    near, _ = free_udp_ports()
    port = free_port()
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, tonecodec.speech_like(1.0), RATE, subtype="PCM_16")
    config = write_config(tmp_path / "self.toml", bind=near, peer=near)
    arguments = ("serving", "gateway", "--config", config, "--listen", f"127.0.0.1:{port}")
    server = start(*arguments)
    with Browser(tmp_path / "profile", microphone=microphone) as browser:

        def becomes(state: str) -> None:
            browser.wait(lambda: browser.text("#state") == state, what=state)

        browser.open(f"http://127.0.0.1:{port}/#{TOKEN}")
        browser.click("#talk")
        becomes("Ready")  # the first press joins, and talks no longer than it lasts
        browser.click("#talk")
        becomes("Talking")
        # However often it is pressed, an even number of times is as before.
        for _ in range(4):
            browser.click("#talk")
        becomes("Talking")
        browser.click("#talk")
        becomes("Ready")
        pressed = time.time()
        browser.mouse("mousePressed", "#talk", at=pressed)
        becomes("Talking")
        browser.run("document.querySelector('.talk').style.paddingTop = '30rem'")
        browser.mouse("mouseReleased", "#where", at=pressed + 1.0)  # the button has moved away
        becomes("Ready")
        browser.run("document.querySelector('#talk').focus()")
        browser.key("keyDown", " ")
        becomes("Talking")
        time.sleep(0.4)  # key events keep their own time
        browser.key("keyUp", " ")
        becomes("Ready")
        browser.run("document.querySelector('#talk').click()")  # as screen readers do
        becomes("Talking")
        # The gateway follows, and what it has forgotten is told to it again.
        browser.run(
            "var seen = [];"
            "tell = (plain => call => { seen.push(call.talking); plain(call); })(tell);"
            "undefined"
        )
        browser.wait(lambda: browser.run("seen.includes(true)"), what="talk at the gateway")
        browser.run("seen = []; send({talk: false})")
        again = "seen.includes(false) && seen.lastIndexOf(true) > seen.indexOf(false)"
        browser.wait(lambda: browser.run(again), what="talk at the gateway again")
        assert browser.text("#state") == "Talking"
        # Who talks goes on talking after a break, and can stop.
        server.kill()
        server.wait()
        becomes("Connection lost")
        start(*arguments)
        becomes("Talking")
        browser.click("#talk")
        becomes("Ready")
        assert browser.errors == []


@pytest.mark.skipif(not find_browser(), reason="chromium is missing: `make debian` installs it")
def test_texts_and_trouble_in_a_page_without_microphone(tmp_path: Path, start: Start) -> None:
    """A page that cannot talk can write; it says when the gateway is gone, and comes back."""
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    near, _ = free_udp_ports()
    port = free_port()
    config = write_config(tmp_path / "self.toml", bind=near, peer=near)
    arguments = ("serving", "gateway", "--config", config, "--listen", f"127.0.0.1:{port}")
    server = start(*arguments)
    with Browser(tmp_path / "profile", microphone=None) as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        assert "A token is needed" in browser.text("#problem")
        browser.open(f"http://127.0.0.1:{port}/#{TOKEN}")
        browser.wait(lambda: browser.text("#problem") == "", what="the token")
        browser.open("about:blank")
        browser.open(f"http://127.0.0.1:{port}/")  # the token is kept, but not in the address
        browser.click("#talk")
        browser.wait(lambda: browser.text("#state") == "Ready", what="joining")
        assert "you can listen and write" in browser.text("#warning")
        assert browser.run("document.querySelector('#talk').disabled")
        browser.type("#text", "<b>hello</b> there")
        twice = "<b>hello</b> there\n<b>hello</b> there"
        browser.wait(lambda: browser.text("#said") == twice, what="the text back")
        server.kill()
        server.wait()
        browser.wait(lambda: browser.text("#state") == "Connection lost", what="loss")
        assert "Trying again" in browser.text("#problem")
        start(*arguments)
        browser.wait(lambda: browser.text("#state") == "Ready", what="joining again", seconds=60)
        assert browser.text("#problem") == ""


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a `linkcodec gateway` says that exits with status 2."""
    assert main(["gateway", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--listen", "0.0.0.0:8443"], "needs --tls CERT KEY"),
        (["--listen", "here"], "--listen = 'here' is no address"),
        (["--tls", "/no/cert", "/no/key"], "--tls /no/cert /no/key: No such file"),
        (["--tls", "{config}", "{config}"], "no certificate and key: give two PEM files"),
        (["--token-file", "/no/token"], "--token-file /no/token: cannot be read"),
        (["--token-file", "{config}"], "a token has at least 12"),
    ],
)
def test_what_cannot_be_served_is_named(
    flags: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "self.toml", bind=1, peer=1)
    arguments = [flag.format(config=config) for flag in flags]
    assert text in fails(["--config", str(config), *arguments], capsys)


def test_short_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path / "self.toml", bind=1, peer=1)
    monkeypatch.setenv("LINKCODEC_TOKEN", "short")
    assert "LINKCODEC_TOKEN: a token has at least 12" in fails(["--config", str(config)], capsys)


def test_microphone_is_heard_only_while_talking() -> None:
    microphone = BrowserMicrophone(sample_rate=RATE)
    loud = np.ones(320, np.float32)
    microphone.push(loud)
    assert not microphone.read(0.1).any()
    microphone.talking = True
    microphone.push(loud)
    assert microphone.read(0.1).all()
    for _ in range(60):
        microphone.push(loud)
    assert microphone.dropped == 10


def test_a_call_goes_on_without_a_browser() -> None:
    microphone = BrowserMicrophone(sample_rate=RATE)
    started = time.monotonic()
    samples = 0
    while samples < RATE // 5:
        pcm = microphone.read(0.01)
        assert not pcm.any()
        samples += pcm.size
    assert time.monotonic() - started >= 0.15


class Page:
    """A data channel to a page, and its connection."""

    readyState = "open"  # noqa: N815
    bufferedAmount = 0  # noqa: N815

    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []
        self.connectionState = "connected"
        self.take: Callable[[str], None] = lambda _: None

    def on(self, event: str, handler: Callable[[str], None]) -> None:
        assert event == "message"
        self.take = handler

    def send(self, message: str) -> None:
        self.told.append(json.loads(message))

    async def close(self) -> None:
        self.readyState = "closed"


def test_only_the_page_that_has_the_call_is_listened_to() -> None:
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    microphone = BrowserMicrophone(sample_rate=RATE)
    texts: list[str] = []

    def take_text(text: str) -> str:
        texts.append(text)
        return ""

    async def talk() -> None:
        gateway = PageConnection(
            microphone=microphone,
            speaker=SoundPipe("page", sample_rate=RATE),
            snapshot=lambda: {"talking": microphone.talking},
            text=take_text,
            sample_rate=RATE,
        )
        first, second = Page(), Page()
        gateway._connection = first
        gateway._open(first, first)
        first.take('{"talk": true}')
        assert microphone.talking
        for rubbish in ("{", "[]", "7", '{"talk": 1}', "[" * 3000):
            first.take(rubbish)
        first.take('{"text": "hello"}')
        await asyncio.sleep(0)
        assert first.told == [{"talking": True}]
        # Another page has the call: what the first one still says does not count.
        gateway._connection = second
        gateway._open(second, second)
        microphone.talking = False
        first.take('{"talk": true}')
        first.take('{"text": "still here"}')
        assert not microphone.talking
        second.take('{"talk": true}')
        second.connectionState = "failed"
        gateway._changed(second)
        assert not microphone.talking
        await gateway.close()

    asyncio.run(talk())
    assert texts == ["hello"]
