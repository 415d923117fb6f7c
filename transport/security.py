"""Security of the wire: sessions, their keys, tags and encryption. See docs/security.md.

A station's *session* has a number that only rises: the seconds of its clock and 16 random bits.
With the pre-shared key, the mode, the tag's length and the station's number it gives a session's
keys (HKDF), so neither of these can be changed by anybody in between. An *announcement* tells
a session to whoever joins; it carries a tag of its own.

Within a session everything has a *counter* that never comes twice: tick and lane of a packet, or
the number of a slot. It is the nonce, and what the replay window remembers.

Packets: AES-256-CCM (NIST SP 800-38C, RFC 5116), header and (in clear modes) body as associated
data. Slots: a keystream of AES-256 in counter mode, which does not spread bit errors, and tags of
any number of bits by AES-256-CMAC (NIST SP 800-38B).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.cmac import CMAC

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS
from transport.keys import PresharedKey
from transport.replay import Ledger, ReplayWindow

__all__ = [
    "ANNOUNCEMENT_BYTES",
    "MOST_STATIONS",
    "TAG_LENGTHS",
    "Announcement",
    "Opened",
    "ReceiverSecurity",
    "SecurityMode",
    "SecurityStatistics",
    "SenderSecurity",
    "Session",
    "Suite",
]

MOST_STATIONS: Final = 256
TAG_LENGTHS: Final = (4, 6, 8, 10, 12, 14, 16)
"""Bytes of a tag; what CCM allows."""

ANNOUNCEMENT_BYTES: Final = 12
"""Bytes of an announcement without its tag."""

SECURITY_VERSION: Final = 1

SIGNED_UNVERIFIED: Final = (
    "the sender signs its speech; without its key nobody vouches for who speaks: set "
    "security.mode = 'authenticated' and the key to know"
)
ENCRYPTED_UNHEARD: Final = (
    "the sender encrypts its speech: set the same [security] and key on both sides"
)

_SESSION_BITS: Final = 48
_RANDOM_BITS: Final = 16
_TICK_BITS: Final = 32
_KEY_BYTES: Final = 32
_BLOCK: Final = 16
_BLOCK_BITS: Final = 128
_NONCE_BYTES: Final = 13
_ANNOUNCE: Final = 255
"""Domain of `Session.sign` that announcements use; callers use smaller ones."""

_CONTEXTS: Final = 3
"""Sessions that a receiver keeps at a time: more would multiply the chance of a forged tag."""

_SURE_SECONDS: Final = 10.0
"""After a longer gap, clocks may differ enough to take the wrong one of two equal ticks."""


class SecurityMode(StrEnum):
    """What a call is protected against."""

    OFF = "off"
    """Nothing: anybody may listen and speak."""

    AUTHENTICATED = "authenticated"
    """Speech in the clear and signed: anybody may listen, only holders of the key speak."""

    ENCRYPTED = "encrypted"
    """Only holders of the key listen and speak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What both ends must have set alike. Its values are part of every session key.

    tag_bytes: length of the tags, one of `TAG_LENGTHS`.

    Raises:
        ValueError: the mode is `OFF` or the tag has an impossible length.
    """

    mode: SecurityMode
    tag_bytes: int = 4

    def __post_init__(self) -> None:
        if self.mode is SecurityMode.OFF:
            raise ValueError("without security there is no suite")
        if self.tag_bytes not in TAG_LENGTHS:
            raise ValueError(f"a tag has one of {TAG_LENGTHS} bytes, not {self.tag_bytes}")

    @property
    def encrypts(self) -> bool:
        """True where the body is not to be read by others."""
        return self.mode is SecurityMode.ENCRYPTED

    @property
    def number(self) -> int:
        """The suite in 4 bits: 1 for encrypted, then 3 bits for the tag's length."""
        return self.encrypts << 3 | self.tag_bytes // 2 - 1

    @classmethod
    def of(cls, number: int) -> Suite:
        """The suite of a `number`.

        Raises:
            PacketError: there is none.
        """
        tag_bytes = 2 * (number & 7) + 2
        if not 0 <= number < 16 or tag_bytes not in TAG_LENGTHS:
            raise PacketError(f"there is no security suite {number}")
        mode = SecurityMode.ENCRYPTED if number & 8 else SecurityMode.AUTHENTICATED
        return cls(mode=mode, tag_bytes=tag_bytes)

    def __str__(self) -> str:
        return f"{self.mode}, tags of {self.tag_bytes} bytes"


