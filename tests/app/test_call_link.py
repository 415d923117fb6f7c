"""The link of a call, and what a half-duplex one is spared."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import tonecodec

from linkcodec.app.audio import FileSource
from linkcodec.app.command import StopFlag
from linkcodec.app.config import CallConfig, parse_config
from linkcodec.app.link import describe_link, open_call_link
from linkcodec.app.metrics import Figures, Reporter
from linkcodec.app.soundpipe import SoundPipe
from linkcodec.app.status import StatusLine
from linkcodec.app.talk import Duplex
from linkcodec.app.wire import recording
from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError, InputError, LinkError
from sender import SenderCore
from transport.links import KissLink, Link, MemoryLink
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
            assert isinstance(link.link, KissLink)
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


UDP = """
[link]
kind = "udp"
rate = 16000
framing = "udp"
bind = "{bind}"
peer = "{peer}"
[wire]
frames_per_packet = 2
"""


def udp(*, bind: str = "127.0.0.1:0", peer: str = "127.0.0.1:9") -> CallConfig:
    return parse_config(UDP.format(bind=bind, peer=peer), source="test")


def test_a_call_goes_on_to_another_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(10.0)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with open_call_link(udp()) as link:
            assert link.send(b"to nobody")
            names = link.configure(udp(peer=address))
            assert names == ["link.bind", "link.peer"]
            assert link.name == f"udp {address}"
            assert link.send(b"voice")
            assert other.recv(100) == b"voice"
            assert link.statistics.bytes_sent == len(b"to nobody" + b"voice")


def test_a_link_that_cannot_be_opened_changes_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(10.0)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with open_call_link(udp(peer=address)) as link:
            with pytest.raises(LinkError, match="cannot listen on"):
                link.configure(udp(bind="192.0.2.1:4000", peer=address))
            assert link.send(b"still here")
            assert other.recv(100) == b"still here"
            assert link.receive(0.0) == []


def test_a_link_that_cannot_come_back_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_call_link(udp()) as link:

        def refuse(config: CallConfig) -> Link:
            if config.link.peer.endswith(":7"):
                raise LinkError("cannot reach the new peer")
            raise InputError("trace.txt: no such file")

        monkeypatch.setattr(link, "_opened", refuse)
        with pytest.raises(LinkError, match="cannot reach the new peer"):
            link.configure(udp(peer="127.0.0.1:7"))
        for use in (lambda: link.send(b"voice"), lambda: link.receive(0.0)):
            with pytest.raises(InputError, match=r"trace\.txt: no such file"):
                use()


def test_a_capture_that_cannot_be_written_closes_the_link() -> None:
    link, other = MemoryLink.pair()
    with pytest.raises(InputError, match="the folder /nope for the capture is missing"):
        recording(link, "/nope/capture", udp())
    assert not link.up
    other.close()


class AllFigures(Reporter):
    """Keeps what it is given in every round."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Figures()

    def due(self, now: float) -> bool:  # noqa: ARG002
        return True

    def update(self, figures: Figures, now: float) -> None:  # noqa: ARG002
        self.seen |= figures | (self.beside or Figures())


def test_everything_with_two_directions_tells_the_figures_of_both() -> None:
    """Also what is no `linkcodec talk`: echo and gateway."""
    spoken = FileSource(iter([tonecodec.speech_like(0.08)] * 5), name="speech", frame_seconds=0.01)
    reporter = AllFigures()
    with Duplex(
        codec=tonecodec.ToneCodec(),
        config=udp(),
        source=spoken,
        sink=SoundPipe("nobody", sample_rate=tonecodec.SAMPLE_RATE),
    ) as call:
        quiet = StatusLine(sys.stderr, quiet=True)
        call.run(status=quiet, stop=StopFlag(), reporter=reporter)
    assert reporter.seen.counters["send_frames_captured_total"] > 0
    assert reporter.seen.counters["frames_received_total"] == 0


def test_whatever_ends_the_sender_ends_the_call() -> None:
    """Nobody would notice that only one of two directions is left."""

    def broken() -> Iterator[Pcm]:
        yield tonecodec.speech_like(0.08)
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        Duplex(
            codec=tonecodec.ToneCodec(),
            config=udp(),
            source=FileSource(broken(), name="speech", frame_seconds=0.01),
            sink=SoundPipe("nobody", sample_rate=tonecodec.SAMPLE_RATE),
        ) as call,
    ):
        call.run(status=StatusLine(sys.stderr, quiet=True), stop=StopFlag())


def test_another_kind_of_link_waits_for_the_next_start() -> None:
    with open_call_link(udp()) as link:
        assert link.configure(config()) == []
        assert link.send(b"as before")
