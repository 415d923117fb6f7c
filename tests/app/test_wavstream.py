"""WAV files and raw samples through a pipe, in pieces of any size."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audio import RATE, sine, wav

from linkcodec.app.wavstream import StreamDecoder
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError


def decode(data: bytes, *, step: int = 1000) -> Pcm:
    decoder = StreamDecoder(RATE)
    pieces = [decoder.push(data[start : start + step]) for start in range(0, len(data), step)]
    return np.concatenate([*pieces, decoder.finish()])


@pytest.mark.parametrize("step", [1, 13, 100_000])
def test_raw_samples(step: int) -> None:
    pcm = sine(0.2)
    raw = np.round(pcm * 32768.0).astype("<i2").tobytes()
    assert np.allclose(decode(raw, step=step), pcm, atol=1e-4)


@pytest.mark.parametrize("step", [1, 13, 100_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_wav_of_the_same_rate(step: int, subtype: str) -> None:
    pcm = sine(0.2)
    assert np.allclose(decode(wav(pcm, RATE, subtype), step=step), pcm, atol=1e-4)


def test_wav_of_another_rate_and_two_channels() -> None:
    stereo = np.stack([sine(1.0, 44_100), 0.0 * sine(1.0, 44_100)], axis=1)
    heard = decode(wav(stereo, 44_100, "PCM_16"))
    assert abs(heard.size - RATE) <= 1
    assert np.allclose(heard[2000:-2000], 0.5 * sine(1.0)[2000:-2000], atol=0.01)


def test_wav_with_unknown_length_is_read_to_the_end() -> None:
    data = bytearray(wav(sine(0.2), RATE, "PCM_16"))
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    assert decode(bytes(data)).size == round(0.2 * RATE)


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\0AVI LIST",
        b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 0, 0, 24),
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 0, 8000, 0, 0, 16),
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 0, 0, 0, 16),
        b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff",
        b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0ab",
    ],
)
def test_unreadable_wav_is_refused(data: bytes) -> None:
    with pytest.raises(AudioFileError, match="standard input"):
        decode(data)


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_samples_or_an_error(data: bytes, riff: bool) -> None:
    try:
        pcm = decode(b"RIFF\0\0\0\0WAVE" + data if riff else data, step=50)
    except AudioFileError:
        pcm = np.zeros(0, np.float32)
    assert np.all(np.isfinite(pcm))
