"""The gateway's end of the WebRTC connection with one browser (aiortc).

Sound travels as Opus in both directions; a data channel carries JSON: from the page
`{"talk": true}`, `{"text": "..."}` and `{"ping": 1}`, to the page what `State.snapshot` gives,
`{"heard": "..."}`, `{"problem": "..."}` and `{"pong": 1}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from fractions import Fraction
from typing import Any, Final

import numpy as np

from linkcodec.app.gateway.microphone import BrowserMicrophone
from linkcodec.app.soundpipe import SoundPipe
from linkcodec.audiofile import Resampler
from linkcodec.codec import Pcm
from linkcodec.exceptions import LinkError
from transport.links.webrtc import describe, import_aiortc
from transport.signalling import Description

__all__ = ["Browser"]

_PIECE_SECONDS: Final = 0.04
_OPUS_BPS: Final = 32_000
_MOST_MESSAGE: Final = 2048
_STATE_SECONDS: Final = 0.2
_MOST_BUFFERED: Final = 16_384
_GONE_SECONDS: Final = 8.0
"""The page says something every second; a browser that was killed says nothing."""


class Browser:
    """At most one browser at a time; one that joins takes the place of the one before.

    Everything here runs on one event loop.

    microphone, speaker: the call's source and sink. snapshot: gives the call's state.
    text: takes what was typed; gives why it cannot be sent, "" if it can.
    sample_rate: of the codec, in hertz.
    """

    def __init__(
        self,
        *,
        microphone: BrowserMicrophone,
        speaker: SoundPipe,
        snapshot: Callable[[], dict[str, object]],
        text: Callable[[str], str],
        sample_rate: int,
        stun: str = "",
    ) -> None:
        self._rtc = import_aiortc("linkcodec gateway")
        self._microphone = microphone
        self._speaker = speaker
        self._snapshot = snapshot
        self._text = text
        self._rate = sample_rate
        self._stun = stun
        self._connection: Any = None
        self._channel: Any = None
        self._heard_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.joined = 0
        """Browsers that have joined so far."""

    async def join(self, offer: Description) -> Description:
        """Answer a browser's offer.

        Raises:
            LinkError: the offer cannot be used.
        """
        rtc = self._rtc
        servers = [rtc.RTCIceServer(urls=self._stun)] if self._stun else []
        connection = rtc.RTCPeerConnection(rtc.RTCConfiguration(iceServers=servers))
        connection.on("track", lambda track: self._start(self._listen(connection, track)))
        connection.on("datachannel", lambda channel: self._open(connection, channel))
        connection.on("connectionstatechange", lambda: self._changed(connection))
        try:
            connection.addTrack(_track(rtc, self._speaker, self._rate))
            await connection.setRemoteDescription(rtc.RTCSessionDescription(**offer))
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception:  # What a strange description makes aiortc raise is written nowhere.
            await connection.close()
            raise LinkError("an offer that cannot be used") from None
        before, self._connection = self._connection, connection
        if before is not None:
            self.tell({"problem": "another window has taken the call over", "over": True})
            # What it says from now on does not count.
            self._channel, self._microphone.talking = None, False
            await asyncio.sleep(_STATE_SECONDS)
            await before.close()
        self.joined += 1
        self._speaker.flush()
        return describe(connection)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run besides, as long as this object is open."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, connection: Any, track: Any) -> None:
        """Hand over what the microphone gives, until it ends."""
        resampler: Resampler | None = None
        while track.kind == "audio":
            try:
                frame = await track.recv()
            except self._rtc.mediastreams.MediaStreamError:
                return
            if resampler is None:
                resampler = Resampler(frame.sample_rate, self._rate)
            pcm = resampler.push(_mono(frame))
            if connection is self._connection:
                self._microphone.push(pcm)

    def _open(self, connection: Any, channel: Any) -> None:
        if connection is not self._connection:
            return
        self._channel = channel
        self._heard_at = time.monotonic()
        channel.on("message", lambda message: self._take(channel, message))
        self._start(self._report(connection, channel))

    async def _report(self, connection: Any, channel: Any) -> None:
        """Tell the page how the call does, until one of the two is gone."""
        while channel.readyState == "open" and channel is self._channel:
            if time.monotonic() - self._heard_at > _GONE_SECONDS:
                await connection.close()
                return
            if channel.bufferedAmount < _MOST_BUFFERED:
                channel.send(json.dumps(self._snapshot()))
            await asyncio.sleep(_STATE_SECONDS)

    def _take(self, channel: Any, message: object) -> None:
        """What the page says; whatever else comes is ignored."""
        if channel is not self._channel:
            return
        try:
            said = json.loads(message) if isinstance(message, str) else None
        except (ValueError, RecursionError):
            return
        if not isinstance(said, dict) or len(str(message)) > _MOST_MESSAGE:
            return
        self._heard_at = time.monotonic()
        match said:
            case {"talk": bool(talking)}:
                self._microphone.talking = talking
            case {"text": str(text)}:
                if problem := self._text(text):
                    self.tell({"problem": problem})
            case {"ping": int(number)}:
                self.tell({"pong": number})

    def tell(self, message: dict[str, object]) -> None:
        """Say something to the page, if there is one."""
        channel = self._channel
        if channel is not None and channel.readyState == "open":
            channel.send(json.dumps(message))

    def _changed(self, connection: Any) -> None:
        if connection.connectionState in {"failed", "closed"} and connection is self._connection:
            self._connection = self._channel = None
            self._microphone.talking = False
            self._start(connection.close())

    async def close(self) -> None:
        """Let the browser go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _mono(frame: Any) -> Pcm:
    """An interleaved frame of 16 bits as samples from -1 to 1."""
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray().reshape(-1, channels).mean(axis=1, dtype=np.float32)
    pcm: Pcm = samples / np.float32(32768.0)
    return pcm


def _track(rtc: Any, speaker: SoundPipe, rate: int) -> Any:
    """The speaker as a track of the connection, in Opus packets of 40 ms.

    Coded here: aiortc's own encoder takes a thread switch for every 20 ms, too many for a
    busy machine.
    """
    import av

    size = round(_PIECE_SECONDS * rate)

    class SpeakerTrack(rtc.MediaStreamTrack):  # type: ignore[misc, unused-ignore]
        """Gives what arrives over the link, at the pace of this machine's clock."""

        kind = "audio"

        def __init__(self) -> None:
            super().__init__()
            self._due = time.monotonic()
            self._given = 0
            self._opus = av.CodecContext.create("libopus", "w")
            self._opus.format, self._opus.layout = "s16", "mono"
            self._opus.sample_rate, self._opus.bit_rate = rate, _OPUS_BPS
            self._opus.options = {
                "application": "voip",
                "frame_duration": str(round(1000 * _PIECE_SECONDS)),
                "compression_level": "5",
            }

        async def recv(self) -> Any:
            """The next packet."""
            packets: list[Any] = []
            while not packets:
                self._due += _PIECE_SECONDS
                await asyncio.sleep(max(0.0, self._due - time.monotonic()))
                samples = np.clip(speaker.take(size) * 32767.0, -32768, 32767).astype("<i2")
                frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
                frame.sample_rate = rate
                packets = self._opus.encode(frame)
            packet = packets[0]
            packet.pts, packet.time_base = self._given, Fraction(1, rate)
            self._given += size
            return packet

    return SpeakerTrack()
