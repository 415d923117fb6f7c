"""Write the test vectors of slot mode: python scripts/make_slot_vectors.py

The file belongs into the repository and changes only when the slot format does; the tests
compare it with this script's output and decode it with a decoder of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.config import LinkConfig, SecurityConfig, StationConfig, WireConfig
from transport.keys import PresharedKey
from transport.replay import Ledger
from transport.security import SecurityMode, SenderSecurity, Suite
from transport.slot_sender import SlotTransmitter
from transport.wire import CodecLabel, WireSetup

VECTORS = Path(__file__).parent.parent / "tests" / "vectors" / "slot-format-2.json"

LINES = (
    ("sync", 1200, 8, 1, 136),
    ("sync", 1200, 7, 1, 136),
    ("sync", 1200, 6, 1, 136),
    ("sync", 1200, 5, 2, 136),
    ("8n1", 1200, 6, 1, 264),
    ("8n1", 1200, 4, 1, 264),
    ("8n1", 2400, 12, 1, 136),
)
"""Framing, rate, indices per frame, depth of the interleaver, ticks of the call: first silence,
then speech over a block of the side channel."""

SECURED = (
    ("sync", 1200, 7, 1, 136, "authenticated"),
    ("sync", 1200, 7, 1, 136, "encrypted"),
    ("sync", 1200, 5, 2, 136, "encrypted"),
    ("8n1", 1200, 5, 1, 264, "encrypted"),
)
"""The same with security."""

_SILENT = range(6)
_KEY = bytes(range(32))
_STATION = 9


def call(
    framing: str, rate: int, quantizers: int, depth: int, ticks: int, *, mode: str = "off"
) -> dict[str, Any]:
    """A call: its slots in hexadecimal, and the frames by tick."""
    outgoing = None if mode == "off" else _security(mode)
    setup = WireSetup(
        link=LinkConfig(kind="loopback", rate=rate, framing=framing),
        wire=WireConfig(frames_per_packet=1, mode="slots", interleaver_slots=depth),
        label=CodecLabel(name="compact", version=1, quantizers=quantizers, weights=0xBEEF),
        station=StationConfig(call_sign="DL1ABC/P"),
        security=SecurityConfig(mode=mode, announce_seconds=5.0),
        outgoing=outgoing,
    )
    transmitter = SlotTransmitter(setup)
    frames: dict[int, list[int]] = {}
    slots: list[str] = []
    for tick in range(ticks):
        now = (tick + 1) * FRAME_SECONDS
        if tick in _SILENT:
            transmitter.silence(Silence(-57.0, colour=0xABC), tick=tick + 1, now=now)
        else:
            # Indices that look random and can be made anywhere.
            frames[tick] = [(1103 * (tick * quantizers + i) + 12) % 2048 for i in range(quantizers)]
            transmitter.voice(
                Frame(tuple(frames[tick])),
                tick=tick,
                start=tick == len(_SILENT),
                end=tick == ticks - 1,
                now=now,
            )
        slots += [departure.data.hex() for departure in transmitter.poll(now)]
    transmitter.finish(tick=ticks, now=ticks * FRAME_SECONDS)
    while not transmitter.done:
        following = transmitter.next_time()
        assert following is not None
        slots += [departure.data.hex() for departure in transmitter.poll(following)]
    return {
        "framing": framing,
        "rate": rate,
        "quantizers": quantizers,
        "interleaver_slots": depth,
        "frames": {str(tick): indices for tick, indices in frames.items()},
        "slots": slots,
    }


def _security(mode: str) -> SenderSecurity:
    return SenderSecurity(
        key=PresharedKey(_KEY),
        suite=Suite(mode=SecurityMode(mode)),
        station=_STATION,
        clock=1.8e9,
        ledger=Ledger(),
        random_bits=lambda bits: 0xCAFE % (1 << bits),
    )


def secured(*line: Any) -> dict[str, Any]:
    """A call with security, and what opens it."""
    *plain, mode = line
    return {
        "mode": mode,
        "key": _KEY.hex(),
        "station": _STATION,
        "session": f"{_security(mode).at(0).number:012x}",
        **call(*plain, mode=mode),
    }


def vectors() -> dict[str, Any]:
    """The content of the vector file."""
    return {
        "format_version": 2,
        "calls": [call(*line) for line in LINES],
        "secured": [secured(*line) for line in SECURED],
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors()) + "\n")
