"""A secured call from frames to bytes, for the tests of packets and of slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from linkcodec.frame import Frame
from transport.config import SecurityConfig
from transport.keys import PresharedKey
from transport.linerate import Framing
from transport.packet import TICKS, VoicePacket
from transport.replay import Ledger
from transport.security import ReceiverSecurity, SecurityMode, SenderSecurity, Suite
from transport.wire import (
    Transmitter,
    WireEvent,
    WireReceiver,
    WireSetup,
    open_transmitter,
    open_wire_receiver,
)

KEY: Final = PresharedKey(bytes(range(32)))
OTHER_KEY: Final = PresharedKey(bytes(32))
MODES: Final = ["authenticated", "encrypted"]
CLOCK: Final = 1_800_000_000.0


@dataclass(frozen=True)
class Sent:
    """Bytes on the link and when they left; the ticks of the frames in them."""

    time: float
    data: bytes
    ticks: range


def frame(tick: int, books: int) -> Frame:
    """The frame of a tick."""
    return Frame(tuple((37 * tick + 211 * book) % 2048 for book in range(books)))


def suite_of(config: SecurityConfig) -> Suite:
    """The suite that a configuration asks for."""
    return Suite(mode=SecurityMode(config.mode), tag_bytes=config.tag_bytes)


def transmitter(
    base: WireSetup,
    *,
    key: PresharedKey = KEY,
    ledger: Ledger | None = None,
    clock: float = CLOCK,
    rekey_seconds: float = 3600.0,
) -> Transmitter:
    """The sending end of a setup."""
    if base.security.mode == "off":
        return open_transmitter(base)
    outgoing = SenderSecurity(
        key=key,
        suite=suite_of(base.security),
        station=1,
        clock=clock,
        ledger=ledger if ledger is not None else Ledger(),
        rekey_seconds=rekey_seconds,
        random_bits=lambda bits: 5 % (1 << bits),
    )
    return open_transmitter(replace(base, outgoing=outgoing))


def receiver(base: WireSetup, *, ledger: Ledger | None = None) -> WireReceiver:
    """The receiving end of a setup."""
    datagram = not Framing(base.link.framing).stream
    if base.security.mode == "off":
        return open_wire_receiver(base, datagram=datagram)
    incoming = ReceiverSecurity(
        key=KEY,
        suite=suite_of(base.security),
        ledger=ledger if ledger is not None else Ledger(),
    )
    return open_wire_receiver(replace(base, incoming=incoming), datagram=datagram)


def voice(events: list[WireEvent]) -> dict[int, Frame]:
    """The frames in events, by their tick on the wire."""
    return {
        (event.tick + place) % TICKS: one
        for event in events
        if isinstance(event, VoicePacket)
        for place, one in enumerate(event.frames)
    }
