from __future__ import annotations

import torch
from tinymodel import SIZES, tiny_model

from linkcodec.compact.layers import Context
from linkcodec.compact.model import DecoderState, ModelConfig, pitch_hertz
from linkcodec.compact.shape import FRAME_SIZE, PAST


def test_frames_one_by_one_equal_all_at_once() -> None:
    # Rounding in the pitch adds up in the phase of the pulse train: with other random weights, to
    # as much as 4e-4. The shipped ones have a test of their own in test_compact_codec.py.
    model = tiny_model(1)
    x = torch.randn(1, PAST + 5 * FRAME_SIZE) * 0.1
    zero = torch.zeros(1, 5, 1)
    with torch.inference_mode():
        latents = model.encoder(x, Context())
        context = Context()
        single = [
            model.encoder(x[:, i * FRAME_SIZE : (i + 1) * FRAME_SIZE + PAST], context)
            for i in range(5)
        ]
        torch.testing.assert_close(torch.cat(single, dim=1), latents, atol=1e-5, rtol=0)
        whole = model.synthesize(latents, zero, DecoderState())
        state = DecoderState()
        parts = [model.synthesize(latents[:, i : i + 1], zero[:, :1], state) for i in range(5)]
    assert whole.shape == (1, 5 * FRAME_SIZE)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=0)


def test_latents_depend_on_nothing_after_their_frame() -> None:
    model = tiny_model()
    x = torch.randn(1, PAST + 4 * FRAME_SIZE) * 0.1
    later = x.clone()
    later[:, PAST + 2 * FRAME_SIZE :] = 0.0
    with torch.inference_mode():
        first, second = model.encoder(x, Context()), model.encoder(later, Context())
    assert first.shape == (1, 4, SIZES.latent)
    torch.testing.assert_close(first[:, :2], second[:, :2], atol=1e-6, rtol=0)


def test_a_lost_frame_hides_its_latents() -> None:
    model = tiny_model()
    lost = torch.tensor([[[0.0], [1.0], [0.0]]])
    latents = torch.randn(1, 3, SIZES.latent)
    other = latents.clone()
    other[:, 1] = 9.0
    with torch.inference_mode():
        a = model.synthesize(latents, lost, DecoderState())
        b = model.synthesize(other, lost, DecoderState())
    assert torch.equal(a, b)


def test_pitch_stays_within_the_range_of_voices() -> None:
    assert pitch_hertz(torch.tensor([0.0])).item() == 130.0
    low, high = pitch_hertz(torch.tensor([-9.0, 9.0])).tolist()
    assert (low, high) == (50.0, 520.0)


def test_the_released_shape_is_small() -> None:
    model = ModelConfig()
    assert model.books >= 12
    assert model.entries == 2048
