"""The codec behind the interface of every codec, and whole recordings through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import torch
from qwencheckpoints import decoded, write_qwen

import linkcodec
from linkcodec.app.cli import main
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError, CodecError, InputError, TokenFileError
from linkcodec.frame import LOST, Frame, Silence
from linkcodec.mimi import NeuralCodec
from linkcodec.mimi.backend import Backend
from linkcodec.mimi.streams import NeuralEncoder
from linkcodec.tokenfile import TokenFile


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen(tmp_path_factory.mktemp("weights") / "qwen")


@pytest.fixture(scope="module")
def codec(weights: Path) -> NeuralCodec:
    loaded = linkcodec.load_codec("qwen3-12hz", weights=weights, precision="fp32")
    assert isinstance(loaded, NeuralCodec)
    return loaded


def sound(seconds: float, rate: int = 24_000) -> Pcm:
    random = np.random.default_rng(5)
    return (0.1 * random.standard_normal(round(seconds * rate))).astype(np.float32)


def test_pushes_of_any_length_give_the_same_frames(codec: NeuralCodec) -> None:
    pcm = sound(0.5)
    encoder = codec.encoder(quantizers=3)
    whole = encoder.push(pcm) + encoder.flush()
    pieces = [frame for part in np.array_split(pcm, 11) for frame in encoder.push(part)]
    assert pieces + encoder.flush() == whole
    assert len(whole) == 7
    assert all(len(frame.indices) == 3 for frame in whole)


def test_books_change_in_mid_stream(codec: NeuralCodec) -> None:
    pcm = sound(0.4)
    reference = codec.encoder().push(pcm)
    encoder = codec.encoder(quantizers=2)
    assert isinstance(encoder, NeuralEncoder)
    frames = encoder.push(pcm[:3840])
    encoder.quantizers = 9
    frames += encoder.push(pcm[3840:])
    assert frames == [f.coarse(2) for f in reference[:2]] + [f.coarse(9) for f in reference[2:]]
    with pytest.raises(CodecError, match="1 to 16"):
        encoder.quantizers = 17


def test_snapshots_of_streams(codec: NeuralCodec) -> None:
    encoder, decoder = codec.encoder(), codec.decoder()
    frames = encoder.push(sound(0.4))
    state = encoder.snapshot()
    first = encoder.push(sound(0.16))
    encoder.restore(state)
    assert encoder.push(sound(0.16)) == first
    decoder.decode(frames[0])
    saved = decoder.snapshot()
    before = decoder.decode(frames[1])
    other = codec.decoder()
    other.restore(saved)
    assert np.array_equal(other.decode(frames[1]), before)


def test_losses_fade_and_silence_is_noise(codec: NeuralCodec) -> None:
    decoder = codec.decoder()
    frames = codec.encoder().push(sound(0.4))
    for frame in frames:
        decoder.decode(frame.coarse(4))
    for _ in range(6):
        pcm = decoder.decode(LOST)
        assert pcm.shape == (1920,)
        assert np.isfinite(pcm).all()
    quiet = decoder.decode(Silence(-60.0))
    assert np.sqrt(np.mean(quiet**2)) < 0.01


def test_tokens_out_of_range_are_refused(codec: NeuralCodec) -> None:
    with pytest.raises(CodecError, match="16"):
        codec.decode(np.zeros((17, 2), np.int64))
    with pytest.raises(CodecError, match=r"0\.\.63"):
        codec.decode(np.full((2, 2), 64))
    for wrong in (np.zeros(3, np.int64), np.zeros((2, 2), np.float32)):
        with pytest.raises(InputError, match="shape"):
            codec.decode(wrong)


def test_recordings_of_every_kind_give_the_same_tokens(codec: NeuralCodec, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    soundfile.write(path, sound(0.5), 24_000, subtype="FLOAT")
    tokens = codec.encode(path, num_quantizers=4)
    assert tokens.shape == (4, 7)
    for other in (str(path), path.read_bytes()):
        assert np.array_equal(codec.encode(other, num_quantizers=4), tokens)
    both = codec.encode([sound(0.5), path], sample_rate=24_000, num_quantizers=4)
    assert all(np.array_equal(one, tokens) for one in both)
    pcm = codec.decode(tokens)
    assert pcm.shape == (7 * 1920,)
    assert codec.decode(torch.from_numpy(tokens), target_sample_rate=16_000).shape == (7 * 1280,)  # type: ignore[call-overload]
    assert np.array_equal(codec.decode([tokens, tokens[:2]])[0], pcm)
    with pytest.raises(InputError, match="sample_rate="):
        codec.encode(sound(0.1))
    with pytest.raises(AudioFileError, match="cannot be fetched"):
        codec.encode("http://127.0.0.1:9/nothing.wav")


@pytest.mark.parametrize("suffix", [".lkc", ".npy", ".pt"])
def test_tokens_survive_their_file(codec: NeuralCodec, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tokens{suffix}"
    tokens = codec.encode(sound(0.3), sample_rate=24_000, num_quantizers=5)
    linkcodec.save_tokens(path, tokens, codec=codec)
    loaded = linkcodec.load_tokens(path)
    assert isinstance(loaded, TokenFile) == (suffix == ".lkc")
    assert np.array_equal(codec.decode(loaded), codec.decode(tokens))
    path.write_bytes(b"no tokens at all")
    with pytest.raises(TokenFileError):
        linkcodec.load_tokens(path)
    with pytest.raises(TokenFileError):
        linkcodec.load_tokens(tmp_path / f"nothing{suffix}")


def test_a_token_file_needs_its_codec(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="codec="):
        linkcodec.save_tokens(tmp_path / "a.lkc", np.zeros((1, 1), np.int64))


def test_commands_take_the_weights(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "in.wav", sound(0.5), 24_000)
    codec = ["--codec", "qwen3-12hz", "--weights", str(weights)]
    encoded, out = str(tmp_path / "a.lkc"), str(tmp_path / "out.wav")
    assert main(["encode", str(tmp_path / "in.wav"), encoded, *codec, "--quantizers", "8"]) == 0
    assert main(["decode", encoded, out, "--weights", str(weights)]) == 0
    assert soundfile.info(out).frames == 12_000
    assert main(["codecs", "--compare-codebooks", str(weights), str(weights)]) == 0
    assert "codebooks: 32 of 32 equal" in capsys.readouterr().out


def test_frames_are_of_this_codec(codec: NeuralCodec) -> None:
    pcm = codec.decoder().decode(Frame((1, 2, 3)))
    assert pcm.dtype == np.float32
    assert pcm.shape == (1920,)


@pytest.mark.parametrize("samples", [1, 1920, 4 * 1920, 13 * 1920 + 7])
def test_whole_recordings_give_what_a_stream_gives(codec: NeuralCodec, samples: int) -> None:
    pcm = sound(samples / 24_000)
    encoder = codec.encoder(quantizers=6)
    frames = encoder.push(pcm) + encoder.flush()
    blocks = [pcm[:5000], pcm[5000:5003], pcm[5003:]]
    found = list(codec.encode_blocks(blocks, quantizers=6))
    assert len(found) == len(frames) == -(-samples // 1920)
    stream, whole = (np.array([frame.indices for frame in some]) for some in (frames, found))
    assert (stream == whole).mean() >= 0.995
    heard = codec.decode(whole.T)
    state = codec.decoder_network.state()
    expected = decoded(codec, torch.from_numpy(whole.T)[None], step=1, state=state)[0].numpy()
    assert np.abs(heard - expected).max() < 1e-4


def test_nothing_recorded_is_no_frame(codec: NeuralCodec) -> None:
    assert list(codec.encode_blocks([np.zeros(0, np.float32)], quantizers=2)) == []


def test_bf16_keeps_the_orders_of_two_lengths() -> None:
    random = torch.manual_seed(3)
    weight = torch.randn(32, 16, 3, generator=random)
    apply = Backend(precision="bf16").convolution(weight, None)
    for steps in (3, 9, 5, 3, 9):
        x = torch.randn(1, steps, 16, generator=random)
        expected = torch.nn.functional.conv1d(x.transpose(1, 2), weight).transpose(1, 2)
        error = (apply(x.bfloat16()).float() - expected).square().mean()
        assert error < 1e-4 * expected.square().mean()
