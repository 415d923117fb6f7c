"""Streaming voice over links of 1200 bit/s, with a neural codec.

Importing this package loads no codec and no sound library; `load_codec` does.
"""

from __future__ import annotations

from linkcodec.codec import codec_names, load_codec
from linkcodec.exceptions import (
    AudioFileError,
    CodecError,
    ConfigError,
    DeviceError,
    InputError,
    LinkcodecError,
    LinkError,
    PacketError,
    SecurityError,
    TokenFileError,
)
from linkcodec.frame import LOST, Frame, Silence
from linkcodec.recordings import load_tokens, save_tokens
from linkcodec.tokenfile import TokenFile

__all__ = [
    "LOST",
    "AudioFileError",
    "CodecError",
    "ConfigError",
    "DeviceError",
    "Frame",
    "InputError",
    "LinkError",
    "LinkcodecError",
    "PacketError",
    "SecurityError",
    "Silence",
    "TokenFile",
    "TokenFileError",
    "__version__",
    "codec_names",
    "load_codec",
    "load_tokens",
    "save_tokens",
]

__version__ = "0.7.0"
