"""`linkcodec key`: make and check the pre-shared key of a call."""

from __future__ import annotations

import argparse

from linkcodec.app.command import check_output_path, write_line
from linkcodec.app.security import read_key, write_key
from transport.keys import PresharedKey

__all__ = ["add_arguments", "key"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `linkcodec key`."""
    parser.description = (
        "Make a key for [security], or check one. 'new' writes FILE, which must not exist and\n"
        "which only its owner may read; carry it to the other stations on a way that you trust.\n"
        "'check' reads FILE as the daemons do. Both print its fingerprint, which does not reveal\n"
        "the key: equal fingerprints mean equal keys."
    )
    parser.epilog = (
        "example:\n"
        "  linkcodec key new ~/.config/linkcodec/net.key\n"
        '  and in the configuration: [security] mode = "encrypted", key_file = "..."'
    )
    parser.add_argument("action", choices=("new", "check"), help="what to do")
    parser.add_argument("file", metavar="FILE", help="the key file")


def key(args: argparse.Namespace) -> int:
    """Run `linkcodec key`."""
    if args.action == "new":
        check_output_path(args.file, what="key")
        made = PresharedKey.generate()
        write_key(args.file, made)
        write_line(f"{args.file}: a new key, fingerprint {made.fingerprint}")
    else:
        fingerprint = read_key(args.file).fingerprint
        write_line(f"{args.file}: a key that only its owner may read, fingerprint {fingerprint}")
    return 0
