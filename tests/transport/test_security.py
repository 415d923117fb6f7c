from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS
from transport.keys import PresharedKey
from transport.replay import Heard, Ledger
from transport.security import (
    ANNOUNCEMENT_BYTES,
    TAG_LENGTHS,
    Announcement,
    ReceiverSecurity,
    SecurityMode,
    SenderSecurity,
    Session,
    Suite,
)

KEY = PresharedKey(bytes(range(32)))
OTHER_KEY = PresharedKey(bytes(range(1, 33)))
CLOCK = 1_800_000_000.0
ENCRYPTED = Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=4)
AUTHENTICATED = Suite(mode=SecurityMode.AUTHENTICATED, tag_bytes=8)
HEADER = b"\x0e\x01"
BODY = bytes(range(88))

suites = st.builds(
    Suite,
    mode=st.sampled_from([SecurityMode.AUTHENTICATED, SecurityMode.ENCRYPTED]),
    tag_bytes=st.sampled_from(TAG_LENGTHS),
)


def sender(
    suite: Suite = ENCRYPTED,
    *,
    key: PresharedKey = KEY,
    station: int = 1,
    clock: float = CLOCK,
    ledger: Ledger | None = None,
    rekey_seconds: float = 3600.0,
) -> SenderSecurity:
    return SenderSecurity(
        key=key,
        suite=suite,
        station=station,
        clock=clock,
        ledger=ledger if ledger is not None else Ledger(),
        rekey_seconds=rekey_seconds,
        random_bits=lambda bits: (1 << bits) - 2,
    )


def receiver(
    suite: Suite = ENCRYPTED,
    *,
    key: PresharedKey = KEY,
    ledger: Ledger | None = None,
    own_station: int | None = None,
) -> ReceiverSecurity:
    return ReceiverSecurity(
        key=key,
        suite=suite,
        ledger=ledger if ledger is not None else Ledger(),
        own_station=own_station,
    )


def opened(end: ReceiverSecurity, sealed: bytes, tick: int, *, lane: int = 0, at: int = -1) -> bool:
    """Whether `sealed` passes; it arrives at tick `at`, or at its own."""
    now = (tick if at < 0 else at) * FRAME_SECONDS
    got = end.open(HEADER, sealed, low=tick % 512, modulus=512, lane=lane, now=now)
    assert got is None or (got.body == BODY and got.tick == tick)
    return got is not None


def call(suite: Suite = ENCRYPTED) -> tuple[SenderSecurity, ReceiverSecurity]:
    """A sender, and a receiver that has heard its announcement."""
    outgoing, incoming = sender(suite), receiver(suite)
    assert incoming.announce(outgoing.announcement(0), 0.0) is not None
    return outgoing, incoming


def seal(outgoing: SenderSecurity, tick: int, *, lane: int = 0, at: int | None = None) -> bytes:
    return outgoing.seal(HEADER, BODY, tick=tick, lane=lane, at=tick if at is None else at)


# suites, announcements


@pytest.mark.parametrize("tag_bytes", TAG_LENGTHS)
@pytest.mark.parametrize("mode", [SecurityMode.AUTHENTICATED, SecurityMode.ENCRYPTED])
def test_a_suite_survives_its_number(mode: SecurityMode, tag_bytes: int) -> None:
    suite = Suite(mode=mode, tag_bytes=tag_bytes)
    assert 0 < suite.number < 16
    assert Suite.of(suite.number) == suite


@pytest.mark.parametrize("number", [0, 8, 16, -1])
def test_other_numbers_are_no_suite(number: int) -> None:
    with pytest.raises(PacketError):
        Suite.of(number)


def test_impossible_suites_are_refused() -> None:
    with pytest.raises(ValueError, match="no suite"):
        Suite(mode=SecurityMode.OFF)
    with pytest.raises(ValueError, match="not 5"):
        Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=5)


@settings(deadline=None)
@given(suites, st.integers(0, 255), st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1))
def test_an_announcement_survives_its_bytes(
    suite: Suite, station: int, number: int, tick: int
) -> None:
    session = Session(key=KEY, suite=suite, station=station, number=number)
    data = session.announcement(tick)
    assert len(data) == ANNOUNCEMENT_BYTES + suite.tag_bytes
    expected = Announcement(suite=suite, station=station, session=number, tick=tick)
    assert Announcement.parse(data) == expected


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_an_announcement_or_a_packet_error(data: bytes) -> None:
    try:
        announcement = Announcement.parse(data)
    except PacketError:
        pass
    else:
        assert announcement.pack() == data[:ANNOUNCEMENT_BYTES]
    assert receiver().announce(data, 0.0) is None


# packets


