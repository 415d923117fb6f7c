"""What security costs a processor: python -m benchmarks.security

For both modes of the wire and all modes of security: milliseconds per frame to pack and to unpack,
the best of five calls of 40 s, checks and keys included, without a codec.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.keys import PresharedKey
from transport.replay import Ledger
from transport.security import ReceiverSecurity, SecurityMode, SenderSecurity, Suite
from transport.wire import CodecLabel, WireSetup, open_transmitter, open_wire_receiver

_FRAMES = 500
_LEAD = 20
_QUANTIZERS = 7
_KEY = PresharedKey(bytes(32))


def with_keys(setup: WireSetup) -> WireSetup:
    """The setup with what its [security] asks for at both ends."""
    if setup.security.mode == "off":
        return setup
    suite = Suite(mode=SecurityMode(setup.security.mode), tag_bytes=setup.security.tag_bytes)
    return replace(
        setup,
        outgoing=SenderSecurity(
            key=_KEY,
            suite=suite,
            station=1,
            clock=1.8e9,
            ledger=Ledger(),
            random_bits=random.Random(1).getrandbits,
        ),
        incoming=ReceiverSecurity(key=_KEY, suite=suite, ledger=Ledger()),
    )


def measure(mode: str, security: str) -> tuple[float, float]:
    """Milliseconds per frame to pack and to unpack."""
    plain = WireSetup(
        link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
        wire=WireConfig(frames_per_packet=7, mode=mode),
        label=CodecLabel(name="compact", version=1, quantizers=_QUANTIZERS),
        security=SecurityConfig(mode=security),
    )
    setup = with_keys(plain)
    rng = random.Random(1)
    frames = [Frame(tuple(rng.randrange(2048) for _ in range(_QUANTIZERS))) for _ in range(_FRAMES)]
    sender = open_transmitter(setup)
    receiver = open_wire_receiver(setup, datagram=False)
    sent: list[tuple[float, bytes]] = []
    began = time.process_time()
    for tick in range(_LEAD + _FRAMES):
        now = tick * FRAME_SECONDS
        place = tick - _LEAD
        if place < 0:
            sender.silence(Silence(), tick=tick, now=now)
        else:
            last = place == _FRAMES - 1
            sender.voice(frames[place], tick=tick, start=place == 0, end=last, now=now)
        sent += [(now, one.data) for one in sender.poll(now)]
    packed = time.process_time()
    for at, data in sent:
        receiver.receive(data, at + FRAME_SECONDS)
    unpacked = time.process_time()
    return 1000 * (packed - began) / _FRAMES, 1000 * (unpacked - packed) / _FRAMES


def main() -> None:
    """Print a table in Markdown."""
    print("| wire | security | pack, ms per frame | unpack |\n|---|---|---|---|")
    for mode in ("packets", "slots"):
        for security in ("off", "authenticated", "encrypted"):
            pack, unpack = map(min, zip(*(measure(mode, security) for _ in range(5)), strict=True))
            print(f"| {mode} | {security} | {pack:.3f} | {unpack:.3f} |")


if __name__ == "__main__":
    main()
