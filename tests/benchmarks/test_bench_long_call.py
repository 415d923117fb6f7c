"""What sender and receiver keep does not grow with the length of a call, in virtual time."""

from __future__ import annotations

import pytest
import tonecodec

from benchmarks.links import ROOT
from benchmarks.long_call import Held, IndexCodec, LongCall, grow
from linkcodec.app.config import load_config


@pytest.mark.parametrize("name", ["udp-lan", "sat-1200-sync"])
def test_a_call_keeps_no_more_as_it_goes_on(name: str) -> None:
    call = LongCall(load_config(ROOT / "configs" / f"{name}.toml"), codec=IndexCodec())
    pcm = tonecodec.speech_like(8.0, pause=True)
    told: list[Held] = []
    # The delays of two minutes are remembered.
    before, after = grow(call, pcm, 220.0, settled=160.0, tell=told.append)
    assert len(told) == 10
    counted = call.receiver.statistics
    assert counted.frames_played > 1000
    assert counted.frames_lost > 10
    # 60 s hold 750 frames: one block for each of them would be seen.
    assert after.blocks - before.blocks < 600
