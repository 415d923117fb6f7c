"""Trained weights in a network of another shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tinymodel import SIZES, tiny_model

from linkcodec.compact.layers import Block, Context
from linkcodec.compact.model import CompactModel
from linkcodec.compact.shape import FRAME_SIZE, PAST
from linkcodec.compact.train import reshape
from linkcodec.compact.train.reshape import directions, hear_recent, narrow, silence_new_blocks


def test_directions_keep_the_power_that_is_asked_for() -> None:
    torch.manual_seed(1)
    rows = torch.randn(500, 5) * torch.tensor([3.0, 0.001, 1.0, 2.0, 0.002])
    there, back = directions(rows.t() @ rows / 500, 3, power=2.0)
    kept = rows @ there.t()
    torch.testing.assert_close(kept.square().mean(), torch.tensor(2.0))
    torch.testing.assert_close(kept @ back.t(), rows, atol=0.02, rtol=0)


def test_a_deeper_network_with_fewer_latents_does_what_the_old_one_did() -> None:
    torch.manual_seed(2)
    model = tiny_model()
    # One of the four directions of the latents is never used.
    unused = torch.tensor([0.1, 0.7, -0.1, 0.7])
    others = torch.eye(4) - unused[:, None] * unused
    assert model.encoder.intonation is not None
    for layer in (model.encoder.leave, model.encoder.intonation.leave):
        layer.weight.copy_(others @ layer.weight)
        layer.bias.copy_(others @ layer.bias)
    heard = 0.1 * torch.randn(2, PAST + 6 * FRAME_SIZE)
    latents = model.encoder(heard, Context())
    rows = latents.flatten(0, 1)
    there, back = directions(rows.t() @ rows / len(rows), 3, power=1.5)
    deeper = CompactModel(replace(SIZES, latent=3, decoder_blocks=(2, 1, 1, 3))).eval()
    missing, unexpected = deeper.load_state_dict(narrow(model, there, back), strict=False)
    assert not unexpected
    with torch.no_grad():
        first = deeper.trunk(deeper.encoder(heard, Context()), torch.zeros(2, 6, 1), Context())
    assert not silence_new_blocks(deeper, missing)
    with torch.no_grad():
        reshaped = deeper.encoder(heard, Context())
        after = deeper.trunk(reshaped, torch.zeros(2, 6, 1), Context())
    before = model.trunk(latents, torch.zeros(2, 6, 1), Context())
    torch.testing.assert_close(reshaped.square().mean(), torch.tensor(1.5), atol=1e-3, rtol=0)
    for one, same in zip(before, after, strict=True):
        torch.testing.assert_close(same, one, atol=1e-4, rtol=1e-3)
    # New blocks did something before they were silenced, and all of their layers can learn.
    assert not torch.allclose(first[0], before[0], atol=1e-4)
    new = deeper.trunk.stage1.blocks[1]
    assert isinstance(new, Block)
    assert new.widen.weight.any()


def test_a_view_that_is_not_believed_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    old = CompactModel(replace(SIZES, views=1)).eval()
    new = CompactModel(SIZES).eval()
    heard = 0.1 * torch.randn(2, PAST + 6 * FRAME_SIZE)
    unlike = []
    for doubt in (-40.0, -3.0):
        monkeypatch.setattr(reshape, "_DOUBT", doubt)
        state = old.state_dict()
        hear_recent(state)
        new.load_state_dict(state)
        with torch.no_grad():
            before, after = (model.encoder.analyse(heard, Context())[1] for model in (old, new))
        assert before is not None
        assert after is not None
        unlike.append(float((after - before).abs().max()))
    assert unlike[0] < 1e-5 < unlike[1]


def test_what_is_no_block_is_missing() -> None:
    model = tiny_model()
    names = ["trunk.intonation.mix.weight", "trunk.stage1.blocks.0.narrow.weight"]
    assert silence_new_blocks(model, names) == names[:1]
    block = model.trunk.stage1.blocks[0]
    assert isinstance(block, Block)
    assert not block.narrow.weight.any()
