"""Fuzz the parsers of the wire and the whole receiver: python scripts/fuzz.py [TARGET ...]

Every target takes random bytes, and valid traffic that was changed: bits, bytes, lengths, order,
with and without a mended CRC. Anything but a documented error ends the run and prints the
input; so does a frame that a receiver with security lets through, and state that grows.

Inputs come in blocks with random numbers and a receiver of their own, so a run is repeatable
block by block. Progress is kept in a file after each block: start the same command again to go
on. --table prints what has been done so far.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from linkcodec.app.config import CallConfig
from linkcodec.app.security import CallSecurity
from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder, Pcm
from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS, Frame, PlayoutItem, Silence
from receiver import ReceiverCore
from transport.ax25 import Station, UiFrame
from transport.config import AdaptationConfig, LinkConfig, SecurityConfig, StationConfig, WireConfig
from transport.framing import StreamDeframer, encode_stream
from transport.keys import PresharedKey
from transport.linerate import Framing
from transport.links.kiss import KissDeframer, encode_kiss
from transport.packet import ByePacket, SilencePacket, VoicePacket, check_bytes, parse
from transport.replay import Ledger
from transport.sealing import PacketOpener
from transport.security import Announcement, ReceiverSecurity, SecurityMode, SenderSecurity, Suite
from transport.slot import protection, slot_shape
from transport.slot_words import (
    Reassembler,
    WordCode,
    parse_background,
    parse_link,
)
from transport.slot_words import parse_station as parse_station_word
from transport.text import TextAssembler, parse_report, parse_station, parse_talker
from transport.wire import CodecLabel, Departure, ReceiverReport, WireSetup, open_transmitter

INPUTS: Final = 10_000_000
STATE: Final = Path("build/fuzz.json")
MOST_STATE: Final = 8 << 20
"""Bytes that a receiver may hold at the end of a block; the jitter buffer's and the statistics'
histories are most of it."""

_KEY: Final = PresharedKey(bytes(range(32)))
_OTHER_KEY: Final = PresharedKey(bytes(32))
_CLOCK: Final = 1.8e9
_QUANTIZERS: Final = 8

Step = Callable[[bytes, random.Random], bool]
"""Takes an input; gives whether something was found in it. Raises what the target raises."""


class FuzzError(AssertionError):
    """A receiver did what it must never do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that takes bytes from strangers.

    start: makes a fresh one, and gives it and what feeds it. corpus: valid inputs. block:
    inputs from one fresh start to the next. mend: gives the bytes a right CRC. wrap: makes
    bytes of a pipe of them. ordered: the corpus comes in its order, most of it unchanged, so
    that a receiver of slots finds its place and keeps it for a while. longest: bytes of random
    inputs.
    """

    start: Callable[[], tuple[object, Step]]
    corpus: Callable[[], list[bytes]]
    block: int = 100_000
    mend: Callable[[bytes], bytes] | None = None
    wrap: Callable[[bytes], bytes] | None = None
    ordered: bool = False
    longest: int = 300


# Valid traffic


def _setup(*, framing: str, mode: str, security: str) -> WireSetup:
    slots = mode == "slots"
    quantizers = _QUANTIZERS - 1 if slots and security != "off" else _QUANTIZERS
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=1200 if slots else 4800, framing=framing),
        wire=WireConfig(
            frames_per_packet=4,
            mode=mode,
            redundancy="none" if slots else "parity",
            redundant_books=2,
        ),
        label=CodecLabel(name="compact", version=1, quantizers=quantizers, weights=77),
        adaptation=AdaptationConfig(),
        station=StationConfig(call_sign="N0CALL", talker=3),
        security=SecurityConfig(mode=security),
    )


def _sender_security(security: str, key: PresharedKey) -> SenderSecurity | None:
    if security == "off":
        return None
    return SenderSecurity(
        key=key,
        suite=Suite(mode=SecurityMode(security)),
        station=1,
        clock=_CLOCK,
        ledger=Ledger(),
        random_bits=lambda bits: 5 % (1 << bits),
    )


def _receiver_security(security: str) -> ReceiverSecurity | None:
    if security == "off":
        return None
    return ReceiverSecurity(key=_KEY, suite=Suite(mode=SecurityMode(security)), ledger=Ledger())


def _traffic(
    *, framing: str = "udp", mode: str = "packets", security: str = "off", key: PresharedKey = _KEY
) -> list[Departure]:
    """Forty seconds of a call with everything in it."""
    base = _setup(framing=framing, mode=mode, security=security)
    sender = open_transmitter(
        WireSetup(**{**vars(base), "outgoing": _sender_security(security, key)})
    )
    rng = random.Random(7)
    sent: list[Departure] = []
    for tick in range(500):
        now = tick * FRAME_SECONDS
        place = tick % 125
        if tick % 100 == 50:
            sender.send_text("a text, of some length", now)
            sender.send_report(ReceiverReport(loss=0.1, residual=0.05, burst=2.0), now)
        if place < 80:
            frame = Frame(tuple(rng.randrange(2048) for _ in range(_QUANTIZERS)))
            sender.voice(frame, tick=tick, start=place == 0, end=place == 79, now=now)
        else:
            sender.silence(Silence(-55.0), tick=tick, now=now)
        sent += sender.poll(now)
    sender.finish(tick=500, now=40.0)
    while (due := sender.next_time()) is not None:
        sent += sender.poll(due)
    return sent


def _packets(**options: Any) -> Callable[[], list[bytes]]:
    return lambda: [one.data for one in _traffic(**options)]


# Targets


def _parser(parser: Callable[[bytes], object]) -> Callable[[], tuple[object, Step]]:
    """A target of a parser without state: a value, or a PacketError."""

    def step(data: bytes, _rng: random.Random) -> bool:
        try:
            parser(data)
        except PacketError:
            return False
        return True

    return lambda: (None, step)


def _deframer(make: Callable[[], Any]) -> Callable[[], tuple[object, Step]]:
    def start() -> tuple[object, Step]:
        deframer = make()
        return deframer, lambda data, _rng: bool(deframer.push(data))

    return start


def _opener(security: str) -> Callable[[], tuple[object, Step]]:
    """An opener that knows the corpus's session and has heard nothing of it."""

    def start() -> tuple[object, Step]:
        opener = PacketOpener(_receiver_security(security))
        known = _packets(security=security)()
        opener.open(known[0], 0.0)
        genuine = set(known)

        def step(data: bytes, rng: random.Random) -> bool:
            if data in genuine:
                return False
            try:
                opened = opener.open(data, 40.0 * rng.random())
            except PacketError:
                return False
            if opened is not None:
                raise FuzzError("a forged packet was opened")
            return False

        return opener, step

    return start


