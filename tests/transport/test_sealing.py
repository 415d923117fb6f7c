from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS, Frame
from transport.keys import PresharedKey
from transport.packet import (
    ByePacket,
    HelloPacket,
    LinkPacket,
    Parity,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    parse,
    serialise,
)
from transport.replay import Ledger
from transport.sealing import PacketOpener, PacketSealer, announcement_length, sealed_length
from transport.security import ReceiverSecurity, SecurityMode, SenderSecurity, Suite

KEY = PresharedKey(bytes(range(32)))
ENCRYPTED = Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=4)
SIGNED = Suite(mode=SecurityMode.AUTHENTICATED, tag_bytes=6)
FRAMES = tuple(Frame(tuple(range(8 * i, 8 * i + 8))) for i in range(7))


def packets(tick: int) -> list[WirePacket]:
    """One of each kind."""
    low = tick % 512
    books = tuple(frame.coarse(2) for frame in FRAMES)
    return [
        VoicePacket(tick=low, frames=FRAMES, start=True),
        VoicePacket(
            tick=(low + 7) % 512, frames=FRAMES, parity=Parity(distances=(1,), books=books)
        ),
        VoicePacket(tick=(low - 100) % 512, frames=FRAMES, repair=True),
        SilencePacket(tick=low, level_dbfs=-50.0, colour=77),
        HelloPacket(tick=low, level_dbfs=-50.0, codec_number=1),
        LinkPacket(tick=low, codec_number=1, codec_version=2, quantizers=8, weights=3),
        SidePacket(tick=low, kind=3, body=b"hello"),
        SidePacket(tick=low, kind=3, body=b"hello"),
        ByePacket(tick=low),
        ByePacket(tick=low),
    ]


def sealer(suite: Suite, *, key: PresharedKey = KEY) -> PacketSealer:
    security = SenderSecurity(key=key, suite=suite, station=1, clock=1.8e9, ledger=Ledger())
    return PacketSealer(security, announce_seconds=5.0)


def opener(suite: Suite) -> PacketOpener:
    return PacketOpener(ReceiverSecurity(key=KEY, suite=suite, ledger=Ledger()))


def announce(outgoing: PacketSealer, incoming: PacketOpener, tick: int = 0) -> bytes:
    data = outgoing.announcement(tick)
    assert data is not None
    assert incoming.open(data, tick * FRAME_SECONDS) is None
    return data


def refused(incoming: PacketOpener, data: bytes, now: float) -> str:
    with pytest.raises(PacketError) as raised:
        incoming.open(data, now)
    return str(raised.value)


@pytest.mark.parametrize("suite", [ENCRYPTED, SIGNED])
@pytest.mark.parametrize("tick", [0, 300, 511, 100_000])
def test_every_kind_of_packet_passes_once(suite: Suite, tick: int) -> None:
    outgoing, incoming = sealer(suite), opener(suite)
    announce(outgoing, incoming, tick)
    now = tick * FRAME_SECONDS
    for packet in packets(tick):
        if isinstance(packet, VoicePacket) and packet.repair and tick < 100:
            continue
        sealed = outgoing.seal(serialise(packet), now_tick=tick)
        plain = incoming.open(sealed, now)
        assert plain is not None
        assert parse(plain) == packet
        assert "heard before" in refused(incoming, sealed, now)


@pytest.mark.parametrize("suite", [ENCRYPTED, SIGNED])
def test_lengths_are_those_of_the_budget(suite: Suite) -> None:
    outgoing = sealer(suite)
    announcement = outgoing.announcement(0)
    assert announcement is not None
    assert len(announcement) == announcement_length(suite)
    for packet in packets(0)[:2]:
        plain = serialise(packet)
        assert len(outgoing.seal(plain, now_tick=0)) == sealed_length(len(plain), suite)
        assert sealed_length(len(plain), None) == len(plain)


def test_announcements_come_at_their_pace() -> None:
    outgoing = sealer(ENCRYPTED)
    due = [tick for tick in range(200) if outgoing.announcement(tick) is not None]
    assert due == [0, 62, 124, 186]


@pytest.mark.parametrize("suite", [ENCRYPTED, SIGNED])
def test_no_changed_byte_passes(suite: Suite) -> None:
    outgoing, incoming = sealer(suite), opener(suite)
    announce(outgoing, incoming)
    for packet in packets(0)[:2] + packets(0)[3:]:
        sealed = outgoing.seal(serialise(packet), now_tick=0)
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 0x24
            refused(incoming, bytes(changed), 0.0)
        for length in range(len(sealed)):
            refused(incoming, sealed[:length], 0.0)


@pytest.mark.parametrize("suite", [ENCRYPTED, SIGNED])
def test_clear_packets_are_dropped_and_told(suite: Suite) -> None:
    incoming = opener(suite)
    for packet in packets(300):
        refused(incoming, serialise(packet), 24.0)
    assert "does not use security" in incoming.problem


def test_a_receiver_without_security_is_told_of_encryption() -> None:
    outgoing, incoming = sealer(ENCRYPTED), PacketOpener(None)
    assert incoming.problem == ""
    announce(outgoing, incoming)
    assert "encrypts its speech" in incoming.problem


def test_anybody_may_listen_to_signed_speech() -> None:
    outgoing, incoming = sealer(SIGNED), PacketOpener(None)
    announce(outgoing, incoming)
    for packet in packets(0)[:2] + packets(0)[3:]:
        plain = incoming.open(outgoing.seal(serialise(packet), now_tick=0), 1.0)
        assert plain is not None
        assert parse(plain) == packet
    assert incoming.problem == ""
    # Half a minute without an announcement: whoever speaks now need not sign.
    assert incoming.open(serialise(packets(0)[0]), 31.0) == serialise(packets(0)[0])


def test_without_security_packets_pass_as_they_are() -> None:
    for packet in packets(300):
        assert PacketOpener(None).open(serialise(packet), 0.0) == serialise(packet)


def test_a_packet_that_security_makes_too_long_is_refused() -> None:
    longest = VoicePacket(tick=0, frames=tuple(Frame(tuple(range(8))) for _ in range(22)))
    plain = serialise(longest)
    assert len(sealer(ENCRYPTED).seal(plain, now_tick=0)) == 248
    with pytest.raises(ValueError, match="frames_per_packet"):
        sealer(Suite(mode=SecurityMode.AUTHENTICATED, tag_bytes=16)).seal(plain, now_tick=0)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=260), st.floats(0, 1e6))
def test_no_bytes_raise_anything_else_or_pass(data: bytes, now: float) -> None:
    for suite in (ENCRYPTED, SIGNED):
        refused(opener(suite), data, now)
    with contextlib.suppress(PacketError):
        PacketOpener(None).open(data, now)
