"""Slot mode with security, from frames to events, with an enemy on the line."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.config import LinkConfig, SecurityConfig, StationConfig, WireConfig
from transport.keys import PresharedKey
from transport.packet import ByePacket, SilencePacket, VoicePacket
from transport.replay import Ledger
from transport.security import ReceiverSecurity, SecurityMode, SenderSecurity, Suite
from transport.wire import (
    CodecLabel,
    TextMessage,
    Transmitter,
    WireEvent,
    WireReceiver,
    WireSetup,
    open_transmitter,
    open_wire_receiver,
)

KEY = PresharedKey(bytes(range(32)))
OTHER_KEY = PresharedKey(bytes(32))
MODES = ["authenticated", "encrypted"]
CLOCK = 1_800_000_000.0
QUANTIZERS = 7
LEAD = 20
"""Ticks of silence before the first spurt: room for an announcement."""


def frame(tick: int) -> Frame:
    return Frame(tuple((37 * tick + 211 * book) % 2048 for book in range(QUANTIZERS)))


def setup(mode: str, *, interleaver_slots: int = 1, quantizers: int = QUANTIZERS) -> WireSetup:
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
        wire=WireConfig(frames_per_packet=1, mode="slots", interleaver_slots=interleaver_slots),
        label=CodecLabel(name="compact", version=1, quantizers=quantizers),
        station=StationConfig(call_sign="N0CALL"),
        security=SecurityConfig(mode=mode),
    )


def transmitter(
    base: WireSetup,
    *,
    key: PresharedKey = KEY,
    ledger: Ledger | None = None,
    rekey_seconds: float = 3600.0,
) -> Transmitter:
    if base.security.mode == "off":
        return open_transmitter(base)
    outgoing = SenderSecurity(
        key=key,
        suite=Suite(mode=SecurityMode(base.security.mode)),
        station=1,
        clock=CLOCK,
        ledger=ledger if ledger is not None else Ledger(),
        rekey_seconds=rekey_seconds,
        random_bits=lambda bits: 5 % (1 << bits),
    )
    return open_transmitter(replace(base, outgoing=outgoing))


def receiver(base: WireSetup, *, ledger: Ledger | None = None) -> WireReceiver:
    if base.security.mode == "off":
        return open_wire_receiver(base, datagram=False)
    incoming = ReceiverSecurity(
        key=KEY,
        suite=Suite(mode=SecurityMode(base.security.mode)),
        ledger=ledger if ledger is not None else Ledger(),
    )
    return open_wire_receiver(replace(base, incoming=incoming), datagram=False)


@dataclass(frozen=True)
class Sent:
    time: float
    data: bytes
    ticks: range


def talk(sender: Transmitter, *, speech: int = 150, turns: int = 1, lead: int = LEAD) -> list[Sent]:
    """Some silence and a spurt, `turns` times, and a little silence at the end."""
    sent = []
    length = lead + speech
    for tick in range(turns * length + LEAD):
        now = tick * FRAME_SECONDS
        turn, place = divmod(tick, length)
        if turn < turns and place >= lead:
            start, end = place == lead, place == length - 1
            sender.voice(frame(tick), tick=tick, start=start, end=end, now=now)
        else:
            sender.silence(Silence(-60.0), tick=tick, now=now)
        while (due := sender.next_time()) is not None and due <= now + FRAME_SECONDS / 2:
            at = max(now, due)
            sent += [Sent(at, one.data, one.ticks) for one in sender.poll(at)]
    return sent


def listen(incoming: WireReceiver, sent: list[Sent], *, later: float = 0.0) -> list[WireEvent]:
    events: list[WireEvent] = []
    for one in sent:
        # What the receiver gets is complete when the slot has passed the line.
        events += incoming.receive(one.data, one.time + later + 0.08)
    return events


def voice(events: list[WireEvent]) -> dict[int, Frame]:
    return {event.tick: event.frames[0] for event in events if isinstance(event, VoicePacket)}


def expected(first: int, stop: int) -> dict[int, Frame]:
    return {tick % 512: frame(tick) for tick in range(first, stop)}


@pytest.mark.parametrize("interleaver_slots", [1, 4])
@pytest.mark.parametrize("mode", [*MODES, "off"])
def test_speech_arrives(mode: str, interleaver_slots: int) -> None:
    base = setup(mode, interleaver_slots=interleaver_slots)
    incoming = receiver(base)
    got = voice(listen(incoming, talk(transmitter(base), turns=3)))
    wanted: dict[int, Frame] = {}
    for turn in range(3):
        first = turn * (LEAD + 150) + LEAD
        wanted |= expected(first, first + 150)
    assert got == wanted
    assert incoming.problem == incoming.stranger == ""


@pytest.mark.parametrize("mode", MODES)
def test_texts_and_more_arrive(mode: str) -> None:
    base = setup(mode)
    incoming, sender = receiver(base), transmitter(base)
    sender.send_text("a secret text", 0.0)
    events = listen(incoming, talk(sender, lead=60))
    assert TextMessage(text="a secret text") in events
    traffic = b"".join(one.data for one in talk(transmitter(base)))
    assert b"secret" not in traffic


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("theirs", ["off", *MODES])
def test_strangers_are_not_heard(theirs: str, mode: str) -> None:
    """Another key, another mode, or none at all."""
    enemy = transmitter(setup(theirs), key=OTHER_KEY if theirs == mode else KEY)
    incoming = receiver(setup(mode))
    assert listen(incoming, talk(enemy, turns=3)) == []
    assert incoming.stranger != ""


@pytest.mark.parametrize("mode", MODES)
def test_a_receiver_without_security_is_told(mode: str) -> None:
    incoming = receiver(setup("off"))
    listen(incoming, talk(transmitter(setup(mode))))
    assert "uses security" in incoming.stranger


@pytest.mark.parametrize("later", [0.0, 15.0, 60.0])
@pytest.mark.parametrize("mode", MODES)
def test_a_replayed_call_is_not_heard(mode: str, later: float) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base))
    assert voice(listen(incoming, traffic))
    again = listen(incoming, traffic, later=traffic[-1].time + later)
    assert not any(isinstance(one, VoicePacket | SilencePacket | ByePacket) for one in again)
    fresh = open_wire_receiver(replace(base, incoming=incoming._opener._security), datagram=False)  # type: ignore[attr-defined]
    assert listen(fresh, traffic) == []


@pytest.mark.parametrize("mode", MODES)
def test_damaged_bits_cost_no_more_than_their_slots(mode: str) -> None:
    base = setup(mode)
    rng = random.Random(3)
    incoming = receiver(base)
    damaged = []
    for one in talk(transmitter(base), speech=400):
        data = bytearray(one.data)
        for place in range(8 * len(data)):
            if rng.random() < 1e-3:
                data[place // 8] ^= 128 >> place % 8
        damaged.append(Sent(one.time, bytes(data), one.ticks))
    got = voice(listen(incoming, damaged))
    wanted = expected(LEAD, LEAD + 400)
    assert all(one.coarse(2) == wanted[tick].coarse(2) for tick, one in got.items())
    assert len(got) > 0.94 * len(wanted)


@pytest.mark.parametrize("mode", MODES)
def test_a_late_listener_joins_at_the_next_pause(mode: str) -> None:
    base = setup(mode)
    traffic = talk(transmitter(base), turns=2)
    incoming = receiver(base)
    got = voice(listen(incoming, [one for one in traffic if one.time > 5.0]))
    second = LEAD + 150 + LEAD
    # Its count of slots is right modulo 128 only.
    assert list(got.values()) == [frame(tick) for tick in range(second, second + 150)]


@pytest.mark.parametrize("mode", MODES)
def test_a_late_listener_joins_in_a_long_speech(mode: str) -> None:
    """Once in half a minute the announcement takes the place of four frames or so."""
    base = setup(mode)
    traffic = talk(transmitter(base), speech=900)
    incoming = receiver(base)
    got = voice(listen(incoming, [one for one in traffic if one.time > 10.0]))
    joined = min(got, key=lambda tick: (tick - 125) % 512)
    assert (joined - 125) % 512 * FRAME_SECONDS < 36.0
    assert len(got) > 250


@pytest.mark.parametrize("mode", MODES)
def test_speech_goes_on_after_an_outage(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base), speech=450)
    got = voice(listen(incoming, [one for one in traffic if not 15.0 < one.time < 25.0]))
    back = round(25.0 / FRAME_SECONDS)
    first = min(tick for tick in got if tick > back - 10)
    assert (first - back) * FRAME_SECONDS < 2.5
    assert all(got[tick] == frame(tick) for tick in got)


@pytest.mark.parametrize("mode", MODES)
def test_keys_change_during_a_call(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    got = voice(listen(incoming, talk(transmitter(base, rekey_seconds=30.0), speech=80, turns=5)))
    wanted: dict[int, Frame] = {}
    for turn in range(5):
        first = turn * (LEAD + 80) + LEAD
        wanted |= expected(first, first + 80)
    assert got == wanted
    assert incoming._opener._security.sessions[0].number >> 16 > CLOCK  # type: ignore[attr-defined]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError):
        transmitter(setup("encrypted", quantizers=8))
