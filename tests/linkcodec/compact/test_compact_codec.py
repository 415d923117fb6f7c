"""The embedded codec in all its builds; long signals are left to the benchmarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import torch

from linkcodec.codec import Codec, Pcm, load_codec
from linkcodec.compact.codec import CompactCodec
from linkcodec.compact.layers import Context
from linkcodec.compact.model import DecoderState
from linkcodec.compact.shape import PAST
from linkcodec.compact.versions import CURRENT_VERSION, installed_versions
from linkcodec.exceptions import CodecError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"


BUILDS: dict[str, Callable[[], Codec]] = {
    "full": lambda: load_codec("compact"),
    "light": lambda: load_codec("compact-light"),
    "torch": CompactCodec.load,
}


@pytest.fixture(scope="module", params=BUILDS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return BUILDS[request.param]()


@pytest.fixture(scope="module")
def speech() -> Pcm:
    audio, rate = soundfile.read(ROOT / "examples" / "sentence.flac", dtype="float32")
    assert rate == 16000
    return np.asarray(audio[8000:48000], dtype=np.float32)


@pytest.fixture(scope="module")
def frames(codec: Codec, speech: Pcm) -> list[Frame]:
    encoder = codec.encoder()
    return encoder.push(speech) + encoder.flush()


def decode(codec: Codec, items: list[Frame]) -> Pcm:
    decoder = codec.decoder()
    return np.concatenate([decoder.decode(item) for item in items])


def test_description(codec: Codec) -> None:
    info = codec.info
    assert (info.name, info.version) == ("compact", CURRENT_VERSION)
    assert (info.sample_rate, info.frame_size, info.codebook_size) == (16000, 1280, 2048)
    assert info.quantizers >= 12
    assert info.delay <= 320


@pytest.mark.parametrize("size", [1, 333, 1280, 5000])
def test_any_size_of_push_gives_the_same_frames(
    codec: Codec, speech: Pcm, frames: list[Frame], size: int
) -> None:
    part = speech[:6000]
    encoder = codec.encoder()
    pushed = [
        frame
        for start in range(0, len(part), size)
        for frame in encoder.push(part[start : start + size])
    ]
    assert pushed == frames[: len(part) // codec.info.frame_size]


def test_streaming_equals_the_network_on_the_whole_signal(speech: Pcm) -> None:
    codec = load_codec("compact")
    encoder = codec.encoder()
    frames = encoder.push(speech) + encoder.flush()
    model = CompactCodec.load()._model
    padded = np.zeros(PAST + len(frames) * 1280, dtype=np.float32)
    padded[PAST : PAST + len(speech)] = speech
    with torch.inference_mode():
        latents = model.encoder(torch.from_numpy(padded)[None], Context())
        offline = model.quantizer.encode(latents[0], quantizers=codec.info.quantizers)
        streamed = torch.tensor([frame.indices for frame in frames])
        # A tie between neighbours may fall either way; from there on the finer books differ.
        assert float((offline[:, :4] == streamed[:, :4]).float().mean()) > 0.99
        voice = model.quantizer.decode(streamed)[None]
        whole = model.synthesize(voice, torch.zeros(1, len(frames), 1), DecoderState())
    np.testing.assert_allclose(decode(codec, frames), whole[0].numpy(), atol=1e-4)


def test_flush_gives_enough_frames_for_every_sample(codec: Codec) -> None:
    for samples in (1, 960, 961, 1280, 2240, 2241):
        encoder = codec.encoder(quantizers=1)
        made = encoder.push(np.zeros(samples, dtype=np.float32)) + encoder.flush()
        assert len(made) == -(-(samples + codec.info.delay) // 1280)
        assert encoder.flush() == []


def test_speech_comes_back_with_its_shape(codec: Codec, speech: Pcm, frames: list[Frame]) -> None:
    """The loudness contour of the output follows the input's, at the codec's own delay."""
    output = decode(codec, frames)[codec.info.delay :][: len(speech)]

    def contour(pcm: Pcm) -> Pcm:
        power = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
        return np.asarray(np.log(np.sqrt((power**2).mean(axis=1)) + 1e-3), dtype=np.float32)

    assert np.corrcoef(contour(speech), contour(output))[0, 1] > 0.9


def test_every_number_of_books_decodes(codec: Codec, frames: list[Frame]) -> None:
    outputs = [
        decode(codec, [frame.coarse(books) for frame in frames[:6]])
        for books in range(1, codec.info.quantizers + 1)
    ]
    for output in outputs:
        assert output.shape == (6 * 1280,)
        assert np.isfinite(output).all()
    assert all(not np.array_equal(a, b) for a, b in pairwise(outputs))


def test_an_encoder_with_fewer_books_needs_no_others(
    codec: Codec, speech: Pcm, frames: list[Frame]
) -> None:
    few = codec.encoder(quantizers=3).push(speech[:6400])
    assert [len(frame.indices) for frame in few] == 5 * [3]
    # The search looks ahead, so that the first books of more are not always those of fewer.
    alike = [a.indices[0] == b.indices[0] for a, b in zip(few, frames, strict=False)]
    assert sum(alike) >= 3


@pytest.mark.parametrize("books", [0, -1, 13, 99])
def test_impossible_numbers_of_books_are_refused(codec: Codec, books: int) -> None:
    with pytest.raises(CodecError, match="1 to 12"):
        codec.encoder(quantizers=books)


def test_a_frame_with_too_many_books_is_refused(codec: Codec) -> None:
    with pytest.raises(CodecError, match="13 indices"):
        codec.decoder().decode(Frame((0,) * 13))


def test_encoder_snapshots(codec: Codec, speech: Pcm) -> None:
    encoder = codec.encoder()
    encoder.push(speech[:3000])
    state = encoder.snapshot()
    first = encoder.push(speech[3000:9000])
    encoder.restore(state)
    assert encoder.push(speech[3000:9000]) == first
    other = codec.encoder()
    other.restore(state)
    assert other.push(speech[3000:9000]) == first
    encoder.reset()
    assert encoder.push(speech[:3000]) == codec.encoder().push(speech[:3000])


def test_decoder_snapshots(codec: Codec, frames: list[Frame]) -> None:
    decoder = codec.decoder()
    items: list[PlayoutItem] = [*frames[:4], LOST, frames[5], Silence(-50.0), frames[7], frames[8]]
    for item in items[:3]:
        decoder.decode(item)
    state = decoder.snapshot()
    first = [decoder.decode(item) for item in items[3:]]
    other = codec.decoder()
    other.restore(state)
    for item, expected in zip(items[3:], first, strict=True):
        np.testing.assert_array_equal(other.decode(item), expected)
    other.reset()
    np.testing.assert_array_equal(other.decode(frames[0]), codec.decoder().decode(frames[0]))


def test_foreign_snapshots_are_refused(codec: Codec) -> None:
    with pytest.raises(TypeError):
        codec.encoder().restore(codec.decoder().snapshot())
    with pytest.raises(TypeError):
        codec.decoder().restore(codec.encoder().snapshot())


def rms(pcm: Pcm) -> float:
    return float(20 * np.log10(np.sqrt((pcm.astype(np.float64) ** 2).mean()) + 1e-9))


def test_losses_fade_to_comfort_noise(codec: Codec, frames: list[Frame]) -> None:
    decoder = codec.decoder()
    decoder.decode(Silence(-60.0))
    for frame in frames[:8]:
        decoder.decode(frame)
    concealed = [decoder.decode(LOST) for _ in range(9)]
    assert all(len(pcm) == 1280 for pcm in concealed)
    for pcm in concealed[-3:]:
        assert abs(rms(pcm) + 60.0) < 3.0


def test_silence_is_comfort_noise_of_the_level_asked_for(codec: Codec) -> None:
    decoder = codec.decoder()
    for _ in range(8):
        decoder.decode(Silence(-45.0))
    pcm = np.concatenate([decoder.decode(Silence(-45.0)) for _ in range(10)])
    assert abs(rms(pcm) + 45.0) < 1.5


def test_no_click_at_the_edges_of_speech(codec: Codec, frames: list[Frame]) -> None:
    """No step between frames is larger than the steps within the speech itself."""
    decoder = codec.decoder()
    items: list[PlayoutItem] = [
        *(Silence(-60.0) for _ in range(4)),
        *frames[4:12],
        LOST,
        *frames[13:18],
        LOST,
        LOST,
        LOST,
        *frames[21:24],
        *(Silence(-60.0) for _ in range(4)),
    ]
    pieces = [decoder.decode(item) for item in items]
    pcm = np.concatenate(pieces)
    steps = np.abs(np.diff(pcm))
    joins = np.arange(1, len(pieces)) * 1280 - 1
    within = np.delete(steps, joins)
    assert steps[joins].max() <= within.max()


def test_a_lost_frame_is_repaired_within_two_frames(codec: Codec, frames: list[Frame]) -> None:
    def spectrum(pcm: Pcm) -> Pcm:
        windows = np.lib.stride_tricks.sliding_window_view(pcm, 512)[::128] * np.hanning(512)
        return np.asarray(np.log(np.abs(np.fft.rfft(windows)) + 1e-2), dtype=np.float32)

    whole, broken = codec.decoder(), codec.decoder()
    distances = []
    for number, frame in enumerate(frames[:16]):
        right = whole.decode(frame)
        got = broken.decode(LOST if number == 8 else frame)
        distances.append(float(np.abs(spectrum(right) - spectrum(got)).mean()))
    assert distances[7] == 0.0
    assert max(distances[11:]) < 0.6 * distances[8]


@pytest.mark.parametrize("version", installed_versions("light-decoder"))
def test_golden_vectors_of_the_light_build(version: int) -> None:
    golden = json.loads((VECTORS / f"compact-{version}.json").read_text())
    codec = load_codec("compact-light", version=version)
    assert golden["weights_hash"] == codec.info.weights_hash
    expected = [Frame(tuple(indices)) for indices in golden["frames"]]
    loudness = np.array([rms(pcm) for pcm in decode(codec, expected).reshape(-1, 1280)])
    assert np.abs(loudness - golden["loudness_db"]).mean() < 0.5


@pytest.mark.parametrize("version", installed_versions())
def test_golden_vectors(version: int, speech: Pcm) -> None:
    """Released weights keep their meaning: another version of them needs another number."""
    golden = json.loads((VECTORS / f"compact-{version}.json").read_text())
    codec = load_codec("compact", version=version)
    assert golden["weights_hash"] == codec.info.weights_hash
    encoder = codec.encoder()
    frames = encoder.push(speech) + encoder.flush()
    expected = [Frame(tuple(indices)) for indices in golden["frames"]]
    same = [a == b for a, b in zip(frames, expected, strict=True)]
    # Ties may fall differently on another processor.
    assert np.mean(same) > 0.9
    loudness = [rms(pcm) for pcm in decode(codec, expected).reshape(-1, 1280)]
    np.testing.assert_allclose(loudness, golden["loudness_db"], atol=0.1)
