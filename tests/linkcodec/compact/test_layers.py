from __future__ import annotations

import torch

from linkcodec.compact.layers import Block, Context, Merge, Split, Stage


def test_a_stage_in_pieces_equals_a_stage_at_once() -> None:
    torch.manual_seed(0)
    stage = Stage(6, blocks=3, kernel=5, expansion=2).eval()
    x = torch.randn(2, 24, 6)
    with torch.inference_mode():
        whole = stage(x, Context())
        context = Context()
        parts = []
        for start, end in ((0, 1), (1, 9), (9, 10), (10, 24)):
            context.rewind()
            parts.append(stage(x[:, start:end], context))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-6, rtol=0)


def test_a_block_never_looks_ahead() -> None:
    torch.manual_seed(0)
    block = Block(4, kernel=7, expansion=2).eval()
    x = torch.randn(1, 12, 4)
    changed = x.clone()
    changed[:, 7:] += 1.0
    with torch.inference_mode():
        before, after = block(x, Context()), block(changed, Context())
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.equal(before[:, 7:], after[:, 7:])


def test_a_copy_of_a_context_is_independent() -> None:
    context = Context()
    context.extend(torch.ones(1, 3, 2), 2)
    copy = context.copy()
    context.rewind()
    context.extend(torch.zeros(1, 3, 2), 2)
    copy.rewind()
    assert copy.extend(torch.zeros(1, 1, 2), 2).sum() == 4.0


def test_merge_halves_and_split_doubles_the_rate() -> None:
    x = torch.randn(2, 8, 6)
    merged = Merge(6, 10)(x)
    assert merged.shape == (2, 4, 10)
    assert Split(10, 5)(merged).shape == (2, 8, 5)
