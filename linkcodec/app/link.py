"""The link of a call."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from linkcodec.app.config import CallConfig
from linkcodec.exceptions import LinkcodecError
from transport.links import Link, open_link

__all__ = ["CallLink", "describe_link", "open_call_link"]

_FIELDS: Final = {
    "udp": ("bind", "peer"),
    "loopback": ("bind", "peer"),
    "serial": ("port", "baud"),
    "kiss": ("port", "baud", "peer"),
    "webrtc": (),
}
_SECTIONS: Final = {"loopback": ("channel",), "serial": ("serial",), "kiss": ("kiss",)}
"""What can change during a call, by the kind of link: fields of [link], and whole sections."""


class CallLink(Link):
    """The link that a configuration describes; ports, addresses and modems may change.

    link: the one that is open now.

    Args:
        sends, receives: what this end will do.

    Raises:
        ConfigError: a field that this end needs is missing.
        LinkError: the port or socket cannot be opened.
    """

    def __init__(self, config: CallConfig, *, sends: bool, receives: bool) -> None:
        super().__init__()
        self._config = config
        self._sends = sends
        self._receives = receives
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        self._failure: LinkcodecError | None = None
        self.link = self._opened(config)
        self.statistics = self.link.statistics
        self.datagram = self.link.datagram
        self.half_duplex = self.link.half_duplex
        self.name = self.link.name

    def _opened(self, config: CallConfig) -> Link:
        return open_link(
            config.link,
            channel=config.channel,
            serial=config.serial,
            kiss=config.kiss,
            webrtc=config.webrtc,
            station=config.station,
            sends=self._sends,
            receives=self._receives,
        )

    @property
    def up(self) -> bool:
        self.trouble = self.link.trouble
        return self.link.up

    def send(self, data: bytes) -> bool:
        with self._sending:
            self._check()
            return self.link.send(data)

    def over(self, talking: bool) -> None:
        with self._sending:
            self.link.over(talking)

    def receive(self, timeout: float) -> list[bytes]:
        with self._receiving:
            self._check()
            return self.link.receive(timeout)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def configure(self, config: CallConfig) -> list[str]:
        """Go on over another port, address or modem; gives the names of the fields for that.

        Raises:
            LinkcodecError: that cannot be opened; the link stays as it was.
        """
        kind = self._config.link.kind
        if config.link.kind != kind:
            return []
        fields, sections = _FIELDS[kind], _SECTIONS.get(kind, ())
        link = replace(self._config.link, **{name: getattr(config.link, name) for name in fields})
        wanted = replace(
            self._config, link=link, **{name: getattr(config, name) for name in sections}
        )
        names = [f"link.{name}" for name in fields]
        names += [f"{part}.{name}" for part in sections for name in vars(getattr(config, part))]
        if wanted != self._config:
            with self._sending, self._receiving:
                self._change(wanted)
        return names

    def _change(self, config: CallConfig) -> None:
        self.link.close()
        try:
            self.link = self._opened(config)
        except LinkcodecError:
            # The same port may be needed again, so the old link was closed first.
            try:
                self.link = self._opened(self._config)
            except LinkcodecError as error:
                self._failure = error
            raise
        else:
            self._config = config
        finally:
            self.link.statistics = self.statistics
            self.name = self.link.name

    def close(self) -> None:
        self.link.close()


def open_call_link(config: CallConfig, *, sends: bool = True, receives: bool = True) -> CallLink:
    """Open what a configuration describes; `sends`, `receives`: what this end will do.

    Raises:
        ConfigError: a field that this end needs is missing.
        LinkError: the port or socket cannot be opened.
    """
    return CallLink(config, sends=sends, receives=receives)


def describe_link(link: Link) -> str:
    """One line about a link that went down or came up."""
    if link.up:
        return f"{link.name} is back"
    return f"{link.name} is gone, waiting for it" + (f": {link.trouble}" if link.trouble else "")
