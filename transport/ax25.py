"""AX.25 UI frames as a KISS modem takes them: no flags, no FCS (AX.25 2.2, sections 3 and 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from linkcodec.exceptions import ConfigError, PacketError

__all__ = ["MOST_INFO", "Station", "UiFrame"]

MOST_INFO: Final = 256
"""Bytes of information in a frame at most (N1, section 6.7.2.3)."""

_CALL: Final = re.compile(r"([A-Z0-9]{1,6})(?:-(1[0-5]|[0-9]))?")
_ADDRESS_BYTES: Final = 7
_MOST_ADDRESSES: Final = 10
_UI: Final = 0x03
_POLL: Final = 0x10
_NO_LAYER_3: Final = 0xF0


@dataclass(frozen=True)
class Station:
    """A call sign of up to six letters and digits, and a number (SSID) of 0 to 15."""

    call: str
    ssid: int = 0

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """The station of a text such as "N0CALL-7".

        Raises:
            ConfigError: it is no call sign; the text names `field`.
        """
        match = _CALL.fullmatch(text.upper())
        if match is None:
            raise ConfigError(
                f"{field} = '{text}' is no call sign: up to six letters and digits, and a number "
                "of 0 to 15 if you need one, such as N0CALL-7"
            )
        return cls(match[1], int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.call}-{self.ssid}" if self.ssid else self.call


@dataclass(frozen=True, kw_only=True)
class UiFrame:
    """Unnumbered information without connection, to nobody's acknowledgement.

    digipeaters: stations that repeat it, seldom of use for speech.
    """

    destination: Station
    source: Station
    info: bytes
    digipeaters: tuple[Station, ...] = ()

    def serialise(self) -> bytes:
        """The frame from the first address to the last byte of information.

        Raises:
            ValueError: the information is longer than `MOST_INFO`.
        """
        if len(self.info) > MOST_INFO:
            raise ValueError(f"an AX.25 frame has up to {MOST_INFO} bytes, not {len(self.info)}")
        stations = (self.destination, self.source, *self.digipeaters)
        addresses = bytearray()
        for place, station in enumerate(stations):
            # C bits 1 and 0 make it a command (section 6.1.2); both reserved bits are set.
            last = place == len(stations) - 1
            flags = 0x60 | station.ssid << 1 | (0x80 if place == 0 else 0) | last
            addresses += bytes(ord(letter) << 1 for letter in station.call.ljust(6))
            addresses.append(flags)
        return bytes(addresses) + bytes([_UI, _NO_LAYER_3]) + self.info

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The UI frame in `data`.

        Raises:
            PacketError: these bytes are no UI frame without a layer 3.
        """
        stations: list[Station] = []
        place = 0
        while True:
            field = data[place : place + _ADDRESS_BYTES]
            place += _ADDRESS_BYTES
            if len(field) < _ADDRESS_BYTES or len(stations) == _MOST_ADDRESSES:
                raise PacketError("an AX.25 frame whose addresses do not end")
            call = bytes(letter >> 1 for letter in field[:6]).decode("ascii").rstrip(" ")
            if any(letter & 1 for letter in field[:6]) or not _CALL.fullmatch(call):
                raise PacketError("an AX.25 frame with an address that is no call sign")
            stations.append(Station(call, field[6] >> 1 & 0x0F))
            if field[6] & 1:
                break
        info = data[place + 2 :]
        if len(stations) < 2:
            raise PacketError("an AX.25 frame without a source")
        if len(data) < place + 2 or data[place] & ~_POLL != _UI or data[place + 1] != _NO_LAYER_3:
            raise PacketError("an AX.25 frame of another kind than UI")
        if len(info) > MOST_INFO:
            raise PacketError("an AX.25 frame that is too long")
        destination, source, *digipeaters = stations
        return cls(
            destination=destination, source=source, info=info, digipeaters=tuple(digipeaters)
        )
