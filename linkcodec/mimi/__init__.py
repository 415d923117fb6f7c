"""kyutai's Mimi, and the streaming layers that codecs of its kind share."""

from __future__ import annotations

from linkcodec.mimi.codec import load_mimi
from linkcodec.mimi.streams import NeuralCodec

__all__ = ["NeuralCodec", "load_mimi"]