def _texts() -> tuple[object, Step]:
    assembler = TextAssembler()
    parsers = (parse_station, parse_talker, parse_report)

    def step(data: bytes, rng: random.Random) -> bool:
        found = False
        with contextlib.suppress(PacketError):
            found = assembler.take(data, 1000.0 * rng.random()) is not None
        try:
            rng.choice(parsers)(data)
        except PacketError:
            return found
        return True

    return assembler, step


def _words() -> tuple[object, Step]:
    """Control words of slots: code, kinds and messages."""
    shape = slot_shape(1200, Framing.SYNC)
    code = WordCode(body_bytes=shape.word_bytes, size=shape.payload_bits)
    reassembler = Reassembler()
    mask = (1 << shape.payload_bits) - 1

    def step(data: bytes, rng: random.Random) -> bool:
        body = data[: shape.word_bytes].ljust(shape.word_bytes, b"\0")
        with contextlib.suppress(PacketError):
            code.decode(int.from_bytes(data, "big") & mask)
        reassembler.push(body)
        try:
            kind = rng.randrange(3)
            (parse_background, parse_link, parse_station_word)[kind](body)
        except PacketError:
            return False
        return True

    return reassembler, step


def _payloads() -> tuple[object, Step]:
    """Payloads of slots under every protection of two lines."""
    codes = [
        protection(bits, quantizers)
        for bits in {slot_shape(1200, framing).payload_bits for framing in list(Framing)[:2]}
        for quantizers in range(1, 9)
        if 11 * quantizers <= bits
    ]

    def step(data: bytes, rng: random.Random) -> bool:
        code = rng.choice(codes)
        frame = code.unpack(int.from_bytes(data, "big") & (1 << code.payload_bits) - 1)
        return frame is not None

    return codes, step


