"""Recordings from addresses; files, bytes and arrays are tested with the codecs."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from localserver import LocalServer, local_server
from tonecodec import ToneCodec

from linkcodec import recordings
from linkcodec.exceptions import AudioFileError

_PATH = "/speech.wav"


def wav(seconds: float) -> bytes:
    random = np.random.default_rng(3)
    pcm = 0.1 * random.standard_normal(round(seconds * 16_000))
    file = io.BytesIO()
    soundfile.write(file, pcm, 16_000, format="WAV")
    return file.getvalue()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server({_PATH: wav(2.0)}) as running:
        yield running


@pytest.mark.parametrize("with_length", [True, False])
def test_an_address_gives_what_its_bytes_give(server: LocalServer, with_length: bool) -> None:
    server.with_length = with_length
    codec = ToneCodec()
    expected = codec.encode(server.files[_PATH])
    assert np.array_equal(codec.encode(server.url + _PATH), expected)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_long_arrays_give_what_their_parts_give(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    pcm = np.random.default_rng(4).uniform(-0.1, 0.1, (3 * rate, 2))
    whole = ToneCodec().encode(pcm, sample_rate=rate)
    monkeypatch.setattr(recordings, "_BLOCK_SAMPLES", 1000)
    assert np.array_equal(ToneCodec().encode(pcm, sample_rate=rate), whole)
    assert whole.shape[1] >= 3 * 12.5


def test_a_break_is_told(server: LocalServer) -> None:
    server.breaks.append(30_000)
    with pytest.raises(AudioFileError, match="broke after 30000 of 64044 bytes: try again"):
        ToneCodec().encode(server.url + _PATH)


def test_what_is_not_there_is_told(server: LocalServer) -> None:
    with pytest.raises(AudioFileError, match="404"):
        ToneCodec().encode(server.url + "/other.wav")


@pytest.mark.parametrize("with_length", [True, False])
def test_no_address_gives_more_than_the_limit(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, with_length: bool
) -> None:
    server.with_length = with_length
    monkeypatch.setattr(recordings, "MAX_URL_BYTES", 60_000)
    with pytest.raises(AudioFileError, match="larger than"):
        ToneCodec().encode(server.url + _PATH)


def test_a_long_answer_goes_to_the_disk_piece_by_piece() -> None:
    content = wav(0.5) + bytes(20_000_000)
    sink = _Counter()
    with local_server({_PATH: content}) as server:
        tracemalloc.start()
        recordings._fetch(server.url + _PATH, sink)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sink.tell() == len(content)
    assert peak < 5_000_000


class _Counter(io.BytesIO):
    """A file that keeps only the number of its bytes."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size
