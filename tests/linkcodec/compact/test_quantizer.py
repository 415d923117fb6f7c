from __future__ import annotations

import itertools

import torch

from linkcodec.compact.quantizer import ResidualQuantizer
from linkcodec.compact.shape import SEARCH_WIDTH


def quantizer(entries: int = 32) -> ResidualQuantizer:
    torch.manual_seed(1)
    made = ResidualQuantizer(books=3, entries=entries, channels=4)
    made.vectors.copy_(torch.randn(3, entries, 4) * torch.tensor([1.0, 0.5, 0.2])[:, None, None])
    return made


def test_one_book_takes_the_nearest_entry() -> None:
    books = quantizer()
    latents = torch.randn(20, 4)
    nearest = torch.cdist(latents, books.vectors[0]).argmin(dim=1)
    assert torch.equal(books.encode(latents, quantizers=1)[:, 0], nearest)


def test_a_book_as_small_as_the_search_is_wide_is_searched_whole() -> None:
    books = quantizer(SEARCH_WIDTH)
    latents = torch.randn(20, 4)
    ways = torch.tensor(list(itertools.product(range(SEARCH_WIDTH), repeat=2)))
    best = torch.cdist(latents, books.decode(ways)).argmin(dim=1)
    assert torch.equal(books.encode(latents, quantizers=2), ways[best])


def test_the_search_leaves_less_than_the_nearest_entries_do() -> None:
    books = quantizer()
    latents = torch.randn(200, 4)
    residual = latents
    for book in range(3):
        nearest = torch.cdist(residual, books.vectors[book]).argmin(dim=1)
        residual = residual - books.vectors[book][nearest]
    found = latents - books.decode(books.encode(latents, quantizers=3))
    assert found.square().mean() < 0.8 * residual.square().mean()


def test_decoding_sums_the_entries() -> None:
    books = quantizer()
    indices = torch.tensor([[3, 7], [0, 31]])
    expected = books.vectors[0][indices[:, 0]] + books.vectors[1][indices[:, 1]]
    assert torch.equal(books.decode(indices), expected)
