"""Audio files of many kinds, made on the fly, and what is no audio."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.audiofile import AudioWriter, Resampler, read_audio, stream_audio, write_audio
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError

RATE = 16_000


def tones(seconds: float, rate: int) -> Pcm:
    """Three tones, all below 3 kHz, at about -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * hertz * time) for hertz in (310, 1100, 2700)]
    return np.asarray(0.15 * np.sum(parts, axis=0), np.float32)


def agreement(pcm: Pcm, rate: int) -> float:
    """Signal-to-error ratio in dB against the tones at `rate`, without the edges."""
    expected = tones(pcm.size / rate + 1, rate)[: pcm.size]
    inner = slice(rate // 20, pcm.size - rate // 20)
    error = np.sum((pcm[inner] - expected[inner]) ** 2)
    return float(10 * np.log10(np.sum(expected[inner] ** 2) / max(float(error), 1e-12)))


def aligned(pcm: Pcm, rate: int) -> Pcm:
    """`pcm` without the delay of a coder that the container does not take back."""
    spectrum = np.fft.rfft(pcm) * np.conj(np.fft.rfft(tones(0.5, rate), pcm.size))
    delay = int(np.argmax(np.fft.irfft(spectrum, pcm.size)[: rate // 5]))
    return pcm[delay:]


def encode_with_ffmpeg(path: Path, codec: str, pcm: Pcm, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for start in range(0, pcm.size, 1024):
            frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate = rate
            frame.pts = start
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("suffix", "subtype", "least_db"),
    [
        ("wav", "PCM_U8", 25),
        ("wav", "PCM_16", 60),
        ("wav", "PCM_24", 60),
        ("wav", "PCM_32", 60),
        ("wav", "FLOAT", 60),
        ("wav", "DOUBLE", 60),
        ("wav", "ULAW", 25),
        ("flac", "PCM_16", 60),
        ("flac", "PCM_24", 60),
        ("aiff", "PCM_16", 60),
        ("ogg", "VORBIS", 15),
    ],
)
@pytest.mark.parametrize("shape", [(16_000, 1), (44_100, 2), (8000, 1), (48_000, 6)])
def test_libsndfile_formats(
    tmp_path: Path, suffix: str, subtype: str, least_db: float, shape: tuple[int, int]
) -> None:
    rate, channels = shape
    path = tmp_path / f"a.{suffix}"
    pcm = np.repeat(tones(1.3, rate)[:, None], channels, axis=1)
    soundfile.write(path, pcm, rate, subtype=subtype)
    read = read_audio(path, RATE)
    assert read.dtype == np.float32
    assert read.shape == (round(1.3 * RATE),)
    assert agreement(read, RATE) > least_db


@pytest.mark.parametrize(
    ("name", "codec", "least_db"),
    [
        ("a.m4a", "aac", 20),
        ("a.mp3", "libmp3lame", 20),
        ("a.aac", "aac", 12),
        ("a.opus", "libopus", 10),
        ("a.webm", "libopus", 10),
        ("a.mka", "flac", 60),
    ],
)
@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_ffmpeg_formats(tmp_path: Path, name: str, codec: str, least_db: float, rate: int) -> None:
    path = tmp_path / name
    encode_with_ffmpeg(path, codec, tones(2.0, rate), rate)
    pcm = read_audio(path, RATE)
    assert pcm.dtype == np.float32
    assert abs(pcm.size - 2 * RATE) < 0.15 * RATE
    assert agreement(aligned(pcm, RATE)[: RATE * 3 // 2], RATE) > least_db


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tones(0.5, RATE), np.full(RATE // 2, 0.25, np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", RATE), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("name", ["a.wav", "a.WAV", "a.flac"])
def test_write_and_read_back_is_exact(tmp_path: Path, name: str) -> None:
    words = np.random.default_rng(1).integers(-32768, 32768, 20_000)
    write_audio(tmp_path / name, (words / 32768).astype(np.float32), 24_000)
    info = soundfile.info(tmp_path / name)
    assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
    np.testing.assert_array_equal(read_audio(tmp_path / name, 24_000) * 32768, words)


def test_written_wav_is_plain(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.array([0.0, 1.5, -1.5, 0.5], np.float32), RATE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, RATE, 4)
        words = np.frombuffer(file.readframes(4), "<i2")
    assert words.tolist() == [0, 32767, -32768, 16384]


def test_writer_appends_and_closes_twice(tmp_path: Path) -> None:
    pcm = tones(1.0, RATE)
    with AudioWriter(tmp_path / "a.wav", RATE) as writer:
        for start in range(0, pcm.size, 1000):
            writer.write(pcm[start : start + 1000])
        writer.close()
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", RATE), pcm, atol=1 / 60_000)


@pytest.mark.parametrize("block", [1, 333, 1280, 10**6])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_stream_equals_whole(tmp_path: Path, block: int, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tones(0.4, rate), rate, subtype="FLOAT")
    blocks = list(stream_audio(tmp_path / "a.wav", RATE, block=block))
    assert all(part.shape == (block,) for part in blocks[:-1])
    assert 1 <= blocks[-1].size <= block
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(tmp_path / "a.wav", RATE))


def test_a_stream_may_be_left_early(tmp_path: Path) -> None:
    encode_with_ffmpeg(tmp_path / "a.mp3", "libmp3lame", tones(3.0, RATE), RATE)
    soundfile.write(tmp_path / "a.wav", tones(30, RATE), RATE)
    for name in ("a.mp3", "a.wav"):
        first = next(stream_audio(tmp_path / name, RATE, block=100))
        assert first.shape == (100,)


@pytest.mark.parametrize("name", ["long.wav", "long.mka"])
def test_a_long_file_takes_little_memory(tmp_path: Path, name: str) -> None:
    """Half an hour in stereo or as one track; peak memory of a process that streams it."""
    path = tmp_path / name
    if name.endswith("wav"):
        with soundfile.SoundFile(path, "w", 44_100, 2) as file:
            for _ in range(180):
                file.write(np.zeros((441_000, 2), np.int16))
    else:
        encode_with_ffmpeg(path, "flac", np.zeros(1800 * 8000, np.float32), 8000)
    program = """
import resource, sys
from linkcodec.audiofile import read_audio, stream_audio
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
for _ in zip(range(20), stream_audio(sys.argv[1], 16000, block=1280)): pass
before = peak()
samples = sum(block.size for block in stream_audio(sys.argv[1], 16000, block=1280))
print(samples, peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    samples, mebibytes = map(int, done.stdout.split())
    assert samples == 1800 * RATE
    assert mebibytes < 20


def wav_with(values: list[float]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        soundfile.write(path, np.array(values, np.float32), RATE, subtype="FLOAT", format="WAV")

    return make


def text(path: Path) -> None:
    path.write_text("This is a letter, and no sound.\n" * 400)


def play_list(path: Path) -> None:
    write_audio(path.with_name("real.wav"), tones(1.0, RATE), RATE)
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nreal.wav\n#EXT-X-ENDLIST\n")


def concatenation(path: Path) -> None:
    write_audio(path.with_name("real.wav"), tones(1.0, RATE), RATE)
    path.write_text("ffconcat version 1.0\nfile real.wav\n")


def random_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(5).bytes(100_000))


def cut_flac(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(6).uniform(-0.5, 0.5, 60_000), RATE, format="FLAC")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(range(256)) * 200)


def picture(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=5)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def too_many_channels(path: Path) -> None:
    soundfile.write(path, np.zeros((10, 300)), RATE, format="WAV")


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "ogg", "txt", "raw"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"RIFF"), "not an audio file"),
        (text, "not an audio file"),
        (random_bytes, "not an audio file|damaged"),
        (play_list, "not an audio file"),
        (concatenation, "not an audio file"),
        (wav_with([]), "holds no audio"),
        (wav_with([0.0, float("nan"), 0.0]), "not a number"),
        (wav_with([0.0, float("inf")]), "not a number"),
        (wav_with([32767.0, -3.0]), "times full scale"),
        (cut_flac, "damaged"),
        (picture, "holds no audio"),
        (too_many_channels, "300 channels"),
    ],
)
def test_what_is_no_audio(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    words: str,
    suffix: str,
) -> None:
    path = tmp_path / f"input.{suffix}"
    make(path)
    with pytest.raises(AudioFileError, match=words) as error:
        read_audio(path, RATE)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"gone\.wav: cannot be read: No such file"):
        read_audio(tmp_path / "gone.wav", RATE)
    with pytest.raises(AudioFileError, match="is a directory"):
        read_audio(tmp_path, RATE)
    with pytest.raises(AudioFileError, match="not a regular file"):
        read_audio(os.devnull, RATE)
    with pytest.raises(AudioFileError, match="cannot be read"):
        read_audio("a\0b.wav", RATE)
    with pytest.raises(AudioFileError, match="cannot be read"):
        read_audio("http://127.0.0.1:9/a.mp3", RATE)


def test_an_absurd_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 10)
    with pytest.raises(AudioFileError, match="sample rate of 10 Hz"):
        read_audio(tmp_path / "a.wav", RATE)


def test_errors_come_before_the_first_block(tmp_path: Path) -> None:
    text(tmp_path / "a.wav")
    with pytest.raises(AudioFileError):
        stream_audio(tmp_path / "a.wav", RATE, block=100)


@pytest.mark.parametrize("name", ["a.mp3", "a", "a.ogg"])
def test_only_wav_and_flac_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioFileError, match=r"name it \.wav or \.flac"):
        write_audio(tmp_path / name, tones(0.1, RATE), RATE)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_cannot_be_written(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(AudioFileError, match="cannot be written: No such file"):
        write_audio(tmp_path / "no" / f"where.{suffix}", tones(0.1, RATE), RATE)
    (tmp_path / f"full.{suffix}").symlink_to("/dev/full")
    with pytest.raises(AudioFileError, match="cannot be written"):
        write_audio(tmp_path / f"full.{suffix}", tones(10, RATE), RATE)
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(AudioFileError, match="Is a directory"):
        write_audio(tmp_path / f"folder.{suffix}", tones(0.1, RATE), RATE)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([(8000, 16_000), (44_100, 16_000), (48_000, 24_000), (24_000, 44_100)]),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_resampler_gives_the_right_number_of_samples(
    rates: tuple[int, int], sizes: list[int]
) -> None:
    resampler = Resampler(*rates)
    given = [resampler.push(np.zeros(size, np.float32)) for size in sizes]
    total = sum(part.size for part in given) + resampler.flush().size
    assert total == round(sum(sizes) * rates[1] / rates[0])


@pytest.mark.parametrize("rates", [(44_100, 16_000), (16_000, 48_000), (16_000, 16_000)])
def test_resampler_keeps_the_sound_in_place(rates: tuple[int, int]) -> None:
    resampler = Resampler(*rates)
    for _ in range(2):  # The second time shows that `flush` leaves nothing behind.
        pcm = tones(1.0, rates[0])
        parts = [resampler.push(pcm[start : start + 777]) for start in range(0, pcm.size, 777)]
        result: npt.NDArray[np.float32] = np.concatenate([*parts, resampler.flush()])
        assert agreement(result, rates[1]) > 60
