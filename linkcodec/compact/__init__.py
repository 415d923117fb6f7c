"""The embedded codec: small, trained by this project, shipped with the package."""

from __future__ import annotations

from linkcodec.compact.codec import CompactCodec, CompactDecoder, CompactEncoder

__all__ = ["CompactCodec", "CompactDecoder", "CompactEncoder"]