class _NullDecoder(Decoder):
    """Decodes nothing: what is fuzzed is what comes before."""

    def __init__(self) -> None:
        self._pcm: Pcm = np.zeros(160, np.float32)

    def decode(self, item: PlayoutItem) -> Pcm:
        if isinstance(item, Frame) and len(item.indices) > _QUANTIZERS:
            raise FuzzError(f"a frame of {len(item.indices)} indices reached the decoder")
        return self._pcm

    def reset(self) -> None:
        pass

    def snapshot(self) -> object:
        return None

    def restore(self, state: object) -> None:
        pass


class _NullCodec(Codec):
    def __init__(self) -> None:
        self.info = CodecInfo(
            name="compact",
            version=1,
            sample_rate=2000,
            frame_size=160,
            quantizers=_QUANTIZERS,
            codebook_size=2048,
            delay=0,
        )

    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        raise NotImplementedError

    def decoder(self) -> Decoder:
        return _NullDecoder()


def _receiver(
    *, framing: str = "udp", mode: str = "packets", security: str = "off"
) -> Callable[[], tuple[object, Step]]:
    """The whole receiver, played out in virtual time; it has heard its session's start."""

    def start() -> tuple[object, Step]:
        base = _setup(framing=framing, mode=mode, security=security)
        config = CallConfig(
            link=base.link, wire=base.wire, station=base.station, security=base.security
        )
        core = ReceiverCore(
            codec=_NullCodec(),
            config=config,
            datagram=not Framing(framing).stream,
            security=CallSecurity(incoming=_receiver_security(security)),
        )
        genuine: set[bytes] = set()
        if security != "off":
            known = _packets(framing=framing, mode=mode, security=security)()
            genuine.update(known)
            core.receive(known[0], 0.0)
        pace = FRAME_SECONDS if mode == "slots" else 0.03
        now = 0.0
        pulled = 0.0

        def step(data: bytes, rng: random.Random) -> bool:
            nonlocal now, pulled
            if data in genuine:
                return False
            # Mostly as fast as slots or packets come; now and then an outage.
            now += 2 * pace * rng.random() if rng.random() < 0.9999 else 200.0 * rng.random()
            events = core.receive(data, now)
            if security != "off" and any(
                isinstance(event, VoicePacket | SilencePacket | ByePacket) for event in events
            ):
                raise FuzzError(f"a stranger was heard: {events}")
            pulled = max(pulled, now - 1.0)
            while pulled <= now:
                core.pull(pulled)
                pulled += FRAME_SECONDS
            return bool(events)

        return core, step

    return start


def _mend(data: bytes) -> bytes:
    return data[:-2] + check_bytes(data[:-2]) if len(data) > 4 else data


def _mend_stream(data: bytes) -> bytes:
    """The corpus of streams is packets: mended or not, they go into COBS."""
    return encode_stream(data[:254] or b"\1")


def _slot_block(security: str, *, heard: str | None = None) -> Target:
    """heard: security of the traffic, where the receiver has another one."""
    return Target(
        start=_receiver(framing="sync", mode="slots", security=security),
        corpus=_packets(
            framing="sync", mode="slots", security=heard or security, key=_key(security)
        ),
        block=20_000,
        ordered=True,
        longest=50,
    )


def _key(security: str) -> PresharedKey:
    """Of the corpus: genuine slots cannot be told from changed ones, so a stranger sends them."""
    return _KEY if security == "off" else _OTHER_KEY


