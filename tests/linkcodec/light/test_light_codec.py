"""The light build against the full one: a tiny network, and the one that is shipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile  # type: ignore[import-untyped]
import torch
from speechlike import phrase
from tinymodel import SIZES, tiny_model

from linkcodec.codec import Codec, Pcm, load_codec
from linkcodec.compact import layers as full_layers
from linkcodec.compact.codec import CompactCodec
from linkcodec.compact.features import Features as FullFeatures
from linkcodec.compact.model import CompactModel, DecoderState
from linkcodec.compact.shape import FRAME_SIZE, PAST, SAMPLE_RATE, SPECTRA, hann, mel_matrix
from linkcodec.compact.weights import save_weights
from linkcodec.exceptions import CodecError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from linkcodec.light.codec import NumpyCodec
from linkcodec.light.layers import Context
from linkcodec.light.network import Features, Quantizer, SpeechEncoder, Trunk
from linkcodec.light.synthesis import SynthesisState, Synthesizer
from linkcodec.light.weights import export_light, fold

ROOT = Path(__file__).parents[3]


def varied_model() -> CompactModel:
    """Gains and shifts that are not those of a new network, so that folding them matters."""
    model = tiny_model()
    torch.manual_seed(3)
    for name, value in model.named_parameters():
        if "norm" in name or name.endswith(("scale", "bias", "lost")):
            value.add_(0.3 * torch.randn_like(value))
    return model


def arrays_of(model: CompactModel) -> dict[str, npt.NDArray[np.float32]]:
    return fold({name: value.numpy() for name, value in model.state_dict().items()})


def test_unquantised_encoder_equals_torch() -> None:
    model = varied_model()
    heard = np.random.default_rng(0).standard_normal(PAST + 4 * FRAME_SIZE).astype(np.float32)
    heard *= 0.1
    with torch.inference_mode():
        expected = model.encoder(torch.from_numpy(heard)[None], full_layers.Context())[0]
    made = SpeechEncoder(arrays_of(model))(heard, Context())
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-4)


def test_features_equal_torch() -> None:
    heard = phrase(SAMPLE_RATE, dbfs=-25, seed=4)[: PAST + 20 * FRAME_SIZE].astype(np.float32)
    expected = FullFeatures()(torch.from_numpy(heard)[None])[0].numpy()
    np.testing.assert_allclose(Features()(heard), expected, atol=1e-3)
    assert not Features()(np.zeros(PAST + FRAME_SIZE, np.float32))[:, SPECTRA:].any()


@pytest.mark.parametrize("quantizers", [1, 2, 3])
def test_the_search_through_the_books_equals_torch(quantizers: int) -> None:
    model = tiny_model()
    latents = torch.randn(50, SIZES.latent, generator=torch.Generator().manual_seed(2))
    books = Quantizer(model.quantizer.vectors.numpy())
    found = [books.encode(row, quantizers=quantizers) for row in latents.numpy()]
    assert found == [
        tuple(row) for row in model.quantizer.encode(latents, quantizers=quantizers).tolist()
    ]


def test_unquantised_decoder_equals_torch_frame_by_frame() -> None:
    model = varied_model()
    torch.manual_seed(1)
    latents = torch.randn(1, 6, SIZES.latent)
    lost = torch.tensor([0.0, 0, 1, 0, 0, 1])[None, :, None]
    with torch.inference_mode():
        expected = model.synthesize(latents, lost, DecoderState())[0].numpy()
    trunk, synthesizer = Trunk(arrays_of(model)), Synthesizer()
    context, state = Context(), SynthesisState()
    made = [
        synthesizer(*trunk(None if gone else latent[None].numpy(), context), state)
        for latent, gone in zip(latents[0], lost[0, :, 0], strict=True)
    ]
    # Rounding in the pitch adds up in the phase of the pulse train.
    np.testing.assert_allclose(np.concatenate(made), expected, atol=5e-4)


@pytest.fixture(scope="module")
def speech() -> Pcm:
    audio, _ = soundfile.read(ROOT / "examples" / "sentence.flac", dtype="float32")
    return np.asarray(audio[8000:48000], dtype=np.float32)


@pytest.fixture(scope="module")
def light() -> NumpyCodec:
    loaded = load_codec("compact-light")
    assert isinstance(loaded, NumpyCodec)
    return loaded


def decode(codec: Codec, items: list[Frame]) -> Pcm:
    decoder = codec.decoder()
    return np.concatenate([decoder.decode(item) for item in items])


def test_the_shipped_light_build_speaks_the_same_language(light: NumpyCodec, speech: Pcm) -> None:
    full = load_codec("compact")
    assert light.info.build == "light"
    assert {light.info.name, full.info.name} == {"compact"}
    for field in ("version", "weights_hash", "quantizers", "delay", "frame_size"):
        assert getattr(light.info, field) == getattr(full.info, field), field
    theirs, ours = (
        made.push(speech) + made.flush()
        for made in (full.encoder(quantizers=8), light.encoder(quantizers=8))
    )
    same = [a.indices[0] == b.indices[0] for a, b in zip(theirs, ours, strict=True)]
    assert np.mean(same) > 0.8

    def bands(pcm: Pcm) -> Pcm:
        """Mel spectrum in dB; the harmonics of two slightly different pitches fall together."""
        frames = np.lib.stride_tricks.sliding_window_view(pcm, 512)[::256] * hann(512)
        power = np.square(np.abs(np.fft.rfft(frames))) @ mel_matrix(bands=32, fft=512).T
        return np.asarray(10 * np.log10(power + 1e-4), dtype=np.float32)

    difference = bands(decode(full, theirs)) - bands(decode(light, theirs))
    assert np.abs(difference).mean() < 0.7


def test_the_full_build_equals_torch_on_speech(speech: Pcm) -> None:
    full, torch_build = load_codec("compact"), CompactCodec.load()
    theirs, ours = (
        made.push(speech) + made.flush() for made in (torch_build.encoder(), full.encoder())
    )
    same = [a.indices[:8] == b.indices[:8] for a, b in zip(theirs, ours, strict=True)]
    # A tie between two entries may fall either way.
    assert np.mean(same) > 0.9
    np.testing.assert_allclose(decode(full, theirs), decode(torch_build, theirs), atol=1e-3)


def test_losses_silences_and_snapshots(light: NumpyCodec, speech: Pcm) -> None:
    frames = light.encoder().push(speech[:16000])
    items: list[PlayoutItem] = [*frames[:4], LOST, frames[5], Silence(-50.0), frames[7], LOST]
    decoder, other = light.decoder(), light.decoder()
    for item in items[:3]:
        decoder.decode(item)
    other.restore(decoder.snapshot())
    for item in items[3:]:
        made = decoder.decode(item)
        assert made.shape == (FRAME_SIZE,)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, other.decode(item))
    encoder, second = light.encoder(), light.encoder()
    encoder.push(speech[:3000])
    second.restore(encoder.snapshot())
    assert encoder.push(speech[3000:9000]) == second.push(speech[3000:9000])


def test_foreign_snapshots_are_refused(light: NumpyCodec) -> None:
    with pytest.raises(TypeError):
        light.encoder().restore(light.decoder().snapshot())
    with pytest.raises(TypeError):
        light.decoder().restore(light.encoder().snapshot())


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    save_weights(tiny_model(), tmp_path / "full.npz", version=7)
    export_light(tmp_path / "full.npz", tmp_path)
    return tmp_path


def test_listening_needs_only_the_decoder(tiny: Path) -> None:
    (tiny / "compact-7-light-encoder.npz").unlink()
    codec = NumpyCodec.load_light(7, folder=tiny)
    assert codec.decoder().decode(Frame((1, 2, 3))).shape == (FRAME_SIZE,)
    with pytest.raises(CodecError, match="light-encoder"):
        codec.encoder()


def test_halves_of_different_weights_are_refused(tiny: Path) -> None:
    save_weights(tiny_model(5), tiny / "other.npz", version=7)
    export_light(tiny / "other.npz", tiny / "other")
    name = "compact-7-light-encoder.npz"
    (tiny / name).write_bytes((tiny / "other" / name).read_bytes())
    with pytest.raises(CodecError, match="export both again"):
        NumpyCodec.load_light(7, folder=tiny).encoder()


def test_a_decoder_without_a_layer_is_refused(tiny: Path) -> None:
    path = tiny / "compact-7-light-decoder.npz"
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "trunk.leave.bias"}
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **kept)
    with pytest.raises(CodecError, match=r"trunk\.leave\.bias"):
        NumpyCodec.load_light(7, folder=tiny)


_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import receiver, sender
from linkcodec import Silence, load_codec
for name in ("compact", "compact-light"):
    codec = load_codec(name)
    frames = codec.encoder(quantizers=8).push(np.zeros(2560, np.float32))
    decoder = codec.decoder()
    assert all(decoder.decode(item).shape == (1280,) for item in [*frames, Silence()])
"""


def test_no_torch_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_TORCH],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
