"""Packets for the receiver's processor time, with a codec that is no network."""

from __future__ import annotations

import dataclasses

from tonecodec import ToneCodec, speech_like

from benchmarks.links import ROOT
from benchmarks.receiver_speed import CASES, arrivals, play
from linkcodec.app.config import load_config
from receiver import ReceiverCore

FRAMES = ToneCodec().encoder().push(speech_like(10.0))


def test_packets_come_in_the_order_of_time_and_some_are_lost() -> None:
    clear, hard = (arrivals(FRAMES, case, seed=1) for case in CASES)
    assert [time for time, _ in hard] == sorted(time for time, _ in hard)
    # Two spurts of 50 frames and one of 25, and a packet of silence after each.
    assert len(clear) == 125 + 3
    assert 100 < len(hard) < 125


def test_all_that_comes_is_played() -> None:
    core = ReceiverCore(
        codec=ToneCodec(), config=load_config(ROOT / "configs" / "udp-lan.toml"), datagram=True
    )
    case = dataclasses.replace(CASES[0], drift=1e-4)
    assert play(core, arrivals(FRAMES, case, seed=1), 13.0) > 0
    assert core.statistics.frames_played == 125
    assert core.statistics.frames_lost == 0