def _stream_target(security: str) -> Target:
    return Target(
        start=_receiver(framing="sync", security=security),
        corpus=_packets(security=security, key=_key(security)),
        mend=_mend,
        wrap=_mend_stream,
    )


def _ax25() -> list[bytes]:
    return [
        UiFrame(
            destination=Station("VOICE", 0), source=Station("N0CALL", 7), info=bytes(range(size))
        ).serialise()
        for size in (0, 5, 90)
    ]


TARGETS: Final[dict[str, Target]] = {
    "packet": Target(start=_parser(parse), corpus=_packets(), mend=_mend),
    "cobs": Target(start=_deframer(StreamDeframer), corpus=_packets(framing="sync"), wrap=None),
    "announcement": Target(
        start=_parser(Announcement.parse),
        corpus=lambda: [
            sender.announcement(tick)
            for tick in (0, 1000)
            if (sender := _sender_security("encrypted", _KEY)) is not None
        ],
    ),
    "opener, encrypted": Target(
        start=_opener("encrypted"), corpus=_packets(security="encrypted"), mend=_mend
    ),
    "opener, authenticated": Target(
        start=_opener("authenticated"), corpus=_packets(security="authenticated"), mend=_mend
    ),
    "text": Target(start=_texts, corpus=lambda: [b"\x02\x01abcdefgh", b"\x12\x01abcdefgh"]),
    "control word": Target(start=_words, corpus=lambda: [bytes(range(11))]),
    "slot payload": Target(start=_payloads, corpus=lambda: [bytes(range(11))]),
    "ax25": Target(start=_parser(UiFrame.parse), corpus=_ax25),
    "kiss": Target(
        start=_deframer(KissDeframer),
        corpus=lambda: [encode_kiss(one) for one in _ax25()],
    ),
    "receiver": Target(start=_receiver(), corpus=_packets(), mend=_mend),
    "receiver, stream": _stream_target("off"),
    "receiver, slots": _slot_block("off"),
    "receiver, slots, signed": _slot_block("off", heard="authenticated"),
    "receiver, encrypted": Target(
        start=_receiver(security="encrypted"), corpus=_packets(security="encrypted"), mend=_mend
    ),
    "receiver, authenticated": Target(
        start=_receiver(security="authenticated"),
        corpus=_packets(security="authenticated"),
        mend=_mend,
    ),
    "receiver, stream, encrypted": _stream_target("encrypted"),
    "receiver, slots, encrypted": _slot_block("encrypted"),
}
"""Parsers and receivers by name."""


# Inputs


