from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from conftest import read_pcm

from linkcodec.app.audio import FileSink
from linkcodec.app.echo import EchoSink, EchoSource

RATE = 16_000
BLOCK = 1280


def test_at_once() -> None:
    sink = EchoSink(sample_rate=RATE)
    source = EchoSource(sink, sample_rate=RATE)
    said = np.full(2 * BLOCK, 0.5, np.float32)
    sink.write(said)
    heard = np.zeros(0, np.float32)
    deadline = time.monotonic() + 5
    while heard.size < said.size and time.monotonic() < deadline:
        heard = np.concatenate([heard, source.read(0.05)])
    np.testing.assert_array_equal(heard[: said.size], said)


def test_parrot_speaks_after_the_over(tmp_path: Path) -> None:
    path = tmp_path / "copy.wav"
    copy = FileSink(str(path), sample_rate=RATE)
    sink = EchoSink(sample_rate=RATE, at_once=False, copy=copy)
    silence = np.zeros(BLOCK, np.float32)
    said = np.full(5 * BLOCK, 0.5, np.float32)
    sink.write(silence)
    for first in range(0, said.size, BLOCK):
        sink.write(said[first : first + BLOCK])
        assert not sink.take(640).any()
    for _ in range(16):
        sink.write(silence)
    heard = np.concatenate([sink.take(640) for _ in range(60)])
    np.testing.assert_array_equal(heard[: said.size], said)
    assert not heard[said.size :].any()
    sink.close()
    assert read_pcm(path).size == 22 * BLOCK


def test_a_parrot_remembers_one_minute() -> None:
    sink = EchoSink(sample_rate=RATE, at_once=False)
    minute = np.full(61 * RATE, 0.5, np.float32)
    sink.write(minute)
    sink.write(np.zeros(2 * RATE, np.float32))
    assert sum(piece.size for piece in sink.ready) == 60 * RATE
