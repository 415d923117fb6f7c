"""What slot mode stands: bit errors, bursts, slips, late joiners; and what it costs.

    python -m benchmarks.slots                all tables, some minutes
    python -m benchmarks.slots --seeds 2      the same, quicker and coarser
    python -m benchmarks.slots joins slips    some of them

Seeded and in virtual time; the figures in docs/slots.md come from it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.security import with_keys
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.packet import TICKS, VoicePacket
from transport.slot_receiver import SlotReceiver
from transport.slot_sender import SlotTransmitter
from transport.wire import CodecLabel, LinkState, WireSetup

__all__ = ["Call", "Errors", "join_time", "make_call", "over_errors", "slip_cost"]

_IN_CLEAR: Final = SecurityConfig()

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call on the line: its setup, its frames by tick, its slots in the order of sending."""

    setup: WireSetup
    frames: dict[int, Frame]
    slots: list[bytes]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Shares of the frames sent: first index right, first four, all; wrong first index handed on.

    unlocked: share of the slots after which the receiver was hunting.
    """

    first: float
    four: float
    whole: float
    false: float
    unlocked: float


def make_setup(
    *,
    quantizers: int,
    framing: str = "sync",
    rate: int = 1200,
    depth: int = 1,
    security: SecurityConfig = _IN_CLEAR,
) -> WireSetup:
    """Slots on a line."""
    return with_keys(
        WireSetup(
            link=LinkConfig(kind="loopback", rate=rate, framing=framing),
            wire=WireConfig(frames_per_packet=1, mode="slots", interleaver_slots=depth),
            label=CodecLabel(name="compact", version=1, quantizers=quantizers),
            security=security,
        )
    )


def make_call(
    setup: WireSetup, *, seconds: float, seed: int, talks: Callable[[int], bool] = lambda _: True
) -> Call:
    """A call of random frames; `talks` says for a tick whether there is speech."""
    rng = random.Random(f"{seed} call")
    transmitter = SlotTransmitter(setup)
    frames: dict[int, Frame] = {}
    slots: list[bytes] = []
    ticks = round(seconds / FRAME_SECONDS)
    for tick in range(ticks):
        now = (tick + 1) * FRAME_SECONDS
        if talks(tick):
            indices = (rng.randrange(2048) for _ in range(setup.label.quantizers))
            frames[tick] = Frame(tuple(indices))
            start, end = not (tick and talks(tick - 1)), not talks(tick + 1)
            transmitter.voice(frames[tick], tick=tick, start=start, end=end, now=now)
        else:
            transmitter.silence(Silence(-60.0), tick=tick + 1, now=now)
        slots += [departure.data for departure in transmitter.poll(now)]
    transmitter.finish(tick=ticks, now=ticks * FRAME_SECONDS)
    while not transmitter.done:
        following = transmitter.next_time()
        assert following is not None
        slots += [departure.data for departure in transmitter.poll(following)]
    return Call(setup=setup, frames=frames, slots=slots)


def _independent(ber: float, rng: np.random.Generator) -> Callable[[int], Bits]:
    return lambda size: (rng.random(size) < ber).astype(np.uint8)


def bursts(*, ber: float, length: float, rng: np.random.Generator) -> Callable[[int], Bits]:
    """Bursts in which half of the bits are wrong, `length` bits long on average."""
    bad = [False]
    to_bad = 2 * ber / (1 - 2 * ber) / length

    def errors(size: int) -> Bits:
        out = np.zeros(size, np.uint8)
        for i, (change, wrong) in enumerate(rng.random((size, 2)).tolist()):
            bad[0] = change >= 1 / length if bad[0] else change < to_bad
            out[i] = bad[0] and wrong < 0.5
        return out

    return errors


def over_errors(call: Call, *, errors: Callable[[int], Bits]) -> Errors:
    """What a receiver makes of a call whose bits are inverted where `errors` gives ones."""
    receiver = SlotReceiver(call.setup)
    right = [0] * (call.setup.label.quantizers + 1)
    false = unlocked = 0
    for number, slot in enumerate(call.slots):
        bits = np.unpackbits(np.frombuffer(slot, np.uint8)) ^ errors(8 * len(slot))
        for event in receiver.receive(np.packbits(bits).tobytes(), (number + 1) * FRAME_SECONDS):
            if isinstance(event, VoicePacket):
                sent = call.frames[_unwrap(event.tick, near=number)].indices
                matching = _matching(event.frames[0].indices, sent)
                false += matching == 0
                for count in range(matching + 1):
                    right[count] += 1
        unlocked += receiver.state is LinkState.HUNTING
    total = len(call.frames)
    return Errors(
        first=right[1] / total,
        four=right[min(4, len(right) - 1)] / total,
        whole=right[-1] / total,
        false=false / total,
        unlocked=unlocked / len(call.slots),
    )


def _unwrap(tick: int, *, near: int) -> int:
    return near + (tick - near + TICKS // 2) % TICKS - TICKS // 2


def _matching(got: tuple[int, ...], sent: tuple[int, ...]) -> int:
    for count, (one, other) in enumerate(zip(got, sent, strict=False)):
        if one != other:
            return count
    return len(got)


def with_errors(
    *, quantizers: int, ber: float, seed: int, seconds: float = 60.0, **line: int
) -> Errors:
    """Continuous speech over independent bit errors."""
    call = make_call(make_setup(quantizers=quantizers, **line), seconds=seconds, seed=seed)  # type: ignore[arg-type]
    return over_errors(call, errors=_independent(ber, np.random.default_rng(seed)))


def join_time(
    *,
    quantizers: int,
    seed: int,
    framing: str = "sync",
    outage: float = 0.0,
    security: SecurityConfig = _IN_CLEAR,
    talks: Callable[[int], bool] = lambda _: True,
) -> float | None:
    """Seconds from the first good bit to the first right frame, the slot's own time included.

    The call starts to be heard at a random bit (byte, with 8N1), after noise. With an
    `outage` the receiver knew the call before, and its clock went on.
    """
    rng = random.Random(f"{seed} join")
    setup = make_setup(quantizers=quantizers, framing=framing, security=security)
    every = security.announce_every("slots")
    call = make_call(setup, seconds=14.0 + 2 * every, seed=seed, talks=talks)
    size = len(call.slots[0])
    receiver = SlotReceiver(setup)
    known = 20 if outage else 0
    for number, slot in enumerate(call.slots[:known]):
        receiver.receive(slot, (number + 1) * FRAME_SECONDS)
    # A superframe that tells of its session has an index less.
    shortest = quantizers - (security.mode != "off")
    sent = {
        frame.coarse(books)
        for frame in call.frames.values()
        for books in range(shortest, quantizers + 1)
    }
    skipped = known + round(outage / FRAME_SECONDS) if outage else rng.randrange(20, 120)
    first = 8 * size * skipped + rng.randrange(8 * size)
    first -= first % 8 if framing != "sync" else 0
    good = np.unpackbits(np.frombuffer(b"".join(call.slots), np.uint8))[first:]
    noise_bits = first - 8 * size * known
    noise = np.random.default_rng(seed).integers(0, 2, noise_bits, np.uint8)
    data = np.packbits(np.concatenate([noise, good])).tobytes()
    begin = known * FRAME_SECONDS
    arrived = begin + noise_bits / (8 * size) * FRAME_SECONDS
    for at in range(0, len(data), 3):
        now = begin + (at + 3) / size * FRAME_SECONDS
        for event in receiver.receive(data[at : at + 3], now):
            if now > arrived and isinstance(event, VoicePacket) and event.frames[0] in sent:
                return now - arrived
    return None


def slip_cost(*, quantizers: int, seed: int, insert: bool, framing: str = "sync") -> int:
    """Frames that do not arrive whole because one byte was inserted or lost."""
    rng = random.Random(f"{seed} slip")
    setup = make_setup(quantizers=quantizers, framing=framing)
    call = make_call(setup, seconds=20.0, seed=seed)
    size = len(call.slots[0])
    data = bytearray(b"".join(call.slots))
    place = rng.randrange(len(data) // 3, len(data) // 2)
    if insert:
        data.insert(place, rng.randrange(256))
    else:
        del data[place]
    receiver = SlotReceiver(setup)
    arrived = set()
    for at in range(0, len(data), size):
        now = (at / size + 1) * FRAME_SECONDS
        for event in receiver.receive(bytes(data[at : at + size]), now):
            if isinstance(event, VoicePacket):
                tick = _unwrap(event.tick, near=at // size)
                if call.frames.get(tick) == event.frames[0]:
                    arrived.add(tick)
    return len(call.frames) - len(arrived)


def cost(*, quantizers: int, ber: float, seconds: float = 60.0) -> tuple[float, float]:
    """Milliseconds of processor time per frame to send and to receive."""
    setup = make_setup(quantizers=quantizers)
    started = time.process_time()
    call = make_call(setup, seconds=seconds, seed=1)
    sent = time.process_time()
    damaged = [
        np.packbits(np.unpackbits(np.frombuffer(slot, np.uint8)) ^ errors).tobytes()
        for slot, errors in zip(
            call.slots,
            map(_independent(ber, np.random.default_rng(1)), [8 * len(s) for s in call.slots]),
            strict=True,
        )
    ]
    receiver = SlotReceiver(setup)
    begun = time.process_time()
    for number, slot in enumerate(damaged):
        receiver.receive(slot, (number + 1) * FRAME_SECONDS)
    ended = time.process_time()
    return 1000 * (sent - started) / len(call.slots), 1000 * (ended - begun) / len(call.slots)


_BURST_BITS: Final = 12


def _errors(*, seeds: int) -> None:
    print("| books | bit errors | first book | first 4 | all | wrong, passed | not locked |")
    print("|---|---|---|---|---|---|---|")
    for quantizers in (8, 7, 6, 5, 4):
        for ber in (1e-3, 1e-2, 2e-2):
            runs = [with_errors(quantizers=quantizers, ber=ber, seed=seed) for seed in range(seeds)]
            print(_row(f"{quantizers} | {ber:g}", runs), flush=True)


def _bursts(*, seeds: int) -> None:
    print(f"Bursts of {_BURST_BITS} bits, half of them wrong; 1 % wrong bits in all\n")
    for quantizers in (8, 6, 4):
        for depth in (1, 2, 4, 8):
            runs = []
            for seed in range(max(1, seeds // 4)):
                call = make_call(
                    make_setup(quantizers=quantizers, depth=depth), seconds=60.0, seed=seed
                )
                rng = np.random.default_rng(seed)
                runs.append(over_errors(call, errors=bursts(ber=0.01, length=_BURST_BITS, rng=rng)))
            print(_row(f"{quantizers} | {depth} slots", runs), flush=True)


def _joins(*, starts: int) -> None:
    for framing, quantizers in (("sync", 8), ("sync", 6), ("8n1", 6)):
        for outage in (0.0, 10.0):
            times = [
                join_time(quantizers=quantizers, seed=seed, framing=framing, outage=outage)
                for seed in range(starts)
            ]
            _print_join(f"{framing}, {quantizers} books, outage {outage:g} s", times)


def _slips(*, places: int) -> None:
    for framing, quantizers in (("sync", 8), ("sync", 6), ("8n1", 6)):
        for insert in (True, False):
            costs = [
                slip_cost(quantizers=quantizers, seed=seed, insert=insert, framing=framing)
                for seed in range(places)
            ]
            print(
                f"{framing}, {quantizers} books, a byte {'too many' if insert else 'lost'}: "
                f"{statistics.mean(costs):.2f} frames lost (mean), {max(costs)} (most)",
                flush=True,
            )


def _secured(*, starts: int) -> None:
    for framing, quantizers in (("sync", 7), ("8n1", 5)):
        for every in (0.64, 1.28, 2.56, 5.0):
            security = SecurityConfig(mode="encrypted", announce_seconds=every)
            times = [
                join_time(quantizers=quantizers, seed=seed, framing=framing, security=security)
                for seed in range(starts)
            ]
            _print_join(f"{framing}, {quantizers} books, encrypted, told every {every:g} s", times)
        security = SecurityConfig(mode="encrypted")
        times = [
            join_time(
                quantizers=quantizers, seed=seed, framing=framing, security=security, outage=10.0
            )
            for seed in range(starts)
        ]
        _print_join(f"{framing}, {quantizers} books, encrypted, outage 10 s", times)


def _costs() -> None:
    for quantizers in (8, 6):
        for ber in (0.0, 1e-3, 1e-2):
            sending, receiving = cost(quantizers=quantizers, ber=ber)
            print(
                f"{quantizers} books, bit errors {ber:g}: {sending:.3f} ms to send a frame, "
                f"{receiving:.3f} ms to receive one"
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", help=f"some of: {', '.join(_PARTS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=20, help="calls per row")
    parser.add_argument("--joins", type=int, default=200, help="starts, outages and slips per line")
    args = parser.parse_args()
    for part in args.part or _PARTS:
        if part not in _PARTS:
            parser.error(f"unknown part {part}: use some of {', '.join(_PARTS)}")
        _PARTS[part](args)


_PARTS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "errors": lambda args: _errors(seeds=args.seeds),
    "bursts": lambda args: _bursts(seeds=args.seeds),
    "joins": lambda args: _joins(starts=args.joins),
    "slips": lambda args: _slips(places=args.joins),
    "secured": lambda args: _secured(starts=args.joins),
    "cost": lambda _: _costs(),
}


def _print_join(name: str, times: list[float | None]) -> None:
    found = sorted(one for one in times if one is not None)
    print(
        f"{name}: voice after {statistics.median(found):.2f} s (median), "
        f"{found[-1]:.2f} s (most), {len(found)} of {len(times)}",
        flush=True,
    )


def _row(name: str, runs: list[Errors]) -> str:
    columns = ("first", "four", "whole", "false", "unlocked")
    means = [statistics.mean(getattr(run, column) for run in runs) for column in columns]
    return f"| {name} | " + " | ".join(f"{100 * mean:.2f} %" for mean in means) + " |"


if __name__ == "__main__":
    main()