class Session:
    """The keys of one session and what is done with them; holds no state.

    Args:
        key: the pre-shared key.
        station: 0 to 255.
        number: session number, 48 bits.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, *, key: PresharedKey, suite: Suite, station: int, number: int) -> None:
        if not 0 <= station < MOST_STATIONS:
            raise ValueError(f"a station has a number of 0 to {MOST_STATIONS - 1}, not {station}")
        if not 0 <= number < 1 << _SESSION_BITS:
            raise ValueError(f"session number {number} does not fit into {_SESSION_BITS} bits")
        self.suite = suite
        self.station = station
        self.number = number
        self._encrypts = suite.encrypts
        keys = key.derive(
            salt=number.to_bytes(_SESSION_BITS // 8, "big"),
            info=b"linkcodec session" + bytes([SECURITY_VERSION, suite.number, station]),
            length=3 * _KEY_BYTES,
        )
        sealing, masking, signing = (keys[at : at + _KEY_BYTES] for at in range(0, 96, _KEY_BYTES))
        self._ccm = AESCCM(sealing, tag_length=suite.tag_bytes)
        # Counter mode by hand: one call per slot, no object for each.
        self._block = Cipher(algorithms.AES(masking), modes.ECB()).encryptor()  # noqa: S305
        self._mac = CMAC(algorithms.AES(signing))

    def seal(self, header: bytes, body: bytes, *, tick: int, lane: int) -> bytes:
        """Body and tag; the body is encrypted if the mode says so.

        `tick` (unwrapped) and `lane` (0 to 65535) together must never come again in a session.
        """
        nonce = _nonce(tick, lane)
        if self._encrypts:
            return self._ccm.encrypt(nonce, body, header)
        return body + self._ccm.encrypt(nonce, b"", header + body)

    def open(self, header: bytes, sealed: bytes, *, tick: int, lane: int) -> bytes | None:
        """The body; None if the tag is wrong."""
        split = len(sealed) - self.suite.tag_bytes
        if split < 0:
            return None
        nonce = _nonce(tick, lane)
        try:
            if self._encrypts:
                return self._ccm.decrypt(nonce, sealed, header)
            body = sealed[:split]
            self._ccm.decrypt(nonce, sealed[split:], header + body)
        except InvalidTag:
            return None
        return body

    def mask(self, counter: int, bits: int) -> int:
        """`bits` bits of keystream for slot number `counter`, to be XORed to its payload.

        0 in authenticated mode. A counter must never come again in a session.
        """
        if not self._encrypts:
            return 0
        blocks = -(-bits // _BLOCK_BITS)
        start = counter.to_bytes(8, "big")
        inputs = b"".join(start + number.to_bytes(8, "big") for number in range(blocks))
        stream = int.from_bytes(self._block.update(inputs), "big")
        return stream >> blocks * _BLOCK_BITS - bits

    def sign(self, domain: int, counter: int, content: bytes, *, bits: int) -> int:
        """A tag of `bits` bits (up to 128) for `content` at `counter`.

        domain: 0 to 254, to keep kinds of content apart.
        """
        mac = self._mac.copy()
        mac.update(bytes([domain]) + counter.to_bytes(8, "big") + content)
        return int.from_bytes(mac.finalize(), "big") >> _BLOCK_BITS - bits

    def announcement(self, tick: int) -> bytes:
        """The announcement at this tick, its tag included."""
        content = Announcement(
            suite=self.suite, station=self.station, session=self.number, tick=tick
        ).pack()
        return content + self._announcement_tag(content)

    def announced_by(self, content: bytes, tag: bytes) -> bool:
        """Whether a holder of the key made this announcement of this session."""
        return secrets.compare_digest(self._announcement_tag(content), tag)

    def _announcement_tag(self, content: bytes) -> bytes:
        length = self.suite.tag_bytes
        return self.sign(_ANNOUNCE, 0, content, bits=8 * length).to_bytes(length, "big")


def _nonce(tick: int, lane: int) -> bytes:
    return lane.to_bytes(2, "big") + tick.to_bytes(_NONCE_BYTES - 2, "big")


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """Which session a station is in, and its tick now: what a receiver needs to join.

    Twelve bytes: version (4 bits), suite (4), station (8), session (48), tick (32). The tag
    follows.
    """

    suite: Suite
    station: int
    session: int
    tick: int

    def pack(self) -> bytes:
        """The bytes without the tag."""
        tick = self.tick % (1 << _TICK_BITS)
        return (
            bytes([SECURITY_VERSION << 4 | self.suite.number, self.station])
            + self.session.to_bytes(_SESSION_BITS // 8, "big")
            + tick.to_bytes(_TICK_BITS // 8, "big")
        )

    @classmethod
    def parse(cls, data: bytes) -> Announcement:
        """The announcement that these bytes, tag included, are; its tag is not checked.

        Raises:
            PacketError: another length, version or suite.
        """
        if len(data) < ANNOUNCEMENT_BYTES:
            raise PacketError(f"an announcement has {ANNOUNCEMENT_BYTES} bytes and a tag")
        if data[0] >> 4 != SECURITY_VERSION:
            raise PacketError(
                f"an announcement of security version {data[0] >> 4}, not {SECURITY_VERSION}: "
                "install the same version of linkcodec on both sides"
            )
        suite = Suite.of(data[0] & 15)
        if len(data) != ANNOUNCEMENT_BYTES + suite.tag_bytes:
            raise PacketError(f"an announcement with {suite.tag_bytes} bytes of tag is no longer")
        return cls(
            suite=suite,
            station=data[1],
            session=int.from_bytes(data[2:8], "big"),
            tick=int.from_bytes(data[8:ANNOUNCEMENT_BYTES], "big"),
        )


class SenderSecurity:
    """Sessions of a sending station, one after another.

    Args:
        clock: seconds since 1970 when the call starts.
        ledger: keeps the last session over restarts, so that none comes twice.
        rekey_seconds: how long a session lasts.
        ahead_seconds: how long before its first packet a session is announced.
        random_bits: gives that many random bits; for tests.
    """

    def __init__(
        self,
        *,
        key: PresharedKey,
        suite: Suite,
        station: int,
        clock: float,
        ledger: Ledger,
        rekey_seconds: float = 3600.0,
        ahead_seconds: float = 15.0,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.suite = suite
        self._key = key
        self._station = station
        self._clock = clock
        self._ledger = ledger
        self._random_bits = random_bits
        self._length = max(1, round(rekey_seconds / FRAME_SECONDS))
        self._ahead = min(self._length, round(ahead_seconds / FRAME_SECONDS))
        self._used = ReplayWindow()
        self._session: Session | None = None
        self._origin = self._first = 0
        self._next: Session | None = None

    def _new(self, tick: int) -> Session:
        seconds = int(self._clock + (tick - self._origin) * FRAME_SECONDS)
        clocked = seconds << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
        last = self._ledger.session(self._station)
        if clocked <= last:
            # The clock was set back: go on in the second after the last session.
            clocked = ((last >> _RANDOM_BITS) + 1) << _RANDOM_BITS | clocked % (1 << _RANDOM_BITS)
        # Kept before it is used, so that no session (and no nonce) ever comes again.
        self._ledger.note(self._station, clocked, 0)
        return Session(key=self._key, suite=self.suite, station=self._station, number=clocked)

    def at(self, tick: int) -> Session:
        """This session for what is sealed now, at this tick (unwrapped, never going back)."""
        if self._session is None:
            self._origin = self._first = tick
            self._session = self._new(tick)
        elif tick >= self._first + self._length:
            self._session = self._next or self._new(tick)
            self._next = None
            self._first = tick
            self._used = ReplayWindow()
        elif self._next is None and tick >= self._first + self._length - self._ahead:
            self._next = self._new(tick)
        return self._session

    def seal(self, header: bytes, body: bytes, *, tick: int, lane: int, at: int) -> bytes:
        """A packet's body and tag, see `Session.seal`; `at` is the tick now.

        Raises:
            ValueError: this tick and lane were used before, or the tick is too old.
        """
        session = self.at(at)
        if not self._used.accept(tick, lane):
            raise ValueError(f"tick {tick} of lane {lane} would come twice in a session")
        return session.seal(header, body, tick=tick, lane=lane)

    def announcement(self, tick: int) -> bytes:
        """What to announce at this tick: the current session, or the next one once it is near."""
        return self.announced(tick).announcement(tick)

    def announced(self, tick: int) -> Session:
        """Which session to announce at this tick."""
        session = self.at(tick)
        return self._next or session


@dataclass(kw_only=True)
class SecurityStatistics:
    """What a receiver made of the traffic; see `ReceiverSecurity.problem` for words."""

    opened: int = 0
    """Packets (or superframes) with a right tag that were let through."""
    refused: int = 0
    """Wrong tag: damaged on the way, forged, or sealed with another key or session."""
    replayed: int = 0
    """Right tag, but heard before or too old."""
    unprotected: int = 0
    """Valid packets without a tag, of somebody who does not use security."""
    announcements_refused: int = 0
    """Announcements of another key, another mode, an old session or this very station."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A body that a holder of the key has sent, at this unwrapped tick."""

    body: bytes
    tick: int
    session: Session


