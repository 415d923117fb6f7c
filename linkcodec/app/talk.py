"""`linkcodec talk`: both directions of a call in one process, over one link."""

from __future__ import annotations

import argparse
import sys
import threading

import receiver
import sender
from linkcodec.app.audio import open_sink, open_source
from linkcodec.app.codecs import open_codec
from linkcodec.app.command import StopFlag
from linkcodec.app.link import open_call_link
from linkcodec.app.options import CHANNEL_OPTIONS, add_config_options, read_config
from linkcodec.app.security import open_security
from linkcodec.app.status import StatusLine
from linkcodec.exceptions import LinkcodecError

__all__ = ["add_arguments", "talk"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec talk`."""
    parser.description = (
        "Speak and listen over one link. Wear headphones: nothing cancels the echo of a\n"
        "loudspeaker. Over UDP each side needs the other's address as --peer; with a loopback\n"
        "configuration you hear yourself. Ctrl-C ends the call. The status is the receiver's."
    )
    parser.epilog = (
        "example:\n  linkcodec talk --config configs/udp-lan.toml --peer 192.168.1.20:47000"
    )
    names = ("input", "output", "input-device", "output-device", "gain-db", "codec", "weights")
    link = ("quantizers", "frames-per-packet", "port", "baud", "rate", "peer", "bind")
    add_config_options(parser, (*names, *link, *CHANNEL_OPTIONS))
    parser.add_argument("--quiet", action="store_true", help="no status, only warnings and errors")


def talk(args: argparse.Namespace) -> int:
    """Run `linkcodec talk`: ends on Ctrl-C, or when the input has ended and the far end too."""
    config = read_config(args)
    codec = open_codec(config.codec)
    status = StatusLine(sys.stderr, quiet=args.quiet)
    failures: list[LinkcodecError] = []
    sent = threading.Event()
    loopback = config.link.kind == "loopback"
    with (
        open_security(
            config.security, sends=True, receives=True, hears_itself=loopback
        ) as security,
        StopFlag() as stop,
    ):
        outgoing = sender.SenderCore(codec=codec, config=config, security=security)
        source = open_source(config.audio, codec.info)
        try:
            sink = open_sink(config.audio, codec.info)
        except BaseException:
            source.close()
            raise
        try:
            with open_call_link(config) as link:
                incoming = receiver.ReceiverCore(
                    codec=codec, config=config, datagram=link.datagram, security=security
                )
                status.message(f"talking over {link.name}: {source.name} to {sink.name}")

                def speak() -> None:
                    try:
                        silent = StatusLine(sys.stderr, quiet=True)
                        sender.run(outgoing, source=source, link=link, status=silent, stop=stop)
                    except LinkcodecError as error:
                        failures.append(error)
                    finally:
                        sent.set()

                def over() -> bool:
                    return bool(failures) or (
                        sent.is_set()
                        and (bool(stop) or incoming.last_packet_at is None or incoming.buffer.ended)
                    )

                speaker = threading.Thread(target=speak, name="sender")
                speaker.start()
                try:
                    receiver.run(
                        incoming,
                        codec=codec,
                        sink=sink,
                        link=link,
                        status=status,
                        stop=over,
                        partner=outgoing.wire,
                    )
                finally:
                    stop.set()
                    speaker.join()
                sender.linger(outgoing, config)
        finally:
            source.close()
            sink.close()
            status.close()
    if failures:
        raise failures[0]
    return 0
