"""Learning the codebooks: k-means at the start, moving averages afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linkcodec.compact.quantizer import ResidualQuantizer

DECAY = 0.995
DEAD = 0.05
"""An entry used less often than this per batch, on average, is replaced."""


class CodebookTrainer(nn.Module):
    """Moving averages (van den Oord et al. 2017, appendix) for the books of a quantizer."""

    counts: Tensor
    sums: Tensor

    def __init__(self, quantizer: ResidualQuantizer) -> None:
        super().__init__()
        books, entries, channels = quantizer.vectors.shape
        self.register_buffer("counts", torch.ones(books, entries))
        self.register_buffer("sums", torch.zeros(books, entries, channels))

    @torch.no_grad()
    def start(self, quantizer: ResidualQuantizer, latents: Tensor, *, rounds: int = 10) -> None:
        """K-means book by book on stored latents, (rows, channels)."""
        residual = latents
        for book in range(len(quantizer.vectors)):
            residual = self.start_book(quantizer, book, residual, rounds=rounds)

    @torch.no_grad()
    def start_book(
        self, quantizer: ResidualQuantizer, book: int, residual: Tensor, *, rounds: int = 10
    ) -> Tensor:
        """K-means for one book on what the ones before it leave, (rows, channels); returns what
        it leaves itself."""
        entries = quantizer.vectors.shape[1]
        centres = residual[torch.randperm(len(residual))[:entries]].clone()
        for _ in range(rounds):
            quantizer.vectors[book] = centres
            counts, sums = self._gather(residual, quantizer.search(residual, book), entries)
            spare = residual[torch.randint(0, len(residual), (entries,))]
            means = sums / counts.clamp(min=1)[:, None]
            centres = torch.where(counts[:, None] > 0, means, spare)
        quantizer.vectors[book] = centres
        self.counts[book] = 0.2
        self.sums[book] = 0.2 * centres
        return residual - centres[quantizer.search(residual, book)]

    @staticmethod
    def _gather(rows: Tensor, chosen: Tensor, entries: int) -> tuple[Tensor, Tensor]:
        counts = rows.new_zeros(entries).index_add_(0, chosen, rows.new_ones(len(rows)))
        sums = rows.new_zeros(entries, rows.shape[1]).index_add_(0, chosen, rows)
        return counts, sums

    @torch.no_grad()
    def update(
        self, quantizer: ResidualQuantizer, book: int, residual: Tensor, chosen: Tensor
    ) -> None:
        """Move the entries of `book` towards the rows of `residual` that chose them."""
        counts, sums = self._gather(residual, chosen, quantizer.vectors.shape[1])
        self.counts[book].mul_(DECAY).add_(counts, alpha=1 - DECAY)
        self.sums[book].mul_(DECAY).add_(sums, alpha=1 - DECAY)
        dead = torch.nonzero(self.counts[book] < DEAD * len(residual) / counts.numel()).squeeze(1)
        if len(dead):
            fresh = residual[torch.randint(0, len(residual), (len(dead),))]
            alive = len(residual) / counts.numel()
            self.counts[book, dead] = alive
            self.sums[book, dead] = alive * fresh
        self.counts[book].clamp_(min=1e-4)
        quantizer.vectors[book] = self.sums[book] / self.counts[book][:, None]

    def forward(
        self, quantizer: ResidualQuantizer, latents: Tensor, used: Tensor, *, learn: bool
    ) -> tuple[Tensor, Tensor]:
        """Quantise latents (items, n, channels), item i with `used[i]` books.

        Returns what the decoder gets (the gradient passes straight through) and the
        commitment loss.
        """
        items, frames, channels = latents.shape
        rows = latents.reshape(-1, channels)
        keep = used.repeat_interleave(frames)
        residual = rows
        total = torch.zeros_like(rows)
        loss = rows.new_zeros(())
        for book in range(quantizer.vectors.shape[0]):
            chosen = quantizer.search(residual.detach(), book)
            vectors = quantizer.vectors[book][chosen]
            mask = (keep > book).float()[:, None]
            loss = loss + ((residual - vectors).square() * mask).mean()
            total = total + vectors * mask
            if learn:
                self.update(quantizer, book, residual.detach(), chosen)
            residual = residual - vectors
        passed = rows + (total - rows).detach()
        return passed.reshape(items, frames, channels), loss / quantizer.vectors.shape[0]