class _Context:
    """A session that a receiver knows."""

    def __init__(self, session: Session, *, floor: int, tick: int, now: float) -> None:
        self.session = session
        self.window = ReplayWindow(floor=floor)
        self.tick = tick
        self.heard_at = now

    def follow(self, tick: int, now: float) -> None:
        """The sender's time as last proved; a copy of something older proves nothing."""
        if tick > self.tick:
            self.tick = tick
            self.heard_at = now

    def candidates(self, low: int, modulus: int, now: float) -> list[int]:
        """The ticks equal to `low` modulo `modulus` that may be meant, the likeliest first."""
        elapsed = now - self.heard_at
        expected = self.tick + round(elapsed / FRAME_SECONDS)
        nearest = expected + (low - expected + modulus // 2) % modulus - modulus // 2
        ticks = [nearest]
        if elapsed > _SURE_SECONDS:
            ticks.append(nearest - modulus if nearest > expected else nearest + modulus)
        return [tick for tick in ticks if tick >= 0]


class ReceiverSecurity:
    """What a receiver lets through: only what a holder of the key has sent, and only once.

    Args:
        suite: the only one accepted; there is nothing to negotiate.
        ledger: sessions and ticks heard before a restart.
        own_station: of this end if it also sends, so that nobody can send its own speech back.

    statistics: counters. problem: in words, why nothing is let through; empty while all is well.
    Memory: three sessions and their windows, whatever comes.
    """

    def __init__(
        self,
        *,
        key: PresharedKey,
        suite: Suite,
        ledger: Ledger,
        own_station: int | None = None,
    ) -> None:
        self.suite = suite
        self.statistics = SecurityStatistics()
        self.problem = ""
        self._key = key
        self._ledger = ledger
        self._own_station = own_station
        self._contexts: list[_Context] = []

    @property
    def sessions(self) -> list[Session]:
        """Sessions that are known now, the one heard last first."""
        return [context.session for context in self._contexts]

    def tick(self, session: Session) -> int:
        """The newest tick that is proved of one of `sessions`."""
        return next(one.tick for one in self._contexts if one.session is session)

    def announce(self, data: bytes, now: float) -> Session | None:
        """Take an announcement, tag included; gives its session if that is to be trusted."""
        try:
            announcement = Announcement.parse(data)
        except PacketError as error:
            self.refuse(str(error))
            return None
        if announcement.suite != self.suite:
            self.refuse(
                f"the sender's security is {announcement.suite}, this receiver's {self.suite}: "
                "set the same [security] on both sides"
            )
            return None
        session = self._session(announcement)
        if not session.announced_by(data[:ANNOUNCEMENT_BYTES], data[ANNOUNCEMENT_BYTES:]):
            self.refuse("the sender has another key: copy the key file to both sides")
            return None
        return self._trust(announcement, session, now)

    def hear(
        self, announcement: Announcement, proof: Callable[[Session], bool], now: float
    ) -> Session | None:
        """`announce` for one that came in another form, and may be none at all.

        proof: whether its tag is right, if it is of this session.
        """
        session = self._session(announcement)
        return self._trust(announcement, session, now) if proof(session) else None

    def _trust(self, announcement: Announcement, session: Session, now: float) -> Session | None:
        if objection := self._objection(announcement):
            self.refuse(objection)
            return None
        self.problem = ""
        context = self._context(announcement)
        if context is None:
            floor = self._ledger.floor(announcement.station, announcement.session)
            context = _Context(session, floor=floor, tick=announcement.tick, now=now)
            # Behind those that speak: an announcement alone does not take over.
            self._contexts[_CONTEXTS - 1 :] = [context]
        context.follow(announcement.tick, now)
        return session

    def _objection(self, announcement: Announcement) -> str:
        """Why an announcement with a right tag is not to be trusted; empty if it is."""
        if announcement.station == self._own_station:
            return (
                f"station {announcement.station} is heard, the number of this end too: "
                "set another security.station on each side"
            )
        if announcement.session < self._ledger.session(announcement.station):
            return (
                f"an old session of station {announcement.station} is played again, or its "
                "clock was set back and its state file lost"
            )
        return ""

    def refuse(self, problem: str) -> None:
        """Note an announcement that is not trusted, and why, in words."""
        self.statistics.announcements_refused += 1
        self.problem = problem

    def _context(self, announcement: Announcement) -> _Context | None:
        for context in self._contexts:
            session = context.session
            if (session.station, session.number) == (announcement.station, announcement.session):
                return context
        return None

    def _session(self, announcement: Announcement) -> Session:
        context = self._context(announcement)
        if context is not None:
            return context.session
        return Session(
            key=self._key,
            suite=self.suite,
            station=announcement.station,
            number=announcement.session,
        )

    def open(
        self, header: bytes, sealed: bytes, *, low: int, modulus: int, lane: int, now: float
    ) -> Opened | None:
        """The body of a packet that came at `now` (seconds); None if it is not let through.

        low: the packet's tick modulo `modulus`, as the header has it.
        """
        for context in self._contexts:
            for tick in context.candidates(low, modulus, now):
                body = context.session.open(header, sealed, tick=tick, lane=lane)
                if body is not None:
                    if not self.accept(context.session, tick, lane, now):
                        return None
                    return Opened(body=body, tick=tick, session=context.session)
        self.statistics.refused += 1
        return None

    def fresh(self, session: Session, tick: int, lane: int) -> bool:
        """Whether `accept` would let this pass, if its tag is right; counts what is heard again."""
        context = next(one for one in self._contexts if one.session is session)
        newest = self._ledger.session(session.station)
        # This session before a new one may finish what is under way, but not after a restart.
        stale = session.number < newest and context.window.newest < 0
        if stale or not context.window.fresh(tick, lane):
            self.statistics.replayed += 1
            return False
        return True

    def accept(self, session: Session, tick: int, lane: int, now: float) -> bool:
        """Whether content with a right tag is new; notes it. For slots, which check tags alone.

        session: one of `sessions`.
        """
        if not self.fresh(session, tick, lane):
            return False
        context = next(one for one in self._contexts if one.session is session)
        context.window.accept(tick, lane)
        self._ledger.note(session.station, session.number, tick)
        self._contexts.remove(context)
        self._contexts.insert(0, context)
        context.follow(tick, now)
        self.statistics.opened += 1
        self.problem = ""
        return True

    def unprotected(self) -> None:
        """Note a valid packet without a tag, which is dropped."""
        self.statistics.unprotected += 1
        self.problem = (
            f"the sender does not use security, this receiver wants it ({self.suite}): "
            "set the same [security] on both sides"
        )
