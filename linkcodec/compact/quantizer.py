"""Residual vector quantisation (Zeghidour et al. 2021): each book codes what is left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linkcodec.compact.shape import SEARCH_WIDTH

_ROWS_AT_ONCE = 16384


class ResidualQuantizer(nn.Module):
    """`books` codebooks of `entries` vectors; the first ones matter most."""

    vectors: Tensor

    def __init__(self, *, books: int, entries: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(books, entries, channels))

    def search(self, residual: Tensor, book: int) -> Tensor:
        """Indices of the entries of `book` nearest to the rows of `residual`: (rows,)."""
        vectors = self.vectors[book]
        power = vectors.square().sum(dim=1)
        return torch.cat(
            [
                torch.addmm(power, part, vectors.t(), alpha=-2.0).argmin(dim=1)
                for part in torch.split(residual, _ROWS_AT_ONCE)
            ]
        )

    def encode(self, latents: Tensor, *, quantizers: int) -> Tensor:
        """(rows, channels) to indices (rows, quantizers): the best way through the books among
        those that begin with the `SEARCH_WIDTH` best so far."""
        rows, channels = latents.shape
        residuals = latents[:, None]
        indices = torch.zeros(rows, 1, 0, dtype=torch.long, device=latents.device)
        for book, vectors in enumerate(self.vectors[:quantizers]):
            power = vectors.square().sum(dim=1) + residuals.square().sum(dim=2, keepdim=True)
            distances = (power - 2.0 * residuals @ vectors.t()).flatten(1)
            width = 1 if book == quantizers - 1 else min(SEARCH_WIDTH, distances.shape[1])
            places = distances.topk(width, dim=1, largest=False).indices[..., None]
            begun, chosen = places // len(vectors), places % len(vectors)
            residuals = residuals.gather(1, begun.expand(-1, -1, channels))
            residuals = residuals - vectors[chosen[..., 0]]
            indices = torch.cat((indices.gather(1, begun.expand(-1, -1, book)), chosen), dim=2)
        return indices[:, 0]

    def decode(self, indices: Tensor) -> Tensor:
        """Indices (rows, quantizers) to the sum of their entries: (rows, channels)."""
        books = torch.arange(indices.shape[1], device=indices.device)
        return self.vectors[books, indices].sum(dim=1)
