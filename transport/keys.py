"""The pre-shared key of a call, its text form, and the keys that come from it.

One secret of 256 bits is shared by everybody on a net. It encrypts nothing itself: each session
of each station has keys of its own, made by HKDF-SHA256 (RFC 5869).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from linkcodec.exceptions import SecurityError

__all__ = ["KEY_BYTES", "PresharedKey"]

KEY_BYTES: Final = 32

_PREFIX: Final = "linkcodec-key-1"
_CHECK_BYTES: Final = 3
_GROUP: Final = 4
_SYMBOLS: Final = (KEY_BYTES + _CHECK_BYTES) * 8 // 5


def _digest(purpose: bytes, secret: bytes) -> bytes:
    return hashlib.sha256(b"linkcodec " + purpose + b"\0" + secret).digest()


@dataclass(frozen=True, slots=True)
class PresharedKey:
    """A secret of 32 bytes.

    Its text is one line, `linkcodec-key-1` and 14 groups of four letters or digits, of which
    the last 24 bits are a check against slips of the pen.

    Raises:
        ValueError: the secret has another length.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def generate(cls) -> PresharedKey:
        """A new key from the system's random numbers."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, text: str, *, source: str) -> PresharedKey:
        """The key that `text` is; `source` names the text in errors.

        Raises:
            SecurityError: it is no key, or a letter of it is wrong.
        """
        words = text.split()
        if len(words) != 2 or words[0] != _PREFIX:
            raise SecurityError(
                f"{source}: this is no key: it begins with '{_PREFIX}'; "
                "make one with 'linkcodec key new FILE'"
            )
        symbols = words[1].replace("-", "").upper()
        try:
            data = base64.b32decode(symbols)
        except (binascii.Error, ValueError):
            data = b""
        secret, check = data[:KEY_BYTES], data[KEY_BYTES:]
        if len(symbols) != _SYMBOLS or check != _digest(b"check", secret)[:_CHECK_BYTES]:
            raise SecurityError(f"{source}: the key is damaged or mistyped: copy it anew")
        return cls(secret)

    @property
    def text(self) -> str:
        """The line that `parse` reads."""
        data = self.secret + _digest(b"check", self.secret)[:_CHECK_BYTES]
        symbols = base64.b32encode(data).decode()
        groups = [symbols[at : at + _GROUP] for at in range(0, _SYMBOLS, _GROUP)]
        return f"{_PREFIX} {'-'.join(groups)}"

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits to compare two copies by; they do not reveal the key."""
        return _digest(b"fingerprint", self.secret)[:4].hex()

    def derive(self, *, salt: bytes, info: bytes, length: int) -> bytes:
        """Key material of `length` bytes by HKDF-SHA256 from this secret (RFC 5869)."""
        kdf = HKDF(algorithm=SHA256(), length=length, salt=salt, info=info)
        return kdf.derive(self.secret)
