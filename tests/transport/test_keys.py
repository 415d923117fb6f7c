from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import SecurityError
from transport.keys import KEY_BYTES, PresharedKey

secrets = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@settings(deadline=None)
@given(secrets)
def test_a_key_survives_its_text(secret: bytes) -> None:
    key = PresharedKey(secret)
    assert PresharedKey.parse(key.text, source="x") == key
    assert PresharedKey.parse(key.text.lower() + "\n", source="x") == key


@settings(deadline=None)
@given(secrets, st.data())
def test_a_slip_of_the_pen_is_found(secret: bytes, data: st.DataObject) -> None:
    prefix, symbols = PresharedKey(secret).text.split()
    place = data.draw(st.sampled_from([at for at, symbol in enumerate(symbols) if symbol != "-"]))
    wrong = data.draw(
        st.sampled_from(sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") - {symbols[place]}))
    )
    text = f"{prefix} {symbols[:place]}{wrong}{symbols[place + 1 :]}"
    with pytest.raises(SecurityError, match=r"my\.key: the key is damaged or mistyped"):
        PresharedKey.parse(text, source="my.key")


@settings(deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_a_key_or_a_documented_error(text: str) -> None:
    for candidate in (text, f"linkcodec-key-1 {text}"):
        with pytest.raises(SecurityError):
            PresharedKey.parse(candidate, source="x")


def test_new_keys_differ_and_do_not_show_their_secret() -> None:
    first, second = PresharedKey.generate(), PresharedKey.generate()
    assert first != second
    assert first.fingerprint != second.fingerprint
    assert first.secret.hex() not in repr(first)
    assert repr(first.secret) not in repr(first)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PresharedKey(bytes(31))


def test_derivation_is_hkdf_sha256() -> None:
    secret = bytes(range(32))
    extracted = hmac.digest(b"salt", secret, hashlib.sha256)
    block1 = hmac.digest(extracted, b"info\x01", hashlib.sha256)
    block2 = hmac.digest(extracted, block1 + b"info\x02", hashlib.sha256)
    derived = PresharedKey(secret).derive(salt=b"salt", info=b"info", length=48)
    assert derived == (block1 + block2)[:48]
