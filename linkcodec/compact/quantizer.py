"""Residual vector quantisation (Zeghidour et al. 2021): each book codes what is left."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """`books` codebooks of `entries` vectors; the first ones matter most."""

    vectors: Tensor

    def __init__(self, *, books: int, entries: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(books, entries, channels))

    def search(self, residual: Tensor, book: int) -> Tensor:
        """Indices of the entries of `book` nearest to the rows of `residual`: (rows,)."""
        vectors = self.vectors[book]
        distances = torch.addmm(vectors.square().sum(dim=1), residual, vectors.t(), alpha=-2.0)
        return distances.argmin(dim=1)

    def encode(self, latents: Tensor, *, quantizers: int) -> Tensor:
        """(rows, channels) to indices (rows, quantizers)."""
        residual = latents
        indices = []
        for book in range(quantizers):
            chosen = self.search(residual, book)
            residual = residual - self.vectors[book][chosen]
            indices.append(chosen)
        return torch.stack(indices, dim=1)

    def decode(self, indices: Tensor) -> Tensor:
        """Indices (rows, quantizers) to the sum of their entries: (rows, channels)."""
        books = torch.arange(indices.shape[1], device=indices.device)
        return self.vectors[books, indices].sum(dim=1)
