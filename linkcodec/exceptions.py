"""All errors that linkcodec and transport raise on purpose.

LinkcodecError
├── InputError            what the user gave cannot be used (exit status 2)
│   ├── ConfigError       a configuration file, section, field or flag
│   ├── AudioFileError    an audio file that is missing, empty or no audio
│   ├── TokenFileError    a damaged `.lkc` file, or one of another version
│   ├── CodecError        unknown codec, missing weights, impossible quantizers
│   └── SecurityError     a key or a record of sessions that is missing, damaged or unsafe
├── PacketError           bytes from the wire that are not a valid packet
├── LinkError             a port, socket or modem failed at run time (exit status 1)
└── DeviceError           a sound device is missing or failed (exit status 1)

The text of an `InputError` names the file, field or option and says how to mend it,
in one line.
"""

from __future__ import annotations

__all__ = [
    "AudioFileError",
    "CodecError",
    "ConfigError",
    "DeviceError",
    "InputError",
    "LinkError",
    "LinkcodecError",
    "PacketError",
    "SecurityError",
    "TokenFileError",
]


class LinkcodecError(Exception):
    """Root of all errors of this project."""


class InputError(LinkcodecError):
    """What the user gave cannot be used."""


class ConfigError(InputError):
    """A configuration file, section, field or flag is wrong."""


class AudioFileError(InputError):
    """An audio file is missing, empty or not audio."""


class TokenFileError(InputError):
    """A token file is damaged or of a version that is not supported."""


class CodecError(InputError):
    """A codec, its weights or its number of quantizers cannot be used."""


class SecurityError(InputError):
    """A key, or the record of sessions, is missing, damaged or unsafe."""


class PacketError(LinkcodecError):
    """Bytes from the wire are not a valid packet."""


class LinkError(LinkcodecError):
    """A link failed at run time."""


class DeviceError(LinkcodecError):
    """A sound device is missing or failed."""
