from __future__ import annotations

import torch

from linkcodec.compact.quantizer import ResidualQuantizer


def quantizer() -> ResidualQuantizer:
    torch.manual_seed(1)
    made = ResidualQuantizer(books=3, entries=32, channels=4)
    made.vectors.copy_(torch.randn(3, 32, 4) * torch.tensor([1.0, 0.5, 0.2])[:, None, None])
    return made


def test_each_book_takes_the_nearest_entry_of_what_is_left() -> None:
    books = quantizer()
    latents = torch.randn(20, 4)
    indices = books.encode(latents, quantizers=3)
    residual = latents
    for book in range(3):
        nearest = torch.cdist(residual, books.vectors[book]).argmin(dim=1)
        assert torch.equal(indices[:, book], nearest)
        residual = residual - books.vectors[book][nearest]


def test_fewer_books_are_the_first_ones() -> None:
    books = quantizer()
    latents = torch.randn(20, 4)
    few, all_books = books.encode(latents, quantizers=2), books.encode(latents, quantizers=3)
    assert torch.equal(few, all_books[:, :2])


def test_decoding_sums_the_entries() -> None:
    books = quantizer()
    indices = torch.tensor([[3, 7], [0, 31]])
    expected = books.vectors[0][indices[:, 0]] + books.vectors[1][indices[:, 1]]
    assert torch.equal(books.decode(indices), expected)
