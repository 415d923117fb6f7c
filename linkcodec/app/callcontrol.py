"""Calls that ring, and recordings of calls, for `linkcodec talk`."""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from linkcodec.app.audio import STANDARD_STREAM, AudioSource, Pace
from linkcodec.app.command import check_output_path
from linkcodec.app.recorder import HeardRecorder, SentRecorder, SoundRecorder, Warn, unused_stem
from linkcodec.app.status import StatusLine
from linkcodec.codec import CodecInfo, Pcm
from linkcodec.exceptions import ConfigError, InputError
from receiver import ReceiverCore
from sender import SenderCore
from transport.calls import CallControl, CallMessage, CallState
from transport.packet import ByePacket
from transport.wire import TextMessage, WireEvent

__all__ = ["ANSWERS", "HeldBack", "Telephone", "open_telephone", "recording_both"]

ANSWERS: Final = ("auto", "ask", "busy")
CALL_SUFFIX: Final = ".lkc"


class Telephone:
    """Lets speech through while a call is active, both ways.

    ring: call the other end at once. answer: of `ANSWERS`, what to do when it calls.
    """

    def __init__(
        self, *, ring: bool, answer: str, status: StatusLine, keyboard: bool = False
    ) -> None:
        self._control = CallControl(busy=answer == "busy", automatic=answer == "auto")
        self._ring = ring
        self._status = status
        self._keyboard = keyboard
        self._told = CallState.IDLE
        self._heard: deque[CallMessage] = deque(maxlen=16)

    @property
    def active(self) -> bool:
        """Whether people may hear each other."""
        return self._control.state is CallState.ACTIVE

    def mute(self, pcm: Pcm) -> Pcm:
        """The sound itself during a call, else silence."""
        return pcm if self.active else np.zeros_like(pcm)

    def heard(self, event: WireEvent, _now: float) -> None:
        """Take what the other end says; for the receiver's thread."""
        if isinstance(event, TextMessage):
            message = CallMessage.parse(event.text)
            if message is not None:
                self._heard.append(message)
        elif isinstance(event, ByePacket):
            self._heard.append(CallMessage.HANG_UP)

    def attend(self, core: SenderCore, now: float) -> None:
        """Do what is to be done now; for the sender's thread."""
        control = self._control
        if self._ring:
            self._ring = False
            control.call(now)
        while self._heard:
            control.take(self._heard.popleft(), now)
        if self._keyboard and control.state is CallState.RINGING and _enter_pressed():
            control.accept()
        for text in control.poll(now):
            core.wire.send_text(text, now)
        if control.state is not self._told:
            self._told = control.state
            self._status.message(self._words())

    def _words(self) -> str:
        match self._control.state:
            case CallState.CALLING:
                return "ringing at the other end"
            case CallState.RINGING:
                return "the other end calls: press Enter to take the call"
            case CallState.ACTIVE:
                return "the call is open"
        return f"no call: {self._control.reason}"


class HeldBack(AudioSource):
    """A recording that waits for the call to be taken; silence at the pace of real time till then.

    samples: of a piece of silence.
    """

    def __init__(
        self, source: AudioSource, telephone: Telephone, *, samples: int, seconds: float
    ) -> None:
        self.name = source.name
        self._source = source
        self._telephone = telephone
        self._silence: Pcm = np.zeros(samples, np.float32)
        self._pace = Pace(seconds)
        self._begun = False

    def read(self, timeout: float) -> Pcm:
        self._begun = self._begun or self._telephone.active
        if self._begun:
            pcm = self._source.read(timeout)
            self.ended = self._source.ended
            return pcm
        if not self._pace.wait(timeout):
            return self._silence[:0]
        self._pace.advance()
        return self._silence

    def close(self) -> None:
        self._source.close()


def _enter_pressed() -> bool:
    ready = select.select([sys.stdin], [], [], 0.0)[0]
    return bool(ready) and b"\n" in os.read(sys.stdin.fileno(), 1024)


def open_telephone(
    *, ring: bool, answer: str | None, audio_input: str, key: str, status: StatusLine
) -> Telephone | None:
    """The telephone that the flags ask for, None for a line that is always open.

    Raises:
        ConfigError: the keyboard is needed for something else.
    """
    if not ring and answer is None:
        return None
    if answer == "ask" and (audio_input == STANDARD_STREAM or key == "keyboard"):
        raise ConfigError(
            "--answer ask needs the keyboard, which the input or the key uses already: "
            "use --answer auto"
        )
    if answer == "ask" and sys.stdin is None:
        raise ConfigError("--answer ask: there is no standard input to press Enter in: use auto")
    return Telephone(ring=ring, answer=answer or "auto", status=status, keyboard=answer == "ask")


@contextmanager
def recording_both(
    name: str | None,
    *,
    outgoing: SenderCore,
    incoming: ReceiverCore,
    info: CodecInfo,
    warn: Warn,
    telephone: Telephone | None = None,
) -> Iterator[None]:
    """Write what is said and what is heard: with the name NAME to NAME-said.wav and
    NAME-heard.wav, with NAME.lkc the frames to NAME-said.lkc and NAME-heard.lkc; where these
    exist, with NAME-2 instead, and so on.

    telephone: mutes both first, while there is no call. warn: is told, for people, why a
    recording ended before the call did.

    Raises:
        InputError: they cannot be written from the beginning.
    """
    if telephone is not None:
        outgoing.through = incoming.through = telephone.mute
    if name is None:
        yield
        return
    stem = name.removesuffix(CALL_SUFFIX)
    if not stem or stem.endswith("/") or Path(stem).suffix:
        raise InputError(
            f"--record '{name}': give a name without suffix, of which two WAV files come, or one "
            f"with {CALL_SUFFIX}"
        )
    recorded, suffix = (
        (_recorded_sound, ".wav") if stem == name else (_recorded_frames, CALL_SUFFIX)
    )
    stem = unused_stem(stem, f"-said{suffix}", f"-heard{suffix}", warn=warn)
    with recorded(stem, outgoing=outgoing, incoming=incoming, info=info, warn=warn):
        yield


@contextmanager
def _recorded_sound(
    stem: str, *, outgoing: SenderCore, incoming: ReceiverCore, info: CodecInfo, warn: Warn
) -> Iterator[None]:
    with ExitStack() as stack:
        for core, direction in ((outgoing, "said"), (incoming, "heard")):
            path = f"{stem}-{direction}.wav"
            copy = SoundRecorder(path, sample_rate=info.sample_rate, warn=warn)
            stack.callback(copy.close)
            core.through = _copied(core.through, copy)
        yield


@contextmanager
def _recorded_frames(
    stem: str, *, outgoing: SenderCore, incoming: ReceiverCore, info: CodecInfo, warn: Warn
) -> Iterator[None]:
    paths = [f"{stem}-{direction}{CALL_SUFFIX}" for direction in ("said", "heard")]
    for path in paths:
        check_output_path(path, what="recording")
    with ExitStack() as stack:
        said = SentRecorder(paths[0], info, warn=warn)
        stack.callback(lambda: said.close(outgoing.ticks))
        heard = HeardRecorder(paths[1], info, warn=warn)
        stack.callback(heard.close)
        outgoing.recorder, incoming.recorder = said, heard
        try:
            yield
        finally:
            outgoing.recorder = incoming.recorder = None


def _copied(through: Callable[[Pcm], Pcm], copy: SoundRecorder) -> Callable[[Pcm], Pcm]:
    def write(pcm: Pcm) -> Pcm:
        pcm = through(pcm)
        copy.write(pcm)
        return pcm

    return write
