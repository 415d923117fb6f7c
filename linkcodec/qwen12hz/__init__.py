"""Qwen3-TTS-Tokenizer-12Hz: 24 kHz, 16 books, 12.5 frames/s; weights from their owner."""

from __future__ import annotations

from linkcodec.qwen12hz.codec import load_qwen12hz

__all__ = ["load_qwen12hz"]
