from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.calls import CallControl, CallMessage, CallState, is_control
from transport.text import MAX_TEXT


def pass_on(source: CallControl, sink: CallControl, now: float) -> list[CallMessage]:
    """Everything that one end has to say to the other."""
    messages = [CallMessage.parse(text) for text in source.poll(now)]
    known = [message for message in messages if message is not None]
    assert len(known) == len(messages)
    for message in known:
        sink.take(message, now)
    return known


def states(*ends: CallControl) -> set[CallState]:
    return {end.state for end in ends}


def test_ring_accept_hang_up() -> None:
    caller, callee = CallControl(), CallControl()
    caller.call(0.0)
    assert pass_on(caller, callee, 0.0) == [CallMessage.RING]
    assert states(callee) == {CallState.RINGING}
    assert pass_on(callee, caller, 1.0) == []
    callee.accept()
    assert pass_on(callee, caller, 2.0) == [CallMessage.ACCEPT]
    assert states(caller, callee) == {CallState.ACTIVE}
    assert caller.poll(1000.0) == []
    caller.hang_up()
    assert pass_on(caller, callee, 1001.0) == [CallMessage.HANG_UP]
    assert states(caller, callee) == {CallState.OVER}
    assert (caller.reason, callee.reason) == ("hung up here", "the other end hung up")
    caller.hang_up()
    assert caller.poll(1002.0) == []
    callee.call(1003.0)  # and back
    pass_on(callee, caller, 1003.0)
    assert states(caller) == {CallState.RINGING}


def test_a_lost_ring_or_answer_is_made_good() -> None:
    caller, callee = CallControl(), CallControl(automatic=True)
    caller.call(0.0)
    assert caller.poll(0.0) == [CallMessage.RING.text]  # lost
    assert caller.poll(5.0) == []
    pass_on(caller, callee, 6.0)
    assert states(callee) == {CallState.ACTIVE}
    assert callee.poll(6.0) == [CallMessage.ACCEPT.text]  # lost
    pass_on(caller, callee, 12.0)
    pass_on(callee, caller, 12.0)
    assert states(caller) == {CallState.ACTIVE}


def test_busy() -> None:
    caller, callee = CallControl(), CallControl(busy=True)
    caller.call(0.0)
    pass_on(caller, callee, 0.0)
    assert states(callee) == {CallState.IDLE}
    pass_on(callee, caller, 0.0)
    assert (caller.state, caller.reason) == (CallState.OVER, "the other end is busy")


def test_both_call_at_once() -> None:
    one, other = CallControl(), CallControl()
    one.call(0.0)
    other.call(0.0)
    pass_on(one, other, 0.0)
    pass_on(other, one, 0.0)
    assert states(one, other) == {CallState.ACTIVE}


@pytest.mark.parametrize("rings", [True, False])
def test_patience_ends(rings: bool) -> None:
    end = CallControl()
    if rings:
        end.take(CallMessage.RING, 0.0)
    else:
        end.call(0.0)
    end.poll(59.0)
    assert states(end) != {CallState.OVER}
    end.poll(61.0)
    assert states(end) == {CallState.OVER}
    assert end.reason.startswith("nobody")


def test_texts_of_people_are_not_control() -> None:
    assert CallMessage.parse("ring") is None
    assert not is_control("ring")
    assert is_control("\x05something of a later version")
    for message in CallMessage:
        assert is_control(message.text)
        assert len(message.text.encode()) <= MAX_TEXT


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([*CallMessage, "call", "accept", "hang up"]), st.floats(0, 200))
    )
)
def test_any_order_of_messages_is_taken(steps: list[tuple[CallMessage | str, float]]) -> None:
    end = CallControl()
    for what, now in steps:
        if isinstance(what, CallMessage):
            end.take(what, now)
        elif what == "call":
            end.call(now)
        elif what == "accept":
            end.accept()
        else:
            end.hang_up()
        assert len(end.poll(now)) <= len(CallMessage)
