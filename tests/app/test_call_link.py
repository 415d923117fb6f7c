"""The link of a call, and what a half-duplex one is spared."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import tonecodec

from linkcodec.app.config import CallConfig, parse_config
from linkcodec.app.link import describe_link, open_call_link
from linkcodec.exceptions import ConfigError
from sender import SenderCore
from transport.links import KissLink, MemoryLink
from transport.wire import Departure

CALL = """
[codec]
name = "tone"
[link]
kind = "kiss"
rate = 9600
framing = "kiss"
peer = "{peer}"
[station]
call_sign = "{call}"
[kiss]
destination = "TEST"
[wire]
frames_per_packet = 4
"""


def config(*, peer: str = "127.0.0.1:1", call: str = "N0CALL-1") -> CallConfig:
    return parse_config(CALL.format(peer=peer, call=call), source="test")


def test_sections_reach_the_link() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = f"127.0.0.1:{server.getsockname()[1]}"
        with open_call_link(config(peer=peer)) as link, server.accept()[0] as modem:
            assert isinstance(link, KissLink)
            link.send(b"voice")
            # Destination, in AX.25's letters, right after KISS's delimiter and command.
            assert modem.recv(100)[2:8] == bytes(ord(letter) << 1 for letter in "TEST  ")
    with pytest.raises(ConfigError, match=r"station.call_sign is missing"):
        open_call_link(config(call=""))


@pytest.mark.parametrize("mode", ["packets", "slots"])
def test_only_repetitions_in_a_silence_are_keep_alives(mode: str) -> None:
    """A radio is keyed for speech and for what ends it, not because nobody speaks."""
    text = CALL.format(peer="127.0.0.1:1", call="").replace("kiss", "loopback", 1)
    text = text.replace('framing = "kiss"', 'framing = "sync"').replace(
        "[wire]", f'[wire]\nmode = "{mode}"'
    )
    settings = parse_config(text, source="test")
    core = SenderCore(codec=tonecodec.ToneCodec(), config=settings)
    speech = tonecodec.speech_like(2.0)
    noise = 1e-4 * np.random.default_rng(1).standard_normal(16_000 * 30)
    pcm = np.concatenate([speech, noise]).astype(np.float32)
    departures: list[tuple[float, Departure]] = []
    for start in range(0, pcm.size, 160):
        now = (start + 160) / 16_000
        core.push(pcm[start : start + 160], now)
        departures += [(now, departure) for departure in core.poll(now)]
        if 0.5 < now < 1.9:
            assert core.talking
    assert not core.talking
    assert all(not departure.keep_alive for _, departure in departures if departure.ticks)
    assert any(departure.ticks for _, departure in departures)
    late = [departure for now, departure in departures if now > 6.0]
    assert late
    assert all(departure.keep_alive for departure in late)


def test_words_about_a_link() -> None:
    link, other = MemoryLink.pair()
    assert describe_link(link) == "memory is back"
    other.close()
    link.close()
    assert describe_link(link) == "memory is gone, waiting for it"
    link.trouble = "no call: BUSY"
    assert describe_link(link) == "memory is gone, waiting for it: no call: BUSY"