def inputs(target: Target, corpus: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """Random and changed inputs without end."""
    for number in count():
        choice = rng.random()
        if target.ordered and choice < 0.9:
            data = corpus[number % len(corpus)]
            yield data if choice < 0.8 else _changed(data, corpus, rng)
            continue
        if choice < 0.2 or target.ordered:
            data = rng.randbytes(int(rng.random() ** 2 * target.longest))
        else:
            data = _changed(rng.choice(corpus), corpus, rng)
            if target.mend is not None and choice < 0.7:
                data = target.mend(data)
        yield target.wrap(data) if target.wrap is not None and choice < 0.95 else data


def _changed(data: bytes, corpus: list[bytes], rng: random.Random) -> bytes:
    """A valid input after one to three changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        length = len(changed)
        if not length:
            break
        place = int(rng.random() * length)
        match int(rng.random() * 8):
            case 0 | 1 | 2:
                changed[place] ^= 1 << int(rng.random() * 8)
            case 3:
                changed[place] = rng.getrandbits(8)
            case 4:
                del changed[place:]
            case 5:
                del changed[place : place + 1 + int(rng.random() * 8)]
            case 6:
                changed[place:place] = rng.randbytes(1 + int(rng.random() * 8))
            case _:
                changed[place:] = rng.choice(corpus)[place:]
    return bytes(changed)


# Runs


@dataclass(kw_only=True)
class Progress:
    """What has been done to a target."""

    inputs: int = 0
    found: int = 0
    """Inputs in which something valid was found."""
    most_state: int = 0
    """Most bytes that it held at the end of a block."""
    seconds: float = 0.0


@dataclass(kw_only=True)
class Journal:
    """Progress of all targets, kept in a file."""

    path: Path
    seed: int
    targets: dict[str, Progress] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, seed: int) -> Journal:
        """What the file has for this seed; a new one otherwise."""
        if path.exists():
            document = json.loads(path.read_text())
            if document["seed"] == seed:
                targets = {name: Progress(**one) for name, one in document["targets"].items()}
                return cls(path=path, seed=seed, targets=targets)
        return cls(path=path, seed=seed)

    def save(self) -> None:
        """Keep it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "seed": self.seed,
            "targets": {name: asdict(one) for name, one in self.targets.items()},
        }
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(document, indent=1))
        draft.replace(self.path)

    def table(self) -> str:
        """Markdown."""
        head = (
            "| target | inputs | valid among them | most state | inputs/s |\n|---|---|---|---|---|"
        )
        rows = [
            f"| {name} | {one.inputs:,} | {one.found:,} | {one.most_state / 1024:.0f} KiB "
            f"| {one.inputs / one.seconds:,.0f} |"
            for name in TARGETS
            if (one := self.targets.get(name)) is not None and one.seconds
        ]
        return "\n".join([head, *rows])


_SHARED: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def state_size(thing: object) -> int:
    """Bytes of everything that can be reached from `thing`, code left out."""
    seen: set[int] = set()
    pending, size = [thing], 0
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        pending += gc.get_referents(one)
    return size


def run_block(name: str, *, seed: int, block: int, size: int) -> Progress:
    """Feed `size` inputs to a fresh target.

    Raises:
        FuzzError: it did what it must not do; the text has the input.
    """
    target = TARGETS[name]
    rng = random.Random(f"{name} {seed} {block}")
    corpus = target.corpus()
    thing, step = target.start()
    progress = Progress(inputs=size)
    began = time.process_time()
    for number, data in enumerate(islice(inputs(target, corpus, rng), size)):
        try:
            progress.found += step(data, rng)
        except Exception as error:
            raise FuzzError(
                f"{name}, block {block}, input {number}: {error!r} at {data.hex()}"
            ) from error
    progress.seconds = time.process_time() - began
    progress.most_state = state_size(thing)
    if progress.most_state > MOST_STATE:
        raise FuzzError(f"{name}, block {block}: holds {progress.most_state} bytes at its end")
    return progress


def run(name: str, journal: Journal, *, wanted: int) -> None:
    """Go on with a target until `wanted` inputs are done."""
    total = journal.targets.setdefault(name, Progress())
    block = TARGETS[name].block
    while total.inputs < wanted:
        done = run_block(
            name,
            seed=journal.seed,
            block=total.inputs // block,
            size=min(block, wanted - total.inputs),
        )
        total.inputs += done.inputs
        total.found += done.found
        total.seconds += done.seconds
        total.most_state = max(total.most_state, done.most_state)
        journal.save()
        print(f"{name}: {total.inputs:,} of {wanted:,}, {total.found:,} valid", flush=True)


def main() -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("target", nargs="*", help=f"some of: {'; '.join(TARGETS)} (default: all)")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="per target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, default=STATE, help="where progress is kept")
    parser.add_argument(
        "--table", action="store_true", help="print what has been done, in Markdown"
    )
    args = parser.parse_args()
    unknown = [name for name in args.target if name not in TARGETS]
    if unknown:
        parser.error(f"unknown target {unknown[0]}: use some of {'; '.join(TARGETS)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    journal = Journal.load(args.state, seed=args.seed)
    if args.table:
        print(journal.table())
        return 0
    for name in args.target or TARGETS:
        run(name, journal, wanted=args.inputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
