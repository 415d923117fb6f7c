"""What several test modules share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import tonecodec
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from linkcodec import codec as codec_module
from linkcodec.codec import Pcm

ROOT = Path(__file__).resolve().parent.parent

# As the commands do.
threadpool_limits(limits=1, user_api="blas")


@pytest.fixture
def tone_codec(monkeypatch: pytest.MonkeyPatch) -> tonecodec.ToneCodec:
    """The test codec, which `load_codec("tone")` gives during the test."""
    codec = tonecodec.ToneCodec()
    monkeypatch.setitem(codec_module._LOADERS, "tone", lambda: codec)
    return codec


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A WAV file of four seconds of voice-like sound at 16 kHz."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, tonecodec.speech_like(4.0), tonecodec.SAMPLE_RATE, subtype="PCM_16")
    return path


@pytest.fixture
def tone_config(tmp_path: Path) -> Path:
    """A configuration with the test codec over a synchronous line of 1200 bit/s."""
    path = tmp_path / "tone.toml"
    path.write_text(
        '[codec]\nname = "tone"\nquantizers = 8\n'
        '[link]\nkind = "loopback"\nrate = 1200\nframing = "sync"\n'
        "[wire]\nframes_per_packet = 7\n"
        "[channel]\ndelay_ms = 100\n"
    )
    return path


def read_pcm(path: Path) -> Pcm:
    """The samples of a mono file."""
    pcm, _ = soundfile.read(path, dtype="float32")
    assert pcm.ndim == 1
    return np.asarray(pcm, dtype=np.float32)


def free_port() -> int:
    """A TCP port of this machine that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def listening(port: int) -> None:
    """Wait until a server of this process listens."""
    while True:
        with contextlib.suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)
