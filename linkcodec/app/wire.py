"""`linkcodec wire dump`: what went over a link, field by field; and capturing it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Final

from linkcodec.app.command import check_output_path, write_line
from linkcodec.app.config import CallConfig, load_config
from linkcodec.app.security import listening_security
from linkcodec.exceptions import InputError, LinkcodecError, PacketError
from transport.capture import (
    Capture,
    CaptureHeader,
    CaptureWriter,
    RecordedLink,
    RecordingLink,
)
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.explain import NO_PACKET, Explanation, explain
from transport.framing import StreamDeframer
from transport.links import Link
from transport.packet import VoicePacket
from transport.sealing import PacketOpener
from transport.wire import CodecLabel, WireSetup, open_wire_receiver

__all__ = ["add_arguments", "dump", "dump_lines", "recorded_link", "recording"]

_NO_KEY: Final = SecurityConfig()


def recording(link: Link, path: str | None, config: CallConfig) -> Link:
    """The link, captured into a file if `path` names one.

    Raises:
        InputError: the file cannot be written; the link is closed then.
        LinkError: likewise.
    """
    if path is None:
        return link
    header = CaptureHeader(
        mode=config.wire.mode,
        framing=config.link.framing,
        rate=config.link.rate,
        datagram=link.datagram,
    )
    try:
        check_output_path(path, what="capture")
        return RecordingLink(link, CaptureWriter(path, header), clock=time.monotonic)
    except LinkcodecError:
        link.close()
        raise


def recorded_link(path: str, config: CallConfig) -> RecordedLink:
    """A link that plays a capture.

    Raises:
        InputError: the file is no capture, or one of another mode than `config` has.
    """
    capture = Capture.read(path)
    if capture.header.mode != config.wire.mode:
        raise InputError(
            f"{path}: recorded with wire.mode = '{capture.header.mode}', the configuration has "
            f"'{config.wire.mode}': use the configuration of the recording"
        )
    return RecordedLink(capture, name=path, clock=time.monotonic, sleep=time.sleep)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec wire`."""
    parser.description = (
        "Explain a capture, as `linkcodec send --record-wire FILE` makes them: one line per\n"
        "packet or slot with its time and its bytes, then its fields."
    )
    parser.add_argument("action", choices=("dump",), help="what to do")
    parser.add_argument("capture", metavar="FILE", help="capture to read")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration whose [security] opens what is sealed (default: no key)",
    )


def dump(args: argparse.Namespace) -> int:
    """Run `linkcodec wire dump`."""
    security = load_config(args.config).security if args.config else SecurityConfig()
    for line in dump_lines(Capture.read(args.capture), security):
        write_line(line)
    return 0


def dump_lines(capture: Capture, security: SecurityConfig = _NO_KEY) -> Iterator[str]:
    """The explanation of a capture.

    Raises:
        SecurityError: `security` names a key that cannot be used.
    """
    header = capture.header
    total = sum(len(stretch.data) for stretch in capture.stretches)
    yield f"{header.mode} over {header.framing} at {header.rate} bit/s, {total} bytes"
    if header.mode == "packets":
        yield from _packet_lines(capture, PacketOpener(listening_security(security)))
    else:
        yield from _event_lines(capture, security)


def _packet_lines(capture: Capture, opener: PacketOpener) -> Iterator[str]:
    deframer = None if capture.header.datagram else StreamDeframer()
    for stretch in capture.stretches:
        for piece in [stretch.data] if deframer is None else deframer.push(stretch.data):
            explanation = _explain(piece, opener, stretch.time)
            yield f"{stretch.time:9.3f} s  {explanation.name}, {len(piece)} bytes: {piece.hex()}"
            for name, value in explanation.fields:
                yield f"{'':13}{name}: {value}"
    if deframer is not None and deframer.damaged:
        yield f"{deframer.damaged} stretches were no packets: broken COBS, or too long"


def _explain(piece: bytes, opener: PacketOpener, now: float) -> Explanation:
    """A packet, sealed or not."""
    try:
        plain = opener.open(piece, now)
    except PacketError as error:
        return _not_opened(opener.problem or str(error))
    explanation = explain(piece if plain is None else plain)
    if plain is None or plain == piece:
        unknown = explanation.name == NO_PACKET
        return _not_opened(opener.problem) if unknown and opener.problem else explanation
    tag = "not checked, there is no key" if opener.notice else "right"
    fields = [(name, value) for name, value in explanation.fields if name != "CRC"]
    return Explanation(name=f"sealed {explanation.name}", fields=(*fields, ("tag", tag)))


def _not_opened(reason: str) -> Explanation:
    return Explanation(name="not opened", fields=(("reason", reason),))


def _event_lines(capture: Capture, security: SecurityConfig) -> Iterator[str]:
    """What a receiver makes of slots; their bits mean nothing one by one."""
    header = capture.header
    setup = WireSetup(
        link=LinkConfig(kind="loopback", rate=header.rate, framing=header.framing),
        wire=WireConfig(frames_per_packet=1, mode=header.mode),
        label=CodecLabel(name="any", version=0, quantizers=16),
        security=security,
        incoming=listening_security(security),
    )
    receiver = open_wire_receiver(setup, datagram=header.datagram)
    state = receiver.state
    for stretch in capture.stretches:
        for event in receiver.receive(stretch.data, stretch.time):
            if isinstance(event, VoicePacket):
                indices = "; ".join(" ".join(map(str, one.indices)) for one in event.frames)
                yield f"{stretch.time:9.3f} s  voice, tick {event.tick}: {indices}"
            else:
                yield f"{stretch.time:9.3f} s  {event}"
        receiver.problem = ""  # whatever codec it is: nothing is decoded here
        if receiver.state is not state:
            state = receiver.state
            yield f"{stretch.time:9.3f} s  receiver is {state.value}"
