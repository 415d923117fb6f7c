"""The link of a call."""

from __future__ import annotations

from linkcodec.app.config import CallConfig
from transport.links import Link, open_link

__all__ = ["describe_link", "open_call_link"]


def open_call_link(config: CallConfig, *, sends: bool = True, receives: bool = True) -> Link:
    """Open what a configuration describes; `sends`, `receives`: what this end will do.

    Raises:
        ConfigError: a field that this end needs is missing.
        LinkError: the port or socket cannot be opened.
    """
    return open_link(
        config.link,
        channel=config.channel,
        serial=config.serial,
        kiss=config.kiss,
        webrtc=config.webrtc,
        station=config.station,
        sends=sends,
        receives=receives,
    )


def describe_link(link: Link) -> str:
    """One line about a link that went down or came up."""
    if link.up:
        return f"{link.name} is back"
    return f"{link.name} is gone, waiting for it" + (f": {link.trouble}" if link.trouble else "")
