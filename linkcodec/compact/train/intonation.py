"""How a network trained without it gets the pitch's own way."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.compact.model import CompactModel
from linkcodec.compact.shape import STEPS_PER_FRAME

COURSES = 4
"""Coefficients of the cosine transform that describe the pitch's course through a frame."""

GAIN = 5.0
"""Latent units per octave of a coefficient: eight books leave an error of about 0.1."""

MEAN = 0.3
"""Octaves above `PITCH_CENTRE` of the mean voice."""


def courses() -> Tensor:
    """The first rows of the orthonormal cosine transform (type II): (COURSES, 8)."""
    steps = (torch.arange(STEPS_PER_FRAME) + 0.5) / STEPS_PER_FRAME
    rows = torch.cos(math.pi * torch.arange(COURSES)[:, None] * steps)
    return F.normalize(rows, dim=1)


@torch.no_grad()
def open_way(model: CompactModel) -> None:
    """Give the `COURSES` directions in which the latents vary least to the pitch.

    What the books tell of their variance is enough to find them. What was in them is lost, and
    the books have to start anew.
    """
    encoder, decoder = model.encoder.intonation, model.trunk.intonation
    assert encoder is not None
    assert decoder is not None
    vectors = model.quantizer.vectors
    spread = sum((torch.cov(book.t()) for book in vectors), torch.zeros(()))
    mean = vectors.mean(dim=1).sum(dim=0)
    freed = torch.linalg.eigh(spread)[1][:, :COURSES]
    others = torch.eye(len(freed)) - freed @ freed.t()
    leave, enter = model.encoder.leave, model.trunk.enter
    leave.weight.copy_(others @ leave.weight)
    leave.bias.copy_(others @ leave.bias)
    enter.bias.add_(enter.weight @ (mean - others @ mean))
    enter.weight.copy_(enter.weight @ others)
    encoder.leave.weight.copy_(GAIN * freed @ courses())
    encoder.leave.bias.copy_(-MEAN * encoder.leave.weight.sum(dim=1))
    decoder.read.weight.copy_(courses().t() @ freed.t() / GAIN)
    decoder.read.bias.fill_(MEAN)
