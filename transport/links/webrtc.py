"""Packets as messages of a WebRTC data channel, unordered and never sent again (RFC 8831)."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from linkcodec.exceptions import ConfigError, LinkError
from transport.config import THIS_MACHINE, LinkConfig, WebRtcConfig, parse_address
from transport.links.base import Link
from transport.signalling import (
    Description,
    FolderSignalling,
    HttpSignalling,
    PasteSignalling,
    Signalling,
)

__all__ = ["DataChannelLink", "describe", "import_aiortc", "open_channel"]

_LABEL: Final = "linkcodec"
_MOST_BUFFERED: Final = 512
"""Bytes that may wait in the channel: two of the longest packets."""

_MOST_BYTES: Final = 2048
_QUEUED: Final = 1000
_PING_SECONDS: Final = 1.0
_DEAD_SECONDS: Final = 4.0
_OPEN_SECONDS: Final = 15.0
_REDIAL_SECONDS: Final = 1.0
_READY_SECONDS: Final = 10.0


class DataChannelLink(Link):
    """One end of a data channel; calls again, or answers again, whenever it is lost.

    calls: this end makes the offer. stun: server for the public address, or "".
    Empty messages every second tell each end that the other one lives.

    Raises:
        LinkError: aiortc is missing, or calls cannot be answered here.
    """

    datagram = True

    def __init__(self, signalling: Signalling, *, calls: bool, name: str, stun: str = "") -> None:
        super().__init__()
        self.name = f"webrtc {name}"
        self._rtc = import_aiortc("kind webrtc")
        self._signalling = signalling
        self._stun = stun
        self._inbox: queue.Queue[bytes] = queue.Queue(_QUEUED)
        self._channel: Any = None
        self._connection: Any = None
        self._heard_at = 0.0
        self._was_up = False
        self._failure: LinkError | None = None
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(
            target=self._run, args=(self._call() if calls else self._answer(),), daemon=True
        )
        self._thread.start()
        self._ready.wait(_READY_SECONDS)
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    @property
    def up(self) -> bool:
        channel = self._channel
        alive = time.monotonic() - self._heard_at < _DEAD_SECONDS
        return channel is not None and channel.readyState == "open" and alive

    def send(self, data: bytes) -> bool:
        channel = self._channel
        if channel is None or not self.up or channel.bufferedAmount > _MOST_BUFFERED:
            self.statistics.sends_dropped += 1
            return False
        self._loop.call_soon_threadsafe(self._put, channel, data)
        self.statistics.bytes_sent += len(data)
        return True

    @staticmethod
    def _put(channel: Any, data: bytes) -> None:
        if channel.readyState == "open":
            channel.send(data)

    def receive(self, timeout: float) -> list[bytes]:
        if self._failure is not None:
            raise self._failure
        chunks: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            chunks.append(
                self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get(False)
            )
            while True:
                chunks.append(self._inbox.get_nowait())
        self.statistics.bytes_received += sum(map(len, chunks))
        return chunks

    def close(self) -> None:
        stop = self._stop
        if stop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(work))
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self, work: Coroutine[Any, Any, None]) -> None:
        self._stop = asyncio.Event()
        stopped = asyncio.create_task(self._stop.wait())
        working = asyncio.create_task(work)
        alive = asyncio.create_task(self._keep_alive())
        self._loop.call_later(0.2, self._ready.set)
        await asyncio.wait([stopped, working], return_when=asyncio.FIRST_COMPLETED)
        if working.done() and isinstance(error := working.exception(), LinkError):
            self._failure = error
        for task in (stopped, working, alive):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkError):
                await task
        await self._disconnect()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            if self.up:
                self._channel.send(b"")

    def _new_connection(self) -> Any:
        servers = [self._rtc.RTCIceServer(urls=self._stun)] if self._stun else []
        return self._rtc.RTCPeerConnection(self._rtc.RTCConfiguration(iceServers=servers))

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await connection.close()

    def _join(self, channel: Any) -> None:
        """Listen to a channel that is, or will be, open."""
        self._channel = channel
        self._heard_at = time.monotonic()

        def take(message: object) -> None:
            self._heard_at = time.monotonic()
            # Whole packets of bounded size; an empty message only says that the peer lives.
            if isinstance(message, bytes) and 0 < len(message) <= _MOST_BYTES:
                with contextlib.suppress(queue.Full):
                    self._inbox.put_nowait(message)

        channel.on("message", take)

    def _came_up(self) -> None:
        self.statistics.reopens += self._was_up
        self._was_up = True
        self.trouble = ""

    async def _call(self) -> None:
        """Call, and call again whenever the other end is gone."""
        while True:
            try:
                await self._dial()
                self._came_up()
                while self.up:
                    await asyncio.sleep(_PING_SECONDS / 4)
                self.trouble = "the other end is gone"
            except LinkError as error:
                self.trouble = str(error)
            await self._disconnect()
            await asyncio.sleep(_REDIAL_SECONDS)

    async def _dial(self) -> None:
        connection = self._connection = self._new_connection()
        channel = connection.createDataChannel(_LABEL, ordered=False, maxRetransmits=0)
        opened = asyncio.Event()
        channel.on("open", opened.set)
        await connection.setLocalDescription(await connection.createOffer())
        answer = await self._signalling.call(describe(connection))
        try:
            await connection.setRemoteDescription(self._rtc.RTCSessionDescription(**answer))
            async with asyncio.timeout(_OPEN_SECONDS):
                await opened.wait()
        except TimeoutError:
            raise LinkError("the other end answered, but no channel opened") from None
        except Exception:  # What a strange description makes aiortc raise is written nowhere.
            raise LinkError("the other end's answer cannot be used") from None
        self._join(channel)

    async def _answer(self) -> None:
        """Answer calls; the newest one counts, since its caller knows best."""

        async def take(offer: Description) -> Description:
            connection = self._new_connection()

            def joined(channel: Any) -> None:
                if channel.label == _LABEL and self._connection is connection:
                    self._join(channel)
                    self._came_up()

            connection.on("datachannel", joined)
            try:
                await connection.setRemoteDescription(self._rtc.RTCSessionDescription(**offer))
                await connection.setLocalDescription(await connection.createAnswer())
            except Exception:
                await connection.close()
                raise LinkError("an offer that cannot be used") from None
            await self._disconnect()
            self._connection = connection
            return describe(connection)

        await self._signalling.serve(take)


def describe(connection: Any) -> Description:
    """The local description of a connection."""
    description = connection.localDescription
    return {"type": description.type, "sdp": description.sdp}


def import_aiortc(what: str) -> Any:
    """The module aiortc, slow to import, which `what` needs.

    Raises:
        LinkError: it is not installed.
    """
    try:
        import aiortc  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise LinkError(
            f"{what} needs the package aiortc: pip install 'linkcodec[webrtc]'"
        ) from None
    return aiortc


def open_channel(config: LinkConfig, webrtc: WebRtcConfig, *, sends: bool) -> DataChannelLink:
    """The data channel of a configuration: an end that only receives, or has `bind` and no
    `peer`, answers; the other one calls.

    Raises:
        ConfigError: an address is missing.
        LinkError: aiortc is missing, or calls cannot be answered here.
    """
    calls = sends and not (config.bind and not config.peer)
    signalling: Signalling
    name = webrtc.signalling
    if webrtc.signalling == "-":
        signalling, name = PasteSignalling(), "by copy and paste"
    elif webrtc.signalling != "http":
        folder = Path(webrtc.signalling)
        if not folder.is_dir():
            raise ConfigError(f"webrtc.signalling = '{folder}' is no folder: make it, or use http")
        signalling = FolderSignalling(folder)
    else:
        field, name = ("peer", config.peer) if calls else ("bind", config.bind)
        if not name:
            raise ConfigError(f"link.{field} is missing: an address such as 192.0.2.7:8080")
        host, port = parse_address(name, f"link.{field}")
        if not (calls or webrtc.token or host in THIS_MACHINE):
            raise ConfigError(
                f"webrtc.token is missing: whoever reaches {name} could call; set the same long "
                "random text at both ends"
            )
        signalling = HttpSignalling(host, port, token=webrtc.token)
    return DataChannelLink(signalling, calls=calls, name=name, stun=webrtc.stun)
