"""Packet mode with security, from frames to events, with an enemy on the line."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import pytest
import securecall
from securecall import CLOCK, KEY, MODES, OTHER_KEY, Sent, receiver, suite_of, transmitter, voice

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.budget import BudgetRow, check_config
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.linerate import Framing, wire_bits
from transport.packet import check_bytes, voice_packet_length
from transport.replay import Ledger
from transport.sealing import announcement_length, sealed_length
from transport.wire import (
    CodecLabel,
    LinkState,
    Transmitter,
    WireEvent,
    WireReceiver,
    WireSetup,
    open_transmitter,
    open_wire_receiver,
)

QUANTIZERS = 6
PER_PACKET = 5


def frame(tick: int, books: int = QUANTIZERS) -> Frame:
    return securecall.frame(tick, books)


def setup(mode: str, *, framing: str = "udp", tag_bytes: int = 4) -> WireSetup:
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=2400, framing=framing),
        wire=WireConfig(frames_per_packet=PER_PACKET),
        label=CodecLabel(name="compact", version=1, quantizers=QUANTIZERS),
        security=SecurityConfig(mode=mode, tag_bytes=tag_bytes),
    )


def talk(
    sender: Transmitter,
    *,
    start: int = 0,
    speech: int = 200,
    silence: int = 30,
    books: int = QUANTIZERS,
) -> list[Sent]:
    """A spurt and a silence."""
    sent = []
    last = start + speech - 1
    for tick in range(start, start + speech + silence):
        now = tick * FRAME_SECONDS
        if tick < start + speech:
            one = frame(tick, books)
            sender.voice(one, tick=tick, start=tick == start, end=tick == last, now=now)
        else:
            sender.silence(Silence(-60.0), tick=tick, now=now)
        while (due := sender.next_time()) is not None and due <= now + FRAME_SECONDS:
            at = max(now, due)
            sent += [Sent(at, part.data, part.ticks) for part in sender.poll(at)]
    return sent


def heard(incoming: WireReceiver, sent: list[Sent], *, later: float = 0.0) -> dict[int, Frame]:
    events: list[WireEvent] = []
    for one in sent:
        events += incoming.receive(one.data, one.time + later)
    return voice(events)


@pytest.mark.parametrize("framing", ["udp", "sync", "8n1"])
@pytest.mark.parametrize("mode", [*MODES, "off"])
def test_speech_arrives(mode: str, framing: str) -> None:
    base = setup(mode, framing=framing)
    incoming = receiver(base)
    got = heard(incoming, talk(transmitter(base)))
    assert got == {tick: frame(tick) for tick in range(200)}
    assert incoming.stranger == incoming.problem == ""
    assert incoming.statistics.packets_damaged == 0
    assert incoming.state is LinkState.LOCKED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("theirs", ["off", *MODES])
def test_strangers_are_not_heard(theirs: str, mode: str) -> None:
    """Another key, another mode, or none at all."""
    enemy = transmitter(setup(theirs), key=OTHER_KEY if theirs == mode else KEY)
    incoming = receiver(setup(mode))
    traffic = talk(enemy)
    events = [event for one in traffic for event in incoming.receive(one.data, one.time)]
    assert events == []
    assert incoming.statistics.packets_damaged == len(traffic)
    assert incoming.last_packet_at is None
    assert incoming.stranger != ""


@pytest.mark.parametrize("mode", MODES)
def test_strangers_do_not_disturb_a_call(mode: str) -> None:
    base = setup(mode)
    enemies = [
        talk(transmitter(setup("off"))),
        talk(transmitter(base, key=OTHER_KEY)),
        talk(transmitter(setup(mode, tag_bytes=8))),
    ]
    mixed = sorted((one for enemy in enemies for one in enemy), key=lambda one: one.time)
    incoming = receiver(base)
    real = talk(transmitter(base))
    both = sorted([*real, *mixed], key=lambda one: one.time)
    assert heard(incoming, both) == {tick: frame(tick) for tick in range(200)}
    assert incoming.statistics.packets_damaged == len(mixed)


@pytest.mark.parametrize("later", [0.0, 1.0, 20.0, 512 * FRAME_SECONDS, 3000.0])
@pytest.mark.parametrize("mode", MODES)
def test_a_replayed_call_is_not_heard(mode: str, later: float) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base))
    assert heard(incoming, traffic)
    events = [event for one in traffic for event in incoming.receive(one.data, one.time + later)]
    assert events == []


@pytest.mark.parametrize("mode", MODES)
def test_a_call_may_be_reordered_and_doubled(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base))
    shuffled = traffic[1:] * 2
    random.Random(1).shuffle(shuffled)
    late = [Sent(16.0, one.data, one.ticks) for one in [traffic[0], *shuffled]]
    assert heard(incoming, late) == {tick: frame(tick) for tick in range(200)}


@pytest.mark.parametrize("framing", ["udp", "sync"])
@pytest.mark.parametrize("mode", MODES)
def test_damaged_traffic_gives_no_wrong_frame(mode: str, framing: str) -> None:
    base = setup(mode, framing=framing)
    rng = random.Random(2)
    incoming = receiver(base)
    traffic = talk(transmitter(base))
    incoming.receive(traffic[0].data, 0.0)
    wrong = []
    for one in traffic[1:]:
        for _ in range(20):
            data = bytearray(one.data)
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            else:
                for _ in range(rng.randint(1, 8)):
                    place = rng.randrange(8 * len(data))
                    data[place // 8] ^= 128 >> place % 8
            if data != one.data:
                wrong.append(Sent(one.time, bytes(data), one.ticks))
    for tick, got in heard(incoming, wrong).items():
        assert got == frame(tick)  # only what was whole after all, in a byte pipe
    assert framing == "sync" or heard(incoming, wrong) == {}


@pytest.mark.parametrize("mode", MODES)
def test_another_version_is_said_in_words(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = setup(mode)
    with monkeypatch.context() as patch:
        patch.setattr("transport.security.SECURITY_VERSION", 2)
        theirs = talk(transmitter(base))
    incoming = receiver(base)
    assert heard(incoming, theirs) == {}
    assert "security version 2" in incoming.stranger
    with monkeypatch.context() as patch:
        patch.setattr("transport.packet_stream.FORMAT_VERSION", 3)
        patch.setattr("transport.packet.check_bytes", partial(check_bytes, version=b"\3"))
        patch.setattr("transport.sealing.check_bytes", partial(check_bytes, version=b"\3"))
        theirs = talk(transmitter(base))
    for incoming in (receiver(base), receiver(setup("off"))):
        assert heard(incoming, theirs) == {}
        assert "wire format 3" in incoming.stranger


@pytest.mark.parametrize("mode", MODES)
def test_a_restarted_sender_is_heard_at_once(mode: str) -> None:
    base = setup(mode)
    ledger = Ledger()
    incoming = receiver(base)
    first = talk(transmitter(base, ledger=ledger))
    assert heard(incoming, first)
    second = talk(transmitter(base, ledger=ledger, clock=CLOCK + 20.0))
    assert heard(incoming, second, later=20.0) == {tick: frame(tick) for tick in range(200)}
    assert heard(incoming, first, later=40.0) == {}
    assert "played again" in incoming.stranger


@pytest.mark.parametrize("mode", MODES)
def test_a_restarted_receiver_joins_and_hears_nothing_twice(mode: str) -> None:
    base = setup(mode)
    kept: list[Ledger] = []
    ledger = Ledger(save=lambda stations: kept.append(Ledger(stations)))
    traffic = talk(transmitter(base), speech=400)
    before = [one for one in traffic if one.time < 10.0]
    after = [one for one in traffic if one.time >= 10.0]
    assert heard(receiver(base, ledger=ledger), before)
    restarted = receiver(base, ledger=kept[-1])
    assert heard(restarted, before) == {}
    joined = min(heard(restarted, after))
    # An announcement comes every 5 s, and what the record had reserved is 4 s.
    assert 125 <= joined <= 125 + round(5.5 / FRAME_SECONDS)


@pytest.mark.parametrize("mode", MODES)
def test_keys_change_during_a_call(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    sender = transmitter(base, rekey_seconds=60.0)
    sessions = set()
    for turn in range(8):
        traffic = talk(sender, start=230 * turn)
        got = heard(incoming, traffic)
        assert got == {tick % 512: frame(tick) for tick in range(230 * turn, 230 * turn + 200)}
        sessions.add(incoming._opener._security.sessions[0].number)  # type: ignore[attr-defined]
    assert len(sessions) == 3


def test_the_line_can_be_listened_to_without_a_key_if_signed() -> None:
    incoming = receiver(setup("off"))
    assert heard(incoming, talk(transmitter(setup("authenticated")))) == {
        tick: frame(tick) for tick in range(200)
    }
    incoming = receiver(setup("off"))
    assert heard(incoming, talk(transmitter(setup("encrypted")))) == {}
    assert "encrypts its speech" in incoming.stranger


@pytest.mark.parametrize("tag_bytes", [4, 8, 16])
@pytest.mark.parametrize("mode", MODES)
def test_the_cost_of_tags_is_the_one_computed(mode: str, tag_bytes: int) -> None:
    base = setup(mode, framing="sync", tag_bytes=tag_bytes)
    suite = suite_of(base.security)
    plain = voice_packet_length(PER_PACKET, QUANTIZERS)
    traffic = talk(transmitter(base))
    sizes = {len(one.data) for one in traffic if one.ticks}
    assert sizes == {wire_bits(sealed_length(plain, suite), Framing.SYNC) // 8}
    announcements = wire_bits(announcement_length(suite), Framing.SYNC) // 8
    times = [one.time for one in traffic if len(one.data) == announcements]
    assert len(times) == 4
    assert times[1] - times[0] == pytest.approx(5.0, abs=0.3)


def settings(quantizers: int, frames: int, seconds: float, mode: str = "encrypted") -> BudgetRow:
    row = check_config(
        LinkConfig(kind="loopback", rate=1200, framing="sync"),
        WireConfig(frames_per_packet=frames),
        quantizers=quantizers,
        security=SecurityConfig(mode=mode, announce_seconds=seconds),
    )
    assert isinstance(row, BudgetRow)
    return row


def test_the_budget_counts_tags_and_announcements() -> None:
    plain, sealed = settings(8, 10, 10.0, "off"), settings(8, 10, 10.0)
    assert sealed.packet_bytes == plain.packet_bytes + 2
    assert sealed.wire_bps - plain.wire_bps == pytest.approx(20.0)
    assert sealed.send_ms == pytest.approx(1000 * 8 * (sealed.packet_bytes + 2) / 1200)
    assert settings(8, 10, 10.0, "off").send_ms < sealed.send_ms
    for impossible in ((8, 8, 10.0), (8, 10, 5.0), (8, 9, 60.0, "authenticated")):
        with pytest.raises(ConfigError, match=r"of 1200 bit/s are for security's announcements"):
            settings(*impossible)


def test_a_full_line_carries_tags_and_announcements() -> None:
    """What the budget lets through loses nothing on its line."""
    base = replace(
        setup("encrypted", framing="sync"),
        link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
        wire=WireConfig(frames_per_packet=7),
        label=CodecLabel(name="compact", version=1, quantizers=7),
    )
    settings(7, 7, 5.0)
    sender = transmitter(base)
    traffic = talk(sender, speech=1500, books=7)
    assert sender.statistics.frames_dropped == 0
    assert sum(len(one.ticks) for one in traffic) == 1500
    assert sender.line.peak_bps <= 1200


def test_a_mode_without_a_key_is_never_clear() -> None:
    for mode in MODES:
        with pytest.raises(ConfigError, match="and a key"):
            open_transmitter(setup(mode))
        with pytest.raises(ConfigError, match="and a key"):
            open_wire_receiver(setup(mode), datagram=True)
