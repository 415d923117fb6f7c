"""The split residual quantiser of Mimi (Défossez et al. 2024).

One semantic book and a chain of acoustic books code the same latent side by side; the
acoustic ones each code what those before them have left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from linkcodec.mimi.backend import Backend

__all__ = ["ABSENT", "LatentCoder", "LatentDecoder", "codebook"]

ABSENT = -1
"""Stands for an index that is not there, in frames with fewer books than others."""

_LEAST_USAGE = 1e-5


def codebook(total: Tensor, usage: Tensor) -> Tensor:
    """Vectors of a book, (entries, width), from the running sums of its training."""
    return total.float() / usage.float().clamp(min=_LEAST_USAGE)[:, None]


class LatentCoder:
    """Latents to indices; in fp32, since a wrong neighbour spoils all books after it.

    Args:
        projections: (width, latent) for the semantic and the acoustic chain.
        books: for each chain its books, (entries, width) each.
    """

    def __init__(
        self,
        projections: Sequence[Tensor],
        books: Sequence[Sequence[Tensor]],
        device: str,
    ) -> None:
        self._projections = [matrix.float().to(device) for matrix in projections]
        self._books = [[book.to(device) for book in chain] for chain in books]
        self._halves = [[book.square().sum(dim=1) / 2 for book in chain] for chain in self._books]

    def __call__(self, latents: Tensor, quantizers: int) -> Tensor:
        """(B, T, latent) to indices (B, quantizers, T)."""
        batch, steps, width = latents.shape
        rows = latents.float().reshape(batch * steps, width)
        indices: list[Tensor] = []
        for matrix, books, halves in zip(self._projections, self._books, self._halves, strict=True):
            residual = rows @ matrix.t()
            for book, half in zip(books, halves, strict=True):
                if len(indices) == quantizers:
                    break
                nearest = torch.addmm(half, residual, book.t(), alpha=-1.0).argmin(dim=1)
                residual = residual - book[nearest]
                indices.append(nearest)
        return torch.stack(indices, dim=1).view(batch, steps, quantizers).transpose(1, 2)


class LatentDecoder:
    """Indices to latents: the sum of the vectors that are there.

    Args:
        projections: (latent, width) for the semantic and the acoustic chain.
        books: for each chain its books, (entries, width) each.
    """

    def __init__(
        self,
        projections: Sequence[Tensor],
        books: Sequence[Sequence[Tensor]],
        backend: Backend,
    ) -> None:
        self._backend = backend
        self._semantic = len(books[0])
        self._books = [book.to(backend.device) for chain in books for book in chain]
        self._project = backend.linear(torch.cat([matrix.float() for matrix in projections], dim=1))

    def __call__(self, indices: Tensor) -> Tensor:
        """(B, K, T), `ABSENT` where there is none, to (B, T, latent)."""
        batch, count, steps = indices.shape
        width = self._books[0].shape[1]
        sums = torch.zeros(2, batch, steps, width, device=indices.device)
        for number in range(count):
            chosen = indices[:, number]
            vectors = self._books[number][chosen.clamp(min=0)]
            vectors = torch.where((chosen == ABSENT)[:, :, None], 0.0, vectors)
            sums[int(number >= self._semantic)] += vectors
        return self._project(torch.cat((sums[0], sums[1]), dim=-1).to(self._backend.dtype))