@settings(deadline=None)
@given(suites, st.binary(max_size=240), st.integers(0, 2**33), st.integers(0, 255))
def test_what_is_sealed_can_be_opened(suite: Suite, body: bytes, tick: int, lane: int) -> None:
    session = Session(key=KEY, suite=suite, station=3, number=77)
    sealed = session.seal(HEADER, body, tick=tick, lane=lane)
    assert len(sealed) == len(body) + suite.tag_bytes
    assert session.open(HEADER, sealed, tick=tick, lane=lane) == body
    assert session.open(HEADER, sealed, tick=tick + 1, lane=lane) is None
    assert session.open(HEADER, sealed, tick=tick, lane=lane ^ 1) is None
    assert session.open(b"\x0e\x02", sealed, tick=tick, lane=lane) is None
    assert suite.encrypts or sealed[: len(body)] == body


def test_encryption_hides_the_body() -> None:
    session = Session(key=KEY, suite=ENCRYPTED, station=3, number=77)
    first = session.seal(HEADER, BODY, tick=5, lane=0)
    second = session.seal(HEADER, BODY, tick=6, lane=0)
    assert BODY[:8] not in first
    assert first[:16] != second[:16]


@pytest.mark.parametrize("suite", [ENCRYPTED, AUTHENTICATED])
def test_no_inverted_bit_passes(suite: Suite) -> None:
    outgoing, incoming = call(suite)
    sealed = seal(outgoing, 5)
    for place in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[place // 8] ^= 128 >> place % 8
        assert not opened(incoming, bytes(damaged), 5)
    assert incoming.statistics.refused == 8 * len(sealed)
    assert opened(incoming, sealed, 5)


@pytest.mark.parametrize("suite", [ENCRYPTED, AUTHENTICATED])
def test_no_truncated_or_longer_packet_passes(suite: Suite) -> None:
    outgoing, incoming = call(suite)
    sealed = seal(outgoing, 5)
    for length in range(len(sealed)):
        assert not opened(incoming, sealed[:length], 5)
    assert not opened(incoming, sealed + b"\0", 5)
    assert incoming.statistics.opened == 0


def test_a_replayed_packet_does_not_pass() -> None:
    outgoing, incoming = call()
    sealed = [seal(outgoing, tick) for tick in range(10)]
    assert all(opened(incoming, one, tick) for tick, one in enumerate(sealed))
    assert not any(opened(incoming, one, tick, at=12) for tick, one in enumerate(sealed))
    assert incoming.statistics.replayed == 10
    # One turn of the 9 bits later the same bytes stand for another tick.
    assert not opened(incoming, sealed[9], 9, at=9 + 512)
    assert incoming.statistics.opened == 10


def test_reordered_packets_pass() -> None:
    outgoing, incoming = call()
    sealed = {tick: seal(outgoing, tick) for tick in range(100)}
    order = sorted(sealed, key=lambda tick: (tick * 37) % 101)
    assert all(opened(incoming, sealed[tick], tick, at=100) for tick in order)


def test_lanes_of_a_tick_are_apart() -> None:
    outgoing, incoming = call()
    assert opened(incoming, seal(outgoing, 5, lane=0), 5, lane=0)
    assert opened(incoming, seal(outgoing, 5, lane=9), 5, lane=9)


def test_a_nonce_is_never_used_twice() -> None:
    outgoing = sender()
    seal(outgoing, 5)
    seal(outgoing, 5, lane=1)
    with pytest.raises(ValueError, match="twice"):
        seal(outgoing, 5)
    seal(outgoing, 4)
    with pytest.raises(ValueError, match="twice"):
        seal(outgoing, 4)
    seal(outgoing, 1000)
    with pytest.raises(ValueError, match="twice"):
        seal(outgoing, 6)


@pytest.mark.parametrize("seconds", [0.5, 10, 70, 1000, 100_000])
def test_packets_pass_after_an_outage_of_any_length(seconds: float) -> None:
    outgoing = sender(rekey_seconds=1e6)
    incoming = receiver()
    incoming.announce(outgoing.announcement(0), 0.0)
    assert opened(incoming, seal(outgoing, 0), 0)
    tick = round(seconds / FRAME_SECONDS)
    assert opened(incoming, seal(outgoing, tick), tick)


def test_clocks_that_drift_find_each_other() -> None:
    outgoing, incoming = sender(rekey_seconds=1e6), receiver()
    incoming.announce(outgoing.announcement(0), 0.0)
    assert opened(incoming, seal(outgoing, 0), 0)
    # 400 ppm over an outage of 14 hours: half a turn of the 9-bit tick.
    tick = 640_000
    assert opened(incoming, seal(outgoing, tick), tick, at=tick + 257)


# strangers


@pytest.mark.parametrize("suite", [ENCRYPTED, AUTHENTICATED])
def test_another_key_is_refused(suite: Suite) -> None:
    stranger, incoming = sender(suite, key=OTHER_KEY), receiver(suite)
    assert incoming.announce(stranger.announcement(0), 0.0) is None
    assert not opened(incoming, seal(stranger, 0), 0)
    assert "another key" in incoming.problem
    assert incoming.statistics.announcements_refused == 1
    assert incoming.statistics.refused == 1


def test_without_an_announcement_nothing_passes() -> None:
    assert not opened(receiver(), seal(sender(), 0), 0)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (AUTHENTICATED, Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=8)),
        (Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=8), AUTHENTICATED),
        (ENCRYPTED, Suite(mode=SecurityMode.ENCRYPTED, tag_bytes=16)),
    ],
)
def test_a_peer_cannot_lower_the_security(theirs: Suite, ours: Suite) -> None:
    outgoing, incoming = sender(theirs), receiver(ours)
    announcement = bytearray(outgoing.announcement(0))
    assert incoming.announce(bytes(announcement), 0.0) is None
    assert str(theirs) in incoming.problem
    assert str(ours) in incoming.problem
    # Nor does it help to claim the receiver's suite: it is part of the keys.
    announcement[0] = announcement[0] & 0xF0 | ours.number
    claimed = bytes(announcement[:ANNOUNCEMENT_BYTES]).ljust(
        ANNOUNCEMENT_BYTES + ours.tag_bytes, b"\0"
    )
    assert incoming.announce(claimed, 0.0) is None
    assert not opened(incoming, seal(outgoing, 0), 0)


