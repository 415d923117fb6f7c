"""Ring, accept, busy and hang up: call control in short texts beside the speech.

Each message is a text of the side channel (`transport.text`) that begins with U+0005, which
no person types; an end that does not know them shows them as a text. No I/O, no clocks: `now`
is the time in seconds.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["CallControl", "CallMessage", "CallState", "is_control"]

_MARK: Final = "\x05"
_AGAIN_SECONDS: Final = 6.0
"""A ring that nobody answers is sent again: texts may be lost."""

_PATIENCE_SECONDS: Final = 60.0


class CallMessage(Enum):
    """What one end tells the other."""

    RING = "ring"
    ACCEPT = "accept"
    BUSY = "busy"
    HANG_UP = "hang up"

    @property
    def text(self) -> str:
        """The text that carries it."""
        return _MARK + self.value

    @classmethod
    def parse(cls, text: str) -> CallMessage | None:
        """The message that a text is; None for a text of people, and for what is not known."""
        known = {message.text: message for message in cls}
        return known.get(text)


def is_control(text: str) -> bool:
    """Whether a text is not for people."""
    return text.startswith(_MARK)


class CallState(Enum):
    """Where a call stands."""

    IDLE = "idle"
    CALLING = "calling"
    RINGING = "ringing"
    ACTIVE = "active"
    OVER = "over"


class CallControl:
    """One end's view of a call on a link that has two ends.

    state: where the call stands. reason: why it is over, in words.
    busy: this end takes no calls. automatic: it takes them without being asked.
    """

    def __init__(self, *, busy: bool = False, automatic: bool = False) -> None:
        self.state = CallState.IDLE
        self.reason = ""
        self._busy = busy
        self._automatic = automatic
        self._since = 0.0
        self._again = 0.0
        self._outbox: list[str] = []

    def call(self, now: float) -> None:
        """Ring at the other end."""
        self.state = CallState.CALLING
        self._since = self._again = now

    def accept(self) -> None:
        """Take the call that rings here; without one nothing happens."""
        if self.state is CallState.RINGING:
            self._become(CallState.ACTIVE, tell=CallMessage.ACCEPT)

    def hang_up(self) -> None:
        """End the call, or refuse the one that rings here."""
        if self.state in {CallState.CALLING, CallState.RINGING, CallState.ACTIVE}:
            self._become(CallState.OVER, tell=CallMessage.HANG_UP, reason="hung up here")

    def take(self, message: CallMessage, now: float) -> None:
        """The other end said something."""
        match message, self.state:
            case CallMessage.RING, _ if self._busy:
                self._say(CallMessage.BUSY)
            case CallMessage.RING, CallState.IDLE | CallState.OVER:
                self.state, self.reason, self._since = CallState.RINGING, "", now
                if self._automatic:
                    self.accept()
            case CallMessage.RING, CallState.ACTIVE:
                self._say(CallMessage.ACCEPT)  # the one before was lost
            case CallMessage.RING, CallState.CALLING:  # both called: both want the call
                self._become(CallState.ACTIVE, tell=CallMessage.ACCEPT)
            case CallMessage.ACCEPT, CallState.CALLING:
                self._become(CallState.ACTIVE)
            case CallMessage.BUSY, CallState.CALLING:
                self._become(CallState.OVER, reason="the other end is busy")
            case CallMessage.HANG_UP, CallState.CALLING | CallState.RINGING | CallState.ACTIVE:
                self._become(CallState.OVER, reason="the other end hung up")

    def poll(self, now: float) -> list[str]:
        """Texts to send now."""
        waited = now - self._since
        if self.state is CallState.CALLING and waited > _PATIENCE_SECONDS:
            self._become(CallState.OVER, tell=CallMessage.HANG_UP, reason="nobody answered")
        elif self.state is CallState.RINGING and waited > _PATIENCE_SECONDS:
            self._become(CallState.OVER, reason="nobody took the call here")
        elif self.state is CallState.CALLING and now >= self._again:
            self._again = now + _AGAIN_SECONDS
            self._say(CallMessage.RING)
        texts, self._outbox = self._outbox, []
        return texts

    def _say(self, message: CallMessage) -> None:
        if message.text not in self._outbox:
            self._outbox.append(message.text)

    def _become(
        self, state: CallState, *, tell: CallMessage | None = None, reason: str = ""
    ) -> None:
        self.state, self.reason = state, reason
        if tell is not None:
            self._say(tell)