def test_traffic_without_security_is_said_in_words() -> None:
    incoming = receiver()
    incoming.unprotected()
    assert incoming.statistics.unprotected == 1
    assert "does not use security" in incoming.problem


@pytest.mark.parametrize("place", range(8 * (ANNOUNCEMENT_BYTES + 4)))
def test_no_changed_announcement_is_trusted(place: int) -> None:
    data = bytearray(sender().announcement(1234))
    data[place // 8] ^= 128 >> place % 8
    incoming = receiver()
    assert incoming.announce(bytes(data), 0.0) is None
    assert incoming.sessions == []


def test_nobody_can_send_our_own_speech_back() -> None:
    own = sender(station=2)
    incoming = receiver(own_station=2)
    assert incoming.announce(own.announcement(0), 0.0) is None
    assert not opened(incoming, seal(own, 0), 0)
    assert "another security.station" in incoming.problem


def test_the_directions_have_different_keys() -> None:
    one, two = sender(station=1), sender(station=2)
    incoming = receiver()
    incoming.announce(one.announcement(0), 0.0)
    assert not opened(incoming, seal(two, 0), 0)
    assert seal(one, 1) != seal(two, 1)


# restarts


def test_a_restarted_sender_is_followed_and_its_old_session_is_not() -> None:
    ledger = Ledger()
    before = sender(ledger=ledger)
    incoming = receiver()
    old_announcement = before.announcement(0)
    incoming.announce(old_announcement, 0.0)
    old = [seal(before, tick) for tick in range(20)]
    assert opened(incoming, old[0], 0)
    after = sender(ledger=ledger)  # within the same second, and with the same random bits
    incoming.announce(after.announcement(0), 1.0)
    assert incoming.open(HEADER, seal(after, 0), low=0, modulus=512, lane=0, now=1.0) is not None
    restarted = receiver(ledger=incoming._ledger)
    assert restarted.announce(old_announcement, 2.0) is None
    assert "played again" in restarted.problem
    assert not any(opened(restarted, one, tick) for tick, one in enumerate(old))


def test_a_sender_whose_clock_was_set_back_goes_on() -> None:
    ledger = Ledger()
    first = sender(ledger=ledger).at(0).number
    second = sender(ledger=ledger, clock=0.0).at(0).number
    assert second > first


def test_a_restarted_receiver_refuses_what_it_heard_before() -> None:
    kept: list[dict[int, Heard]] = []
    outgoing = sender()
    incoming = receiver(ledger=Ledger(save=kept.append))
    incoming.announce(outgoing.announcement(0), 0.0)
    sealed = [seal(outgoing, tick) for tick in range(200)]
    assert all(opened(incoming, one, tick) for tick, one in enumerate(sealed[:100]))
    restarted = receiver(ledger=Ledger(kept[-1]))
    assert restarted.announce(outgoing.announcement(100), 100 * FRAME_SECONDS) is not None
    assert not any(opened(restarted, one, tick, at=100) for tick, one in enumerate(sealed[:100]))
    # What was reserved ahead is lost, at most four seconds; then speech goes on.
    passed = [tick for tick in range(100, 200) if opened(restarted, sealed[tick], tick)]
    assert passed == list(range(passed[0], 200))
    assert 100 <= passed[0] <= 152


def test_a_receiver_that_ended_in_order_loses_nothing_on_restart() -> None:
    outgoing, ledger = sender(), Ledger()
    incoming = receiver(ledger=ledger)
    incoming.announce(outgoing.announcement(0), 0.0)
    assert opened(incoming, seal(outgoing, 0), 0)
    ledger.settle()
    restarted = receiver(ledger=ledger)
    restarted.announce(outgoing.announcement(1), FRAME_SECONDS)
    assert opened(restarted, seal(outgoing, 1), 1)


def test_an_old_announcement_does_not_turn_time_back() -> None:
    outgoing, incoming = call()
    old = outgoing.announcement(0)
    assert opened(incoming, seal(outgoing, 3000), 3000)
    incoming.announce(old, 3000 * FRAME_SECONDS)
    assert opened(incoming, seal(outgoing, 3001), 3001)


def test_strangers_do_not_grow_memory() -> None:
    incoming = receiver()
    for station in range(100):
        incoming.announce(sender(station=station).announcement(0), 0.0)
        incoming.announce(sender(station=station, key=OTHER_KEY).announcement(0), 0.0)
    assert len(incoming.sessions) == 3


def test_the_talker_heard_last_stays_known() -> None:
    incoming = receiver()
    talker = sender(station=200)
    incoming.announce(talker.announcement(0), 0.0)
    assert opened(incoming, seal(talker, 0), 0)
    for station in range(100):
        incoming.announce(sender(station=station).announcement(0), 0.0)
    assert opened(incoming, seal(talker, 1), 1)


# rekeying


def test_keys_change_without_a_gap() -> None:
    outgoing, incoming = sender(rekey_seconds=80.0), receiver()
    numbers: list[int] = []
    for tick in range(5000):
        if tick % 62 == 0:
            incoming.announce(outgoing.announcement(tick), tick * FRAME_SECONDS)
        assert opened(incoming, seal(outgoing, tick), tick)
        numbers.append(incoming.sessions[0].number)
    assert numbers == sorted(numbers)
    assert [numbers.count(number) for number in sorted(set(numbers))] == [1000] * 5


def test_packets_of_the_session_before_may_be_late() -> None:
    outgoing, incoming = sender(rekey_seconds=80.0), receiver()
    incoming.announce(outgoing.announcement(0), 0.0)
    sealed = {tick: seal(outgoing, tick) for tick in range(990, 1010)}
    incoming.announce(outgoing.announcement(1009), 1009 * FRAME_SECONDS)
    assert opened(incoming, sealed[990], 990)
    assert opened(incoming, sealed[1005], 1005)
    assert opened(incoming, sealed[995], 995)
    assert not opened(incoming, sealed[995], 995)


# slots


def test_the_mask_is_a_keystream() -> None:
    session = Session(key=KEY, suite=ENCRYPTED, station=3, number=77)
    keys = KEY.derive(
        salt=(77).to_bytes(6, "big"), info=b"linkcodec session" + bytes([1, 9, 3]), length=96
    )
    stream = (
        Cipher(algorithms.AES(keys[32:64]), modes.CTR((1234).to_bytes(8, "big") + bytes(8)))
        .encryptor()
        .update(bytes(32))
    )
    expected = int.from_bytes(stream, "big")
    for bits in (1, 96, 128, 129, 256):
        assert session.mask(1234, bits) == expected >> 256 - bits
    assert session.mask(1235, 96) != session.mask(1234, 96)


def test_clear_slots_have_no_mask() -> None:
    assert Session(key=KEY, suite=AUTHENTICATED, station=3, number=77).mask(5, 96) == 0


@pytest.mark.parametrize("bits", [1, 8, 32, 128])
def test_tags_of_slots_depend_on_everything(bits: int) -> None:
    session = Session(key=KEY, suite=ENCRYPTED, station=3, number=77)
    other = Session(key=KEY, suite=ENCRYPTED, station=3, number=78)
    tags = [
        one.sign(domain, counter, content, bits=bits)
        for one in (session, other)
        for domain in (0, 1)
        for counter in range(20)
        for content in (b"", b"a", b"b")
    ]
    assert all(0 <= tag < 1 << bits for tag in tags)
    assert bits == 1 or len(set(tags)) > min(len(tags), 1 << bits) // 3
    assert session.sign(0, 0, b"a", bits=bits) == tags[1]


def test_slots_are_accepted_once() -> None:
    outgoing, incoming = call()
    session = incoming.sessions[0]
    assert incoming.accept(session, 8, 0, 1.0)
    assert not incoming.accept(session, 8, 0, 1.0)
    assert incoming.statistics.replayed == 1
    assert outgoing.at(0).number == session.number
